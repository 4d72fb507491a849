"""Samples that must not, and samples that must, share a cluster.

A cannot-link says that two samples are two identities, a must-link that they are one. Must-links are transitive:
whoever is joined by a chain of them forms a group. A cannot-link inside a group is a contradiction, which no clustering
can obey; it is shown with the chain that causes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from reid.clustering.separate import separate

__all__ = ["MOST_PAIRS", "Contradiction", "Links", "Part", "Relaxable"]

Labels = NDArray[np.int64]
Pairs = NDArray[np.int32]

MOST_PAIRS = 2**28
"""Pairs that are held at most (2 GiB)."""


class Part(NamedTuple):
    """What one rule links."""

    rule: str
    cannot: Pairs
    """(M, 2)"""
    must: Pairs = np.empty((0, 2), np.int32)
    """(K, 2)"""
    relaxed: float | None = None
    """Believe the cannot-links only as far as distances bear them out (see `reid.clustering.linked`)."""
    note: str = ""
    """What is odd about the rule on these data; empty when nothing is."""


class Relaxable(NamedTuple):
    """Cannot-links that distances may overrule."""

    cannot: Pairs
    relaxed: float


class Contradiction(NamedTuple):
    """A cannot-link between two samples that must-links join."""

    pair: tuple[int, int]
    rule: str
    """Rule that keeps them apart."""
    chain: tuple[tuple[int, int, str], ...]
    """Fewest must-links that lead from the first to the second: (sample, sample, rule) each."""


@dataclass(frozen=True, eq=False)
class Links:
    """Cannot-links and must-links of `n` samples.

    Parameters
    ----------
    cannot, must : (M, 2) and (K, 2) int
        Pairs in any order; doubled and turned ones count once, those of a sample and itself not at all.
    n : int
        Number of samples.
    cannot_rule, must_rule : (M,) and (K,) int, optional
        Number of the rule in `parts` that each pair comes from.
    parts : tuple of Part, optional
        The rules; `Links.of` fills them in.
    relaxable : tuple of Relaxable, optional
        Further cannot-links, which a clustering by distances may overrule.

    Raises
    ------
    ValueError
        A pair that names no sample, or is none.
    MemoryError
        More than 2^28 pairs.
    """

    cannot: Pairs
    must: Pairs
    n: int
    cannot_rule: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    must_rule: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    parts: tuple[Part, ...] = ()
    relaxable: tuple[Relaxable, ...] = ()

    def __post_init__(self) -> None:
        for name in ("cannot", "must"):
            pairs, rule = _unique(getattr(self, name), getattr(self, f"{name}_rule"), self.n, name)
            object.__setattr__(self, name, pairs)
            object.__setattr__(self, f"{name}_rule", rule)

    @classmethod
    def of(cls, parts: Iterable[Part], n: int) -> Links:
        """Unite what several rules link; a pair that two rules name counts for the first."""
        parts = tuple(parts)
        total = sum(len(p.cannot) + len(p.must) for p in parts)
        if total > MOST_PAIRS:
            raise MemoryError(f"the rules link {total:,} pairs ({8 * total / 1e9:.1f} GB): leave one out, or narrow it")
        hard = [p.cannot if p.relaxed is None else p.cannot[:0] for p in parts]
        must = [p.must for p in parts]
        none, numbers = np.empty((0, 2), np.int32), np.arange(len(parts), dtype=np.int16)
        return cls(
            cannot=np.concatenate([none, *hard]),
            must=np.concatenate([none, *must]),
            n=n,
            cannot_rule=np.repeat(numbers, [len(p) for p in hard]),
            must_rule=np.repeat(numbers, [len(p) for p in must]),
            parts=parts,
            relaxable=tuple(Relaxable(p.cannot, p.relaxed) for p in parts if p.relaxed is not None),
        )

    def __bool__(self) -> bool:
        """Is anything linked?"""
        return bool(len(self.cannot) or len(self.must) or self.relaxable)

    @cached_property
    def groups(self) -> Labels:
        """(N,) must-group of each sample, numbered from 0 by smallest member; a sample without must-links is alone."""
        if not len(self.must):
            return np.arange(self.n, dtype=np.int64)
        i, j = self.must.T
        joined = connected_components(coo_array((np.ones(len(i), np.int8), (i, j)), shape=(self.n, self.n)))[1]
        _, first, which = np.unique(joined, return_index=True, return_inverse=True)
        number = np.empty(len(first), np.int64)
        number[np.argsort(first)] = np.arange(len(first))
        return number[which]

    @cached_property
    def apart(self) -> Pairs:
        """(M, 2) int64 pairs of must-groups that must not share a cluster, each once."""
        i, j = np.sort(self.groups[self.cannot], axis=1).T
        keys = np.unique(i * self.n + j)
        return np.column_stack([keys // self.n, keys % self.n]) if self.n else np.empty((0, 2), np.int64)

    def contradictions(self, limit: int | None = None) -> list[Contradiction]:
        """List the cannot-links inside a must-group, the first `limit` of them, each with the chain that causes it."""
        found: list[tuple[int, int, str]] = []
        for pairs, rules in self._all_cannot():
            inside = np.flatnonzero(self.groups[pairs[:, 0]] == self.groups[pairs[:, 1]])[:limit]
            found += [(int(pairs[k, 0]), int(pairs[k, 1]), rules(k)) for k in inside]
        near = self._neighbors() if found else []
        return [Contradiction((i, j), rule, self._chain(i, j, near)) for i, j, rule in found[:limit]]

    @property
    def n_contradictions(self) -> int:
        """Number of cannot-links inside a must-group."""
        return sum(int((self.groups[pairs[:, 0]] == self.groups[pairs[:, 1]]).sum()) for pairs, _ in self._all_cannot())

    def check(self, name: Callable[[int], str] = str) -> Links:
        """Return the links, or raise ValueError with the first five contradictions; `name` gives a sample's name."""
        count = self.n_contradictions
        if not count:
            return self
        lines = []
        for (i, j), rule, chain in self.contradictions(5):
            steps = "".join(f" = {name(b)} ({by or 'must-link'})" for _, b, by in chain)
            lines.append(f"  {name(i)} and {name(j)} must differ ({rule or 'cannot-link'}), but {name(i)}{steps}")
        more = f"\n  and {count - 5:,} more" if count > 5 else ""
        raise ValueError(
            f"constraints: {count:,} pair{'s' * (count != 1)} must differ and must be one; mend the data, or leave out "
            "one of the rules named:\n" + "\n".join(lines) + more
        )

    def obey(self, labels: Labels, where: Any, *, smallest: int = 2) -> Labels:
        """Change a labelling no more than the links ask for.

        Each must-group gets one label, that of most of its clustered members (the smaller one of equals; a group
        without any stays out). Then the clusters that hold forbidden pairs are separated, look-alikes together.

        Parameters
        ----------
        labels : (N,) int64
            Clusters from 0, -1 for outliers.
        where : (N, D) array, or sparse (N, N) CSR graph of distances
            What tells which members of a cluster are alike.
        smallest : int, default 2
            A cluster that has lost members and has fewer than these left becomes outliers.

        Returns
        -------
        (N,) int64
            Clusters from 0: none holds a cannot-link, no must-link is cut. The same array's values where nothing had
            to change; else clusters are numbered anew, in their old order.

        Raises
        ------
        ValueError
            The links contradict each other (`check` says how).

        Notes
        -----
        Relaxable links are not looked at. Time and memory O(N D + links), or O(stored pairs + links); in clusters that
        are separated times the number of parts. Equals go by the smaller index: the same on every machine.
        """
        if self.n_contradictions:
            self.check()
        before = np.asarray(labels, np.int64)
        after = self._whole_groups(before)
        pairs = self.cannot
        clash = (after[pairs[:, 0]] == after[pairs[:, 1]]) & (after[pairs[:, 0]] >= 0)
        touched = np.unique(before[(before != after) & (before >= 0)])
        if len(touched) == 0 and (after == before).all() and not clash.any():
            return before.copy()
        parts = np.zeros(self.n, np.int64)  # of its cluster
        if clash.any():
            split = np.unique(after[pairs[clash, 0]])
            touched = np.union1d(touched, split)
            order = np.argsort(after, kind="stable")
            lows, highs = (np.searchsorted(after[order], split, side) for side in ("left", "right"))
            by_cluster = np.argsort(after[pairs[clash, 0]], kind="stable")
            clashing = self.groups[pairs[clash]][by_cluster]
            ends = np.searchsorted(after[pairs[clash, 0]][by_cluster], split, "right")
            for lo, hi, own in zip(lows, highs, np.split(clashing, ends[:-1]), strict=True):
                members = order[lo:hi]
                parts[members] = separate(members, self.groups[members], own, where)
        keys = np.where(after >= 0, after * (parts.max(initial=0) + 1) + parts, -1)
        sizes = np.unique(keys, return_inverse=True, return_counts=True)
        small = (sizes[2] < smallest)[sizes[1]] & np.isin(after, touched)
        keys[small] = -1
        kept = keys >= 0
        result = np.full(self.n, -1, np.int64)
        result[kept] = np.unique(keys[kept], return_inverse=True)[1]
        return result

    def _whole_groups(self, labels: Labels) -> Labels:
        """One label for each must-group."""
        if not len(self.must):
            return labels
        groups = self.groups
        voters = np.flatnonzero(labels >= 0)
        if not len(voters):
            return labels
        base = int(labels.max()) + 1
        keys, votes = np.unique(groups[voters] * base + labels[voters], return_counts=True)
        group, label = keys // base, keys % base
        order = np.lexsort((label, -votes, group))
        chosen = np.full(int(groups.max()) + 1, -1, np.int64)
        first = np.unique(group[order], return_index=True)[1]
        chosen[group[order][first]] = label[order][first]
        return chosen[groups]

    def _all_cannot(self) -> list[tuple[Pairs, Callable[[Any], str]]]:
        """Hard and relaxable cannot-links, and how each is called."""
        names = [p.rule for p in self.parts]
        hard = (self.cannot, lambda k: names[self.cannot_rule[k]] if names else "")
        soft = [p.rule for p in self.parts if p.relaxed is not None]
        return [hard] + [(r.cannot, lambda _, rule=rule: rule) for r, rule in zip(self.relaxable, soft, strict=False)]

    def _neighbors(self) -> list[list[tuple[int, str]]]:
        near: list[list[tuple[int, str]]] = [[] for _ in range(self.n)]
        for (i, j), rule in zip(self.must.tolist(), self.must_rule.tolist(), strict=True):
            name = self.parts[rule].rule if self.parts else ""
            near[i].append((j, name))
            near[j].append((i, name))
        return near

    def _chain(self, start: int, end: int, near: list[list[tuple[int, str]]]) -> tuple[tuple[int, int, str], ...]:
        """A shortest path of must-links."""
        came: dict[int, tuple[int, str]] = {start: (start, "")}
        queue = deque([start])
        while queue and end not in came:
            here = queue.popleft()
            for other, rule in near[here]:
                if other not in came:
                    came[other] = (here, rule)
                    queue.append(other)
        steps: list[tuple[int, int, str]] = []
        at = end
        while at != start:
            before, rule = came[at]
            steps.append((before, at, rule))
            at = before
        return tuple(reversed(steps))


def _unique(pairs: ArrayLike, rule: NDArray[np.int16], n: int, name: str) -> tuple[Pairs, NDArray[np.int16]]:
    """Pairs i < j, sorted, each once, and the first rule that names each."""
    given = np.asarray(pairs)
    given = given.reshape(0, 2) if given.size == 0 else given
    if given.ndim != 2 or given.shape[1] != 2 or (given.size and given.dtype.kind not in "iu"):
        raise ValueError(f"{name} has shape {given.shape} and dtype {given.dtype}: must be (M, 2) integers")
    if len(given) > MOST_PAIRS:
        raise MemoryError(f"{name}: {len(given):,} pairs ({8 * len(given) / 1e9:.1f} GB): use fewer samples or rules")
    outside = np.flatnonzero(((given < 0) | (given >= n)).any(axis=1))
    if len(outside):
        k = outside[0]
        raise ValueError(f"{name}[{k}] is {tuple(given[k].tolist())}: samples are numbered from 0 to {n - 1}")
    rule = rule if len(rule) == len(given) else np.zeros(len(given), np.int16)
    keys = np.minimum(given[:, 0], given[:, 1]).astype(np.int64)
    keys *= n
    keys += np.maximum(given[:, 0], given[:, 1])
    keys, first = np.unique(keys, return_index=True)
    two = keys // max(n, 1) != keys % max(n, 1)
    keys, first = keys[two], first[two]
    return np.column_stack([keys // max(n, 1), keys % max(n, 1)]).astype(np.int32), rule[first].astype(np.int16)
