"""Clocks: seconds from frame numbers, and times shifted by a table of the user's.

Times may be compared where the `clock` column is the same number, and nowhere else.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from reid.data.records import Dataset, Float, Samples, printable

DUKE_START = (5543, 3607, 27244, 31182, 1, 22402, 18968, 46766)
"""Frame of DukeMTMC's master clock (camera 5) at which the video of each camera 1 to 8 begins."""
DUKE_FPS = 60_000 / 1_001
MARKET_FPS = 25.0
VERI_FPS = 25.0
MARKET_LAST_FRAMES: Mapping[int, tuple[int, ...]] = {
    1: (72681, 74546, 74881, 74661, 74891, 54346),
    2: (163691, 164677, 98102),
    3: (161708, 161769, 104469),
    4: (72107, 72373, 74810, 74541, 74910, 50616),
    5: (161095, 161724, 103487),
    6: (87551, 131268, 95817, 30952),
}
"""Largest frame number in the names of each sequence of each camera of Market-1501."""


def duke_seconds(camid: ArrayLike, frame: ArrayLike) -> Float:
    """Return seconds on DukeMTMC's common clock of frames numbered in each camera's own video.

    Parameters
    ----------
    camid, frame : int array-like (N,)

    Returns
    -------
    float64 array (N,)
        (frame + start - 1) / 59.94, NaN for a camera beyond 1 to 8.
    """
    cameras = np.asarray(camid)
    known = (cameras >= 1) & (cameras <= len(DUKE_START))
    begin = np.array(DUKE_START)[np.where(known, cameras, 1) - 1]
    return np.where(known, (np.asarray(frame) + begin - 1) / DUKE_FPS, np.nan)


def market_clock(camid: int, sequence: int) -> int:
    """Return the number of a sequence's clock, camera * 100 + sequence; -1 when the numbers are too long for that."""
    return camid * 100 + sequence if sequence < 100 and camid < 10**15 else -1


def market_offsets() -> dict[tuple[int, int], float]:
    """Return (camera, clock) -> seconds that put Market-1501's sequences of a camera one behind the other.

    The clocks of two cameras then differ by minutes at most (the lengths agree within 2 %, but for camera 6), and
    are not synchronised: good for a histogram of travel times, not for "nobody is in two places at once".
    """
    offsets = {}
    for camera, lasts in MARKET_LAST_FRAMES.items():
        for k in range(len(lasts)):
            offsets[camera, market_clock(camera, k + 1)] = sum(lasts[:k]) / MARKET_FPS
    return offsets


@dataclass(frozen=True)
class Offset:
    """A line of a table of clock offsets."""

    camid: int
    """Camera."""
    clock: int | None
    """Which of the camera's clocks; None: its only one."""
    seconds: float
    """What is added to its times."""


def read_offsets(path: str | os.PathLike[str]) -> list[Offset]:
    """Read a CSV table with columns camid, offset_seconds and perhaps clock.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    list of Offset

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        Other columns, a cell that is no number (with its line), a camera (and clock) listed twice, no line.
    """
    where = f"clock offsets {printable(path)}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: no such file: check the path") from None
    except UnicodeDecodeError:
        raise ValueError(f"{where}: not UTF-8: save the table as CSV UTF-8") from None
    header = text.split("\n", 1)[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;", key=header.count))
    columns = [cell.strip().lower() for cell in next(reader, [])]
    if set(columns) not in ({"camid", "offset_seconds"}, {"camid", "offset_seconds", "clock"}) or len(columns) > 3:
        raise ValueError(f"{where}: columns {', '.join(columns)}: must be camid, offset_seconds and, if wanted, clock")
    offsets: list[Offset] = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        line = f"{where} line {reader.line_num}"
        if len(cells) != len(columns):
            raise ValueError(f"{line}: {len(cells)} cells, the header has {len(columns)}")
        row = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
        clock = _whole(line, "clock", row["clock"]) if row.get("clock") else None
        offset = Offset(_whole(line, "camid", row["camid"]), clock, _number(line, row["offset_seconds"]))
        if any((offset.camid, offset.clock) == (other.camid, other.clock) for other in offsets):
            raise ValueError(f"{line}: camera {offset.camid} is listed twice: keep one line for each of its clocks")
        offsets.append(offset)
    if not offsets:
        raise ValueError(f"{where}: no lines below the header: list at least one camera")
    return offsets


def shift_clocks(data: Dataset, offsets: list[Offset]) -> Dataset:
    """Add to the times of each camera what the table says, and put the cameras that it lists on one clock.

    A table is its author's word that the shifted times can be compared: where the listed cameras had different
    clocks, or none that was known, they get one new number. Cameras that it leaves out stay as they are.

    Parameters
    ----------
    data : Dataset
    offsets : list of Offset

    Returns
    -------
    Dataset
        With a note on what was shifted.

    Raises
    ------
    ValueError
        A camera or clock that is not in the data, or whose times are not known; a camera with several clocks of
        which the table does not say which it means.
    """
    splits = [split for split in (data.train, data.query, data.gallery) if split is not None]
    camid, clock, start = (np.concatenate([getattr(s, name) for s in splits]) for name in ("camid", "clock", "start"))
    listed = np.zeros(len(camid), dtype=bool)
    for offset in offsets:
        rows = (camid == offset.camid) & ~np.isnan(start)
        numbers = np.unique(clock[rows]).tolist()
        if not numbers:
            known = ", ".join(str(c) for c in np.unique(camid[~np.isnan(start)])[:20]) or "none"
            raise ValueError(
                f"clock offsets: camera {offset.camid} has no times in the data (those that have: {known})"
            )
        if offset.clock is None and len(numbers) > 1:
            few = ", ".join(str(n) for n in numbers[:6])
            raise ValueError(
                f"clock offsets: camera {offset.camid} has {len(numbers)} clocks ({few}): add a column clock with a "
                "line for each"
            )
        if offset.clock is not None and offset.clock not in numbers:
            raise ValueError(f"clock offsets: camera {offset.camid} has no clock {offset.clock}, but {numbers[:6]}")
        listed |= rows & (clock == numbers[0] if offset.clock is None else clock == offset.clock)
    numbers = np.unique(clock[listed]).tolist()
    common = numbers[0] if len(numbers) == 1 and numbers[0] >= 0 else int(clock.max()) + 1

    def shifted(samples: Samples) -> Samples:
        by, new = np.zeros(len(samples)), samples.clock.copy()
        for offset in offsets:
            rows = (samples.camid == offset.camid) & ~np.isnan(samples.start)
            rows &= True if offset.clock is None else samples.clock == offset.clock
            by[rows], new[rows] = offset.seconds, common
        return replace(samples, start=samples.start + by, end=samples.end + by, clock=new)

    cameras = len({offset.camid for offset in offsets})
    joined = "" if len(numbers) == 1 and numbers[0] >= 0 else ", which now share one clock"
    note = f"Times of {cameras} cameras shifted by the table of clock offsets{joined}."
    return replace(
        data,
        train=shifted(data.train),
        query=None if data.query is None else shifted(data.query),
        gallery=None if data.gallery is None else shifted(data.gallery),
        notes=(*data.notes, note),
    )


def _whole(where: str, name: str, cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 19):
        raise ValueError(f"{where}: {name} {cell[:40]!r}: must be a whole number from 0")
    return int(cell)


def _number(where: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: offset_seconds {cell[:40]!r}: must be seconds, such as -12.5")
    return value
