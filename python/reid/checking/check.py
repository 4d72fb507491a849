"""`reid.check` and `reid.stats`."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid.checking.settings import CheckConfig, StatsConfig
from reid.data.counts import count
from reid.data.decoding import cores
from reid.data.inspection import REPAIR, TRAITS, Finding, Looks, find_problems, look_at
from reid.data.possible import Possibility, constraints, protocols
from reid.data.readers import read_dataset
from reid.data.records import Dataset
from reid.data.sizes import usual_size
from reid.data.twins import files_of
from reid.files import csv_text, write_text

if TYPE_CHECKING:
    from reid.checking.estimate import Estimate

__all__ = ["Checked", "check", "stats"]

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    path: Path
    """What was checked."""
    counts: dict[str, Any]
    """As `reid.stats` gives them."""
    findings: tuple[Finding, ...]
    """The gravest kind first."""
    in_tracklets: int
    """Pictures that equal or resemble an earlier one of their tracklet; expected, and not among the findings."""
    shapes: dict[str, Any]
    """readable, the number of pictures that can be read; their height, width and aspect (height / width) as quantiles
    (least, quarter, median, three quarters, most) or None; upright (higher than wide) and lying ones; traits, how many
    there are of each of `reid.data.inspection.TRAITS`."""
    protocols: tuple[Possibility, ...]
    constraints: tuple[Possibility, ...]
    size: tuple[int, int]
    """Height and width that training would choose."""
    estimates: tuple[Estimate, ...]

    @property
    def kinds(self) -> dict[str, int]:
        """Number of findings of each kind that there is, the gravest first."""
        number = Counter(finding.kind for finding in self.findings)
        return {kind: number[kind] for kind in REPAIR if number[kind]}

    @property
    def usable(self) -> bool:
        """Whether nothing must be repaired first."""
        return not any(REPAIR[kind] for kind in self.kinds)

    def facts(self) -> dict[str, Any]:
        """Everything as plain JSON values."""
        return {
            "usable": self.usable,
            "kinds": self.kinds,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "in_tracklets": self.in_tracklets,
            "counts": self.counts,
            "shapes": self.shapes,
            "protocols": [dataclasses.asdict(p) for p in self.protocols],
            "constraints": [dataclasses.asdict(p) for p in self.constraints],
            "size": list(self.size),
            "estimates": [dataclasses.asdict(e) for e in self.estimates],
        }


def stats(config: StatsConfig) -> dict[str, Any]:
    """Count what a data set holds; no picture is opened.

    Parameters
    ----------
    config : StatsConfig

    Returns
    -------
    dict
        Plain JSON values: see `reid.data.counts.count`.

    Raises
    ------
    ValueError, OSError
        The data cannot be read; the message names what and the remedy.
    """
    return count(read_dataset(config.path.expanduser()))


def check(config: CheckConfig, *, progress: Progress | None = None) -> Checked:
    """Look at every picture of a data set, and say what it is fit for.

    Parameters
    ----------
    config : CheckConfig
    progress : callable (done, total, stage), optional

    Returns
    -------
    Checked

    Raises
    ------
    ValueError, OSError
        The data cannot be read at all, or the table of findings cannot be written.
    """
    data = read_dataset(config.path.expanduser())
    files = files_of(data)
    begin = time.monotonic()
    looks = look_at(files.paths, workers=config.workers, progress=progress)
    rate = len(files.paths) / max(time.monotonic() - begin, 1e-6) * cores() / (config.workers or cores())
    findings, in_tracklets = find_problems(files, looks, data.root, tiny=config.tiny, progress=progress)
    size = usual_size(data.train)
    checked = Checked(
        config.path, count(data), tuple(findings), in_tracklets, _shapes(looks),
        tuple(protocols(data)), tuple(constraints(data)), size, tuple(_estimates(data, size, rate, progress)),
    )  # fmt: skip
    if config.output is not None:
        _write(config.output.expanduser(), checked.findings)
    return checked


def _estimates(data: Dataset, size: tuple[int, int], rate: float, progress: Progress | None) -> list[Estimate]:
    from reid.checking.estimate import estimate  # torch is loaded here, when the pictures are good to look at

    if progress is not None:
        progress(0, 1, "measuring the network")
    return estimate(data, *size, decoded_per_second=rate)


def _shapes(looks: Looks) -> dict[str, Any]:
    rows = looks.readable
    height, width = looks.sizes[rows].T
    aspect = height / np.maximum(width, 1)

    def quantiles(values: Any) -> list[float] | None:
        return np.percentile(values, [0, 25, 50, 75, 100]).tolist() if len(values) else None

    return {
        "readable": len(rows),
        "height": quantiles(height),
        "width": quantiles(width),
        "aspect": quantiles(aspect),
        "upright": int((height > width).sum()),
        "lying": int((height < width).sum()),
        "traits": dict(zip(TRAITS, looks.traits[rows].sum(axis=0).tolist(), strict=True)),
    }


def _write(path: Path, findings: tuple[Finding, ...]) -> None:
    rows = [(finding.path, finding.kind, finding.detail) for finding in findings]
    write_text(path, csv_text(["path", "kind", "detail"], rows))
