"""Constraints as a user writes them: a TOML file of rules, or a CSV file of pairs.

::

    [[rule]]
    kind = "same-frame"            # two boxes of one camera at the same instant are two identities

    [[rule]]
    kind = "min-travel-time"       # nobody gets from camera 1 to camera 2 or back in less than 30 seconds
    cameras = [1, 2]
    seconds = 30

Kinds: `same-frame`, `time-overlap`, `min-travel-time`, `same-tracklet`, `pairs`; their fields are those of the classes
below. Rules become pairs by sweeps over sorted times, never through an N x N matrix.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.clustering.links import MOST_PAIRS, Links, Part
from reid.clustering.pairs_file import read_pairs
from reid.config import nearest
from reid.data.records import Samples, printable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "MinTravelTime", "PairsFile", "Rule", "SameFrame", "SameTracklet", "TimeOverlap", "check_relaxed", "compile_rules",
    "overlap_part", "read_rules",
]  # fmt: skip

Pairs = NDArray[np.int32]

NEARLY_ALL = 0.9
"""Share of the pairs that a rule could link from which on it is said to link nearly all."""


class Rule(Protocol):
    """One rule."""

    kind: ClassVar[str]

    @property
    def uses_cameras(self) -> bool:
        """Whether it reads camera ids."""
        ...

    def part(self, samples: Samples) -> Part:
        """What it links."""
        ...


@dataclass(frozen=True)
class SameFrame:
    """Two samples that one camera (of one clock) sees at the same instant are two identities."""

    kind: ClassVar[str] = "same-frame"
    uses_cameras: ClassVar[bool] = True

    def part(self, samples: Samples) -> Part:
        """Cannot-links of samples of one camera whose times touch."""
        return overlap_part("same-frame", samples, scope="same")


@dataclass(frozen=True)
class TimeOverlap:
    """Two samples that are seen at the same time are two identities."""

    kind: ClassVar[str] = "time-overlap"
    scope: str = "all"
    """Compare all samples, only those of different cameras (cross), or only those of one camera (same)."""
    margin: float = 0.0
    """Seconds by which times may miss each other; below 0: by which they must overlap at least."""
    exempt: tuple[tuple[int, int], ...] = ()
    """Pairs of cameras whose views overlap: not compared."""
    relaxed: float | None = None
    """From -1 to 1: believe links only as far as distances bear them out (`reid.clustering.linked.believed`)."""

    def __post_init__(self) -> None:
        if self.scope not in ("all", "cross", "same"):
            raise ValueError(f"scope={self.scope!r}: {nearest(self.scope, ['all', 'cross', 'same'])}")
        check_relaxed("relaxed", self.relaxed)

    @property
    def uses_cameras(self) -> bool:
        """Whether it reads camera ids."""
        return self.scope != "all" or bool(self.exempt)

    def part(self, samples: Samples) -> Part:
        """Cannot-links of samples whose times overlap."""
        name = self.kind + (f" ({self.scope})" if self.scope != "all" else "")
        return overlap_part(name, samples, self.scope, self.margin, self.exempt, self.relaxed)


@dataclass(frozen=True)
class MinTravelTime:
    """Nobody gets from one camera to the other, or back, faster than this."""

    kind: ClassVar[str] = "min-travel-time"
    uses_cameras: ClassVar[bool] = True
    cameras: tuple[int, int]
    """The two cameras."""
    seconds: float
    """Shortest time from the end of one sighting to the start of the next."""

    def __post_init__(self) -> None:
        if len(set(self.cameras)) < 2:
            raise ValueError(f"cameras={list(self.cameras)}: must be two; for one camera use kind 'same-frame'")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds={self.seconds}: must be above 0")

    def part(self, samples: Samples) -> Part:
        """Cannot-links of samples of both cameras with less time between them."""
        a, b = self.cameras
        name = f"{self.kind} {a}-{b}"
        rows = np.flatnonzero(np.isin(samples.camid, self.cameras))
        absent = [str(c) for c in self.cameras if not (samples.camid == c).any()]
        if absent:
            return Part(name, _none(), note=f"links nothing: no sample is from camera {' or '.join(absent)}")
        part = overlap_part(name, samples.take(rows), scope="cross", margin=self.seconds)
        i, j = rows[part.cannot].astype(np.int32).T
        # The sweep takes a gap of exactly that many seconds for too short.
        gap = np.maximum(samples.start[i] - samples.end[j], samples.start[j] - samples.end[i])
        return part._replace(cannot=np.column_stack([i, j])[gap < self.seconds])


@dataclass(frozen=True)
class SameTracklet:
    """Samples of one tracklet are one identity."""

    kind: ClassVar[str] = "same-tracklet"
    uses_cameras: ClassVar[bool] = False

    def part(self, samples: Samples) -> Part:
        """Must-links from the first sample of each tracklet to its others."""
        rows = np.flatnonzero(samples.tracklet >= 0)
        order = rows[np.argsort(samples.tracklet[rows], kind="stable")]
        _, first, sizes = np.unique(samples.tracklet[order], return_index=True, return_counts=True)
        heads = np.repeat(order[first], sizes)
        must = np.column_stack([heads, order])[heads != order].astype(np.int32)
        held = float((sizes * (sizes - 1.0) / 2).sum())
        if len(must) == 0:
            note = "links nothing: " + ("no tracklet has two samples" if len(rows) else "these data have no tracklets")
        else:
            note = _nearly_all(held, len(samples) * (len(samples) - 1.0) / 2)
        return Part(self.kind, _none(), must, note=note)


@dataclass(frozen=True)
class PairsFile:
    """Pairs from a CSV file: path_a, path_b, relation (same or different)."""

    kind: ClassVar[str] = "pairs"
    uses_cameras: ClassVar[bool] = False
    file: Path
    """The file; names in it as in the data, from their root."""

    def part(self, samples: Samples) -> Part:
        """Must-links of `same`, cannot-links of `different`."""
        cannot, must = read_pairs(self.file, samples)
        name = f"{self.kind} {printable(self.file.name)}"
        return Part(name, cannot, must, note="" if len(cannot) + len(must) else "links nothing: the file has no lines")


KINDS: dict[str, type[Any]] = {
    kind.kind: kind for kind in (SameFrame, TimeOverlap, MinTravelTime, SameTracklet, PairsFile)
}


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read a file of rules (.toml), or of pairs (.csv).

    Raises
    ------
    ValueError
        No such file, another ending, no TOML, an unknown kind or key (with the nearest known one), a value that a rule
        cannot have; the message names file and rule.
    """
    where = f"constraints={printable(path)}"
    if not path.is_file():
        raise ValueError(f"{where}: no such file")
    if path.suffix.lower() == ".csv":
        return (PairsFile(path),)
    if path.suffix.lower() != ".toml":
        raise ValueError(f"{where}: must be a .toml file of rules or a .csv file of pairs")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: not a TOML file ({error})") from None
    for key in tables:
        if key != "rule":
            raise ValueError(f"{where}: unknown key {key!r}: write each rule below a line [[rule]]")
    given = tables.get("rule", [])
    if not isinstance(given, list) or not given or not all(isinstance(table, dict) for table in given):
        raise ValueError(f"{where}: holds no rule; write each below a line [[rule]]")
    return tuple(_rule(f"{where}, rule {k}", table, path.parent) for k, table in enumerate(given, 1))


def compile_rules(rules: Sequence[Rule], samples: Samples) -> Links:
    """Turn rules into pairs of the samples, with what each rule links and what is odd about it in `Links.parts`.

    Raises
    ------
    ValueError
        A file of pairs that names no picture of these data, or cannot be read.
    MemoryError
        More pairs than fit.
    """
    return Links.of([rule.part(samples) for rule in rules], len(samples))


def overlap_part(
    name: str,
    samples: Samples,
    scope: str = "all",
    margin: float = 0.0,
    exempt: Sequence[tuple[int, int]] = (),
    relaxed: float | None = None,
) -> Part:
    """Cannot-links of samples that are seen at the same time, by the same clock; one that is not known meets none."""
    clock = samples.clock
    known = ~np.isnan(samples.start) & ~np.isnan(samples.end) & (clock >= 0)
    reads_cameras = scope != "all" or len(exempt) > 0
    if len(samples) == 0 or not known.any():
        return Part(name, _none(), relaxed=relaxed, note="links nothing: these data have no times of a known clock")
    if reads_cameras and not (samples.camid >= 0).any():
        return Part(name, _none(), relaxed=relaxed, note="links nothing: these data have no camera ids")
    if reads_cameras:
        known &= samples.camid >= 0
    keys = (clock[known],) if scope != "same" else (clock[known], samples.camid[known])
    _refuse_too_many(name, samples.start[known], samples.end[known], np.column_stack(keys), max(margin, 0.0))
    pairs = reid_cluster.time_overlap(
        samples.start, samples.end, camera=samples.camid if reads_cameras else None, clock=clock, scope=scope,
        margin=margin, exempt=exempt,
    )  # fmt: skip
    both = _pairs_within(clock[known])
    in_one = _pairs_within(clock[known], samples.camid[known])
    possible = {"all": both, "same": in_one, "cross": both - in_one}[scope]
    note = _nearly_all(len(pairs), possible) if len(pairs) else "links nothing: no times meet"
    return Part(name, pairs, relaxed=relaxed, note=note)


def check_relaxed(name: str, relaxed: float | None) -> None:
    """Refuse a relaxation outside -1 to 1."""
    if relaxed is not None and not -1 <= relaxed <= 1:
        raise ValueError(f"{name}={relaxed}: must be from -1 to 1, a share of eps; leave it out to believe all links")


def _refuse_too_many(
    name: str, start: NDArray[np.float64], end: NDArray[np.float64], keys: NDArray[np.int64], margin: float
) -> None:
    """Count the pairs of equal keys that overlap, in sorted columns, before any is made."""
    which = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(which, kind="stable")
    total = 0
    for rows in np.split(order, np.flatnonzero(np.diff(which[order])) + 1):
        later = len(rows) - np.searchsorted(np.sort(start[rows]), end[rows] + margin, side="right")
        total += len(rows) * (len(rows) - 1) // 2 - int(later.sum())
    if total > MOST_PAIRS:
        raise MemoryError(
            f"constraints: {name} compares {total:,} pairs that overlap ({8 * total / 1e9:.1f} GB): take a smaller "
            "margin or scope 'same', or cluster tracklets (instances='tracklet')"
        )


def _none() -> Pairs:
    return np.empty((0, 2), np.int32)


def _pairs_within(*columns: NDArray[np.int64]) -> float:
    """Number of pairs that agree in all columns."""
    sizes = np.unique(np.column_stack(columns), axis=0, return_counts=True)[1].astype(np.float64)
    return float((sizes * (sizes - 1) / 2).sum())


def _nearly_all(linked: float, possible: float) -> str:
    """A note where a rule links nearly all it could."""
    if possible < 10 or linked < NEARLY_ALL * possible:
        return ""
    return f"links nearly all pairs that it compares ({100 * linked / possible:.0f} %): are times and ids right?"


def _rule(where: str, table: dict[str, Any], folder: Path) -> Rule:
    """A rule from its TOML table."""
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        what = f"kind={kind!r}" if kind is not None else "no kind"
        raise ValueError(f"{where}: {what}: {nearest(str(kind or ''), list(KINDS))}")
    fields = {f.name: f for f in dataclasses.fields(KINDS[kind])}
    for key in values:
        if key not in fields:
            raise ValueError(
                f"{where} ({kind}): unknown key {key!r}: {nearest(key, list(fields)) if fields else 'none is known'}"
            )
    missing = [name for name, f in fields.items() if f.default is dataclasses.MISSING and name not in values]
    if missing:
        raise ValueError(f"{where} ({kind}): {missing[0]} is missing")
    try:
        return KINDS[kind](**{key: _value(key, value, folder) for key, value in values.items()})
    except ValueError as error:
        raise ValueError(f"{where} ({kind}): {error}") from None


def _value(key: str, value: Any, folder: Path) -> Any:
    """A value of the type that its field has."""

    def is_pair(x: Any) -> bool:
        return isinstance(x, list) and len(x) == 2 and all(type(c) is int and c >= 0 for c in x)

    if key == "file" and isinstance(value, str):
        return folder / Path(value).expanduser()
    if key == "scope" and isinstance(value, str):
        return value
    if key in ("margin", "seconds", "relaxed") and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if key == "cameras" and is_pair(value):
        return tuple(value)
    if key == "exempt" and isinstance(value, list) and all(is_pair(x) for x in value):
        return tuple(tuple(x) for x in value)
    wanted = {
        "file": "a file name", "scope": "a word", "cameras": "two camera ids, like [1, 2]",
        "exempt": "pairs of camera ids, like [[2, 8], [3, 5]]",
    }  # fmt: skip
    raise ValueError(
        f"{key}={value!r}: must be {wanted.get(key, 'a number of seconds' if key != 'relaxed' else 'a number')}"
    )
