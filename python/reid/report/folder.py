"""Reading a run folder: what the report shows, checked once, so that the page can trust it."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.data.records import printable
from reid.files import text_of
from reid.report.details import Details, read_details

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Member", "Round", "RunFolder", "read"]


class Member(NamedTuple):
    """One row of labels.csv; camid and tracklet are -1 when unknown."""

    camid: int
    tracklet: int
    path: str


@dataclass(frozen=True)
class Round:
    """One line of metrics.jsonl; round 0 is the untrained network."""

    number: int
    values: dict[str, Any]

    def get(self, key: str) -> float | None:
        """The number logged under `key`; None when there is none, or none that is finite."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return value

    @property
    def warnings(self) -> list[str]:
        """What the run warned of in this round."""
        found = self.values.get("warnings")
        return [str(w) for w in found] if isinstance(found, list) else []


@dataclass(frozen=True)
class RunFolder:
    """What a run left behind."""

    settings: dict[str, Any]
    """config.toml; empty when missing."""
    facts: dict[str, Any]
    """run.json; empty when missing."""
    rounds: list[Round]
    """At least one, by number."""
    members: dict[int, list[Member]]
    """Last pseudo identities (-1 outliers) and their members, a tracklet that was clustered whole by its middle frame;
    empty without labels.csv."""
    sizes: dict[int, int]
    """Members of each pseudo identity; from labels.csv, else the last labels/round-NNN.npz."""
    rows: list[tuple[int, Member]] = field(default_factory=list)
    """Lines of labels.csv: pseudo identity and picture."""
    before: NDArray[np.int64] | None = None
    """Labels of the samples in the round before the last; None before round 2."""
    details: Details | None = None
    """What was kept of features; None for runs that ended before it was kept."""

    @property
    def unit(self) -> str:
        """What was clustered: pictures or tracklets."""
        return "tracklets" if self.fact("instances") == "tracklet" else "pictures"

    def fact(self, *keys: str) -> Any:
        """The value in run.json under nested keys, or None."""
        found: Any = self.facts
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    @property
    def untrained(self) -> Round | None:
        """Round 0."""
        return self.rounds[0] if self.rounds[0].number == 0 else None

    @property
    def last(self) -> Round | None:
        """The last training round."""
        return self.rounds[-1] if self.rounds[-1].number > 0 else None

    @property
    def selected(self) -> Round | None:
        """The round chosen without labels: the last marked one, as a log can't take a mark back."""
        return next((r for r in reversed(self.rounds) if r.values.get("selected") is True), None)

    @property
    def best(self) -> Round | None:
        """The round of the highest mAP on the test set, the first of equals. Uses identities."""
        scored = [r for r in self.rounds if r.get("mAP") is not None]
        return max(scored, key=lambda r: r.get("mAP") or 0.0) if scored else None


def read(run: Path) -> RunFolder:
    """Read a run folder.

    Parameters
    ----------
    run : Path
        Folder that `reid-train` wrote. Only metrics.jsonl must be there.

    Returns
    -------
    RunFolder

    Raises
    ------
    ValueError
        No run folder, no rounds in metrics.jsonl, or a file that is broken; names file and place.
    """
    if not run.is_dir():
        raise ValueError(f"run={printable(run)}: no such folder; give the folder that reid-train wrote")
    facts = _facts(run / "run.json")
    rows = _rows(run / "labels.csv")
    details = read_details(run / "report" / "details.npz")
    if details is not None and rows and (not len(details.frame) or details.frame.max() >= len(rows)):
        raise ValueError(
            f"{printable(run / 'report' / 'details.npz')}: is of other samples than labels.csv; remove the file to go "
            "on without it"
        )
    members: dict[int, list[Member]] = defaultdict(list)
    for label, member in rows:
        members[label].append(member)
    if facts.get("instances") == "tracklet":
        members = {label: _middle_frames(rows) for label, rows in members.items()}
    sizes = {label: len(rows) for label, rows in members.items()} if members else _stored_sizes(run / "labels")
    return RunFolder(
        _settings(run / "config.toml"),
        facts,
        _rounds(run / "metrics.jsonl"),
        members,
        sizes,
        rows,
        _labels_before(run / "labels"),
        details,
    )


def _rounds(path: Path) -> list[Round]:
    lines = _text(path).rstrip("\n").split("\n") if path.is_file() else []
    found: dict[int, Round] = {}
    for k, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            number = values["round"]
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(f"round is {number!r}")
        except (ValueError, KeyError, TypeError) as error:
            if k == len(lines):
                break  # the run was cut off while it wrote
            raise ValueError(
                f"{printable(path)}, line {k}: not an object with a `round` ({error}); remove the line"
            ) from None
        found[number] = Round(number, values)  # a resumed run may log a round again: the later line holds
    if not found:
        raise ValueError(f"{printable(path)}: no rounds in it, nothing to report; run reid-train for one or more")
    return [found[number] for number in sorted(found)]


def _facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(_text(path))
    except ValueError as error:
        raise ValueError(f"{printable(path)}: not JSON ({error}); remove the file to go on without it") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{printable(path)}: not an object; remove the file to go on without it")
    return facts


def _settings(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{printable(path)}: not TOML ({error}); remove the file to go on without it") from None


def _rows(path: Path) -> list[tuple[int, Member]]:
    found: list[tuple[int, Member]] = []
    if not path.is_file():
        return found
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                where = Member(_id(row.get("camid")), _id(row.get("tracklet")), text_of(row["path"]))
                found.append((int(row["label"]), where))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"{printable(path)}, line {reader.line_num}: not path,camid,tracklet,label ({error}); "
                "remove the file to go on without it"
            ) from None
    return found


def _middle_frames(rows: list[Member]) -> list[Member]:
    """One member a tracklet; rows without a tracklet stay."""
    tracklets: dict[tuple[int, int], list[Member]] = defaultdict(list)
    for i, row in enumerate(rows):
        tracklets[row.tracklet, -1 if row.tracklet >= 0 else i].append(row)
    return [frames[len(frames) // 2] for frames in tracklets.values()]  # labels.csv lists frames in their order


def _id(text: str | None) -> int:
    return int(text) if text else -1


def _stored_sizes(folder: Path) -> dict[int, int]:
    files = _label_files(folder)
    if not files:
        return {}
    labels, counts = np.unique(_stored(files[-1]), return_counts=True)
    return {int(label): int(n) for label, n in zip(labels, counts, strict=True)}


def _labels_before(folder: Path) -> NDArray[np.int64] | None:
    """Labels of the round before the last; round 0 clusters nothing."""
    files = _label_files(folder)
    return _stored(files[-2]) if len(files) > 2 else None


def _label_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.npz"), key=lambda p: (len(p.name), p.name))


def _stored(path: Path) -> NDArray[np.int64]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return stored["labels"].astype(np.int64)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise ValueError(
            f"{printable(path)}: no array `labels` ({error}); remove the file to go on without it"
        ) from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")
