"""Take a cluster apart that holds samples which must not be together, look-alikes staying together."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["separate"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class _Likeness(Protocol):
    """How alike units and parts are: the mean over their pairs of members, larger is more alike."""

    floor: float
    """Likeness of those that nothing connects."""

    def to_all(self) -> Floats:
        """(U,) of each unit to the whole cluster."""
        ...

    def to_parts(self, unit: int) -> Floats:
        """(P,) of a unit to each part."""
        ...

    def join(self, unit: int, part: int) -> None:
        """Put a unit into a part; the number after the last makes a new one."""
        ...


def separate(members: Ints, groups: Ints, clashing: Ints, where: Any) -> Ints:
    """Part of each member of a cluster, so that no part holds a clashing pair.

    Units that clash with others come first, those that fit the cluster best before others: each joins the part it is
    most like among those that it clashes with no member of, or begins a new one. The other units then join the part
    they are most like.

    Parameters
    ----------
    members : (S,) int64
        Positions of the cluster's samples, ascending.
    groups : (S,) int64
        Unit of each: samples of one stay together.
    clashing : (M, 2) int64
        Pairs of units (as named in `groups`) that must not share a part; at least one.
    where : (N, D) array or sparse (N, N) CSR graph of distances

    Returns
    -------
    (S,) int64
        Parts from 0, in the order in which they were begun.
    """
    names, unit_of = np.unique(groups, return_inverse=True)
    ends = np.searchsorted(names, clashing)
    against: dict[int, set[int]] = {}
    for a, b in ends.tolist():
        against.setdefault(a, set()).add(b)
        against.setdefault(b, set()).add(a)
    likeness: _Likeness = (
        _ByGraph(where, members, unit_of) if hasattr(where, "tocsr") else _ByFeatures(where[members], unit_of)
    )
    order = np.lexsort((np.arange(len(names)), -likeness.to_all())).tolist()
    part = np.full(len(names), -1, np.int64)
    count = 0
    for unit in (u for u in order if u in against):
        free = np.ones(count, dtype=bool)
        free[[part[v] for v in against[unit] if part[v] >= 0]] = False
        # ties go to the part begun first
        part[unit] = int(np.where(free, likeness.to_parts(unit), -np.inf).argmax()) if free.any() else count
        likeness.join(unit, int(part[unit]))
        count = max(count, int(part[unit]) + 1)
    waiting = [u for u in order if u not in against]
    while waiting:
        left = []
        for unit in waiting:
            near = likeness.to_parts(unit)
            if near.max() > likeness.floor:
                part[unit] = int(near.argmax())
                likeness.join(unit, int(part[unit]))
            else:
                left.append(unit)
        if len(left) == len(waiting):  # nothing connects them with any part
            part[left] = 0
            break
        waiting = left
    return part[unit_of]


class _ByFeatures:
    """Minus the mean squared distance; x . y sums are those of whole units."""

    floor = -np.inf

    def __init__(self, rows: Any, unit_of: Ints) -> None:
        rows = np.asarray(rows, np.float64)  # (S, D)
        units = int(unit_of.max()) + 1
        self.size = np.bincount(unit_of, minlength=units).astype(np.float64)
        self.total = np.zeros((units, rows.shape[1]))
        np.add.at(self.total, unit_of, rows)
        self.square = np.bincount(unit_of, np.square(rows).sum(1), units)
        self.parts = np.zeros((0, rows.shape[1]))
        self.part_size, self.part_square = np.zeros(0), np.zeros(0)

    def to_all(self) -> Floats:
        mean = self.total.sum(0) / self.size.sum()
        # No matrix product: its last bits depend on the number of threads.
        return 2 * (self.total * mean).sum(1) / self.size - self.square / self.size

    def to_parts(self, unit: int) -> Floats:
        mean = self.total[unit] / self.size[unit]
        return (2 * (self.parts * mean).sum(1) - self.part_square) / self.part_size

    def join(self, unit: int, part: int) -> None:
        if part == len(self.parts):
            self.parts = np.vstack([self.parts, np.zeros((1, self.parts.shape[1]))])
            self.part_size, self.part_square = np.append(self.part_size, 0.0), np.append(self.part_square, 0.0)
        self.parts[part] += self.total[unit]
        self.part_size[part] += self.size[unit]
        self.part_square[part] += self.square[unit]


class _ByGraph:
    """The largest stored distance minus the distance, 0 for pairs that are not stored."""

    floor = 0.0

    def __init__(self, graph: Any, members: Ints, unit_of: Ints) -> None:
        place = np.full(graph.shape[0], -1, np.int64)
        place[members] = np.arange(len(members))
        lows, highs = graph.indptr[members], graph.indptr[members + 1]
        lengths = (highs - lows).astype(np.int64)
        at = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(lows, lengths)
        to = place[graph.indices[at]]
        inside = to >= 0
        top = max(1.0, float(graph.data.max(initial=0.0)))
        one, two = unit_of[np.repeat(np.arange(len(members)), lengths)[inside]], unit_of[to[inside]]
        kept = one != two
        order = np.argsort(one[kept], kind="stable")
        self.units = int(unit_of.max()) + 1
        self.other = two[kept][order]
        self.like = (top - graph.data[at][inside].astype(np.float64))[kept][order]
        self.ptr = np.searchsorted(one[kept][order], np.arange(self.units + 1))
        self.size = np.bincount(unit_of, minlength=self.units).astype(np.float64)
        self.part = np.full(self.units, -1, np.int64)
        self.part_size = np.zeros(0)

    def to_all(self) -> Floats:
        owner = np.repeat(np.arange(self.units), np.diff(self.ptr))
        return np.bincount(owner, self.like, self.units) / self.size

    def to_parts(self, unit: int) -> Floats:
        mine = slice(self.ptr[unit], self.ptr[unit + 1])
        parts = self.part[self.other[mine]]
        sums = np.bincount(parts[parts >= 0], self.like[mine][parts >= 0], len(self.part_size))
        return sums / (self.part_size * self.size[unit])

    def join(self, unit: int, part: int) -> None:
        if part == len(self.part_size):
            self.part_size = np.append(self.part_size, 0.0)
        self.part[unit] = part
        self.part_size[part] += self.size[unit]
