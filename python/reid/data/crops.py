"""Pictures from boxes: cut every box of MOT sequences out of its frame, and write the table that says what is what."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reid.data.mot import MotData, Sequence, frame_pictures
from reid.data.records import printable, shortlist
from reid.data.table import TABLE
from reid.files import new_folder

COLUMNS = ("path", "pid", "camid", "frame", "time_start", "time_end", "tracklet", "clock")


@dataclass(frozen=True)
class Crops:
    """What `write_crops` wrote."""

    written: int
    """Pictures."""
    tracks: int
    """Tracks that have at least one."""
    lost_tracks: int
    """Tracks that have none, by `every` or `min_height`."""
    small: int
    """Boxes left out as they are lower than `min_height` inside the frame."""


def write_crops(
    data: MotData,
    root: str | os.PathLike[str],
    *,
    every: int = 1,
    min_height: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Crops:
    """Cut the boxes of `data` out of the pictures of its frames and write them to the new folder `root`.

    Parameters
    ----------
    data : MotData
    root : str or path
        Must not hold anything yet. It gets a folder a camera and samples.csv, which `read_dataset` reads. It is made
        beside and renamed when complete.
    every : int
        Take every so manieth frame of a sequence (the 1st, the 1 + every-th, ...), with all boxes in it.
    min_height : int
        Leave out boxes of which fewer rows of pixels lie inside the frame.
    progress : callable, optional
        Called as ``progress(done, total)`` with frames.

    Returns
    -------
    Crops

    Raises
    ------
    FileNotFoundError
        A sequence without pictures, or frames without one: the first five and the count.
    ValueError
        `every` or `min_height` below 1, a sequence without a frame rate, `root` that is not empty, a picture that
        can't be read, no box left.
    """
    for name, value in (("every", every), ("min_height", min_height)):
        if value < 1:
            raise ValueError(f"{name}={value}: must be at least 1")
    frames = [_frames(sequence, every) for sequence in data.sequences]
    total = sum(len(found) for found in frames)
    with new_folder(os.fspath(root)) as beside:
        return _write(data, frames, beside, min_height, lambda k: progress(k, total) if progress else None)


def _frames(sequence: Sequence, every: int) -> dict[int, Path]:
    """Pictures of the frames to open."""
    name = printable(sequence.name)
    if sequence.pictures is None:
        raise FileNotFoundError(
            f"sequence {name}: no pictures of its frames: boxes can only be cut out of them; put them into img1 "
            "(img1/000001.jpg, ...), for instance with ffmpeg -i VIDEO img1/%06d.jpg"
        )
    if sequence.fps is None:
        raise ValueError(f"sequence {name}: frame rate unknown: give --fps, or seqinfo.ini with frameRate=25")
    found = frame_pictures(sequence.pictures)
    wanted = [int(f) for f in np.unique(sequence.boxes.frame) if (f - 1) % every == 0]
    absent = [str(frame) for frame in wanted if frame not in found]
    if absent:
        raise FileNotFoundError(
            f"sequence {name}: {len(absent)} of {len(wanted)} frames have no picture in "
            f"{printable(sequence.pictures)}: {shortlist(absent)}: add them, or remove their lines"
        )
    return {frame: found[frame] for frame in wanted}


def _write(
    data: MotData, frames: list[dict[int, Path]], root: Path, min_height: int, progress: Callable[[int], None]
) -> Crops:
    pid, tracklet, clock = data.pid, data.tracklet, data.clock
    rows: list[tuple[object, ...]] = []
    small = done = begin = 0
    for sequence, pictures in zip(data.sequences, frames, strict=True):
        folder = f"c{sequence.camid:02d}"
        (root / folder).mkdir()
        seconds, boxes = sequence.seconds(), sequence.boxes
        order = np.argsort(boxes.frame, kind="stable")
        cuts = np.searchsorted(boxes.frame[order], list(pictures), side="left")
        ends = np.searchsorted(boxes.frame[order], list(pictures), side="right")
        for (frame, path), first, last in zip(pictures.items(), cuts, ends, strict=True):
            with _open(path) as picture:
                for number, i in enumerate(order[first:last].tolist()):
                    corners = _inside(boxes.box[i], picture.size)
                    if corners[3] - corners[1] < min_height or corners[2] <= corners[0]:
                        small += 1
                        continue
                    track = f"{boxes.track[i]:06d}" if boxes.track[i] >= 0 else "none"
                    name = f"{folder}/{track}_{frame:06d}_{number:02d}.jpg"
                    picture.crop(corners).save(root / name, quality=95, subsampling=0)
                    k, time = begin + i, repr(float(seconds[i]))
                    known = [int(value) if value >= 0 else "" for value in (pid[k], tracklet[k])]
                    rows.append((name, known[0], sequence.camid, frame, time, time, known[1], int(clock[k])))
            done += 1
            progress(done)
        begin += len(boxes.frame)
    if not rows:
        raise ValueError(f"no box is left: {small} are lower than {min_height} pixels: lower min_height or every")
    with open(root / TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    kept = {row[6] for row in rows} - {""}
    return Crops(len(rows), len(kept), len(np.unique(tracklet[tracklet >= 0])) - len(kept), small)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{printable(path)}: can't be read ({error}): write the frame again") from None


def _inside(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Corners of a box whose first pixel is 1, 1, cut at the picture's border."""
    left, top = np.floor(box[:2] - 0.5)  # 1.0 -> pixel 0
    right, bottom = np.ceil(box[:2] + box[2:] - 1.5)
    width, height = size
    x = (int(np.clip(left, 0, width)), int(np.clip(right, 0, width)))
    y = (int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height)))
    return x[0], y[0], x[1], y[1]
