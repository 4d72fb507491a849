"""MOT: ground truth and output of trackers, one sequence a camera. Boxes only; `reid.data.crops` cuts the pictures."""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from reid.data.layouts.listing import SUFFIXES
from reid.data.records import Dataset, Float, Int, folder_name, printable, shortlist

Source = Literal["auto", "gt", "tracker", "det"]
_SOURCES = ("gt", "tracker", "det")
_CAMERA = re.compile(r"(?:^|[^a-z])(?:camera|cam|c)[_-]?0*(\d{1,6})(?!\d)", re.IGNORECASE | re.ASCII)
_LINE = re.compile(r"\s*\d+(\.0*)?\s*,\s*-?\d+(\.0*)?\s*(,\s*[-+.\deE]+\s*){4,8},?\s*", re.ASCII)
FEWEST_COLUMNS = 6
"""frame, id, left, top, width, height; then may come confidence, class, visibility or x, y, z."""


class Boxes(NamedTuple):
    """B boxes of a file, in its order."""

    frame: Int
    """(B,) number of the frame, from 1."""
    track: Int
    """(B,) id, -1 none (detections)."""
    box: Float
    """(B, 4) left, top, width, height in pixels; the picture's first pixel is at 1, 1."""
    flag: Float
    """(B,) seventh column: a confidence, or in ground truth 0 = not to be used; NaN where there is none."""


@dataclass(frozen=True)
class Sequence:
    """A sequence: one camera, or one recording of it."""

    name: str
    """Name of its folder or file."""
    camid: int
    """Camera."""
    source: str
    """gt, tracker or det: what its boxes are."""
    boxes: Boxes
    """Its boxes; those that ground truth says not to use are left out."""
    ignored: int
    """How many were left out."""
    fps: float | None
    """Frames a second, None when nobody said."""
    pictures: Path | None
    """Folder of the frames' pictures, None when there is none."""

    def seconds(self) -> Float:
        """Return seconds since the first frame of the sequence, (B,); NaN without `fps`."""
        if self.fps is None:
            return np.full(len(self.boxes.frame), np.nan)
        return (self.boxes.frame - 1) / self.fps


@dataclass(frozen=True)
class MotData:
    """Sequences of several cameras."""

    root: Path
    """Where they lie."""
    sequences: tuple[Sequence, ...]
    """In the order of cameras."""
    shared_ids: bool
    """Ids are those of persons: one id in two sequences is one person. Else an id holds within its sequence."""
    common_clock: bool
    """All sequences begin at the same moment."""

    @property
    def camid(self) -> Int:
        """(N,) camera of every box, sequence by sequence, as all columns here."""
        return self._join([np.full(len(s.boxes.frame), s.camid) for s in self.sequences])

    @property
    def frame(self) -> Int:
        """(N,) number of the frame, from 1."""
        return self._join([s.boxes.frame for s in self.sequences])

    @property
    def box(self) -> Float:
        """(N, 4) left, top, width, height in pixels."""
        return np.concatenate([s.boxes.box for s in self.sequences])

    @property
    def time(self) -> Float:
        """(N,) seconds since the first frame of the sequence."""
        return np.concatenate([s.seconds() for s in self.sequences])

    @property
    def clock(self) -> Int:
        """(N,) 0, or the number of the sequence when they don't begin together."""
        return self._join(
            [np.full(len(s.boxes.frame), 0 if self.common_clock else k) for k, s in enumerate(self.sequences)]
        )

    @property
    def pid(self) -> Int:
        """(N,) identity: the id of ground truth, numbered anew when ids hold within a sequence; else -1."""
        if any(s.source != "gt" for s in self.sequences):
            return np.full(len(self.frame), -1)
        if self.shared_ids:
            return self._join([s.boxes.track for s in self.sequences])
        return self.tracklet

    @property
    def tracklet(self) -> Int:
        """(N,) number of the pair (sequence, id), from 0 in their order; -1 for boxes without id."""
        number = self._join([np.full(len(s.boxes.frame), k) for k, s in enumerate(self.sequences)])
        track = self._join([s.boxes.track for s in self.sequences])
        result = np.full(len(track), -1)
        pairs = np.stack([number, track])[:, track >= 0]
        result[track >= 0] = np.unique(pairs, axis=1, return_inverse=True)[1].ravel()
        return result

    def describe(self) -> list[str]:
        """Return what was understood, a sentence each."""
        n, tracks = len(self.frame), self.tracklet
        kinds = {"gt": "ground truth", "tracker": "tracker output", "det": "detections"}
        names = " and ".join(kinds[s] for s in _SOURCES if any(q.source == s for q in self.sequences))
        plural = "s" * (len(self.sequences) != 1)
        notes = [
            f"MOT {names}, {len(self.sequences)} sequence{plural}: {n} boxes, {len(set(tracks[tracks >= 0]))} tracks."
        ]
        ignored = sum(s.ignored for s in self.sequences)
        if ignored:
            notes.append(f"{ignored} boxes of the ground truth are flagged 0 (not to be used) and left out.")
        if len(self.sequences) > 1:
            cameras = ", ".join(f"{s.name} = {s.camid}" for s in self.sequences[:20])
            notes.append(f"Cameras: {cameras}.")
            if (self.pid >= 0).any():
                owners = [set(s.boxes.track.tolist()) for s in self.sequences]
                shared = sum(sum(i in o for o in owners) > 1 for i in set().union(*owners))
                notes.append(
                    f"{shared} ids occur in several sequences and are taken for one identity each."
                    if self.shared_ids
                    else "Ids hold within a sequence: no identity is known across sequences."
                )
            notes.append(
                "All sequences are taken to begin at the same moment."
                if self.common_clock
                else "Each sequence has a clock of its own: times of two can't be compared."
            )
        return notes

    @staticmethod
    def _join(columns: list[np.ndarray]) -> Int:
        return np.concatenate(columns).astype(np.int64)


def is_mot(root: Path) -> bool:
    """Has `root`, or a folder in it, gt/gt.txt, det/det.txt or seqinfo.ini, or are its .txt files MOT files?"""
    return bool(_sequence_places(root))


def read_mot(
    path: str | os.PathLike[str],
    *,
    source: Source = "auto",
    fps: float | None = None,
    shared_ids: bool = True,
    common_clock: bool = False,
) -> MotData:
    """Read a sequence folder, a folder of several, a folder of MOT files, or one file.

    Parameters
    ----------
    path : str or path
        A sequence folder holds gt/gt.txt (ground truth), one .txt file (tracker output) or det/det.txt (detections),
        and perhaps seqinfo.ini and pictures of its frames in img1.
    source : {"auto", "gt", "tracker", "det"}
        Which of these boxes to read; auto: the first that is there. A lone file whose name has the word gt is
        ground truth, another is tracker output.
    fps : float, optional
        Frames a second; default: frameRate in seqinfo.ini.
    shared_ids : bool
        Ground truth of several sequences: one id is one identity everywhere.
    common_clock : bool
        All sequences begin at the same moment. Nothing in the files says so.

    Returns
    -------
    MotData
        Cameras are numbered as in the sequences' names (cam1, c02) where all have such a number of their own, else from
        1 in the order of names.

    Raises
    ------
    FileNotFoundError
        No sequence, or none with the boxes asked for.
    ValueError
        A line that is no box (with its number), a frame below 1, a box without size, one id twice in a frame, an empty
        file, a frame rate that is no positive number.
    """
    root = Path(path)
    if source not in ("auto", *_SOURCES):
        raise ValueError(f"source={source!r}: must be auto, gt, tracker or det")
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps={fps}: must be above 0")
    places = [root] if root.is_file() else _sequence_places(root)
    if not places:
        raise FileNotFoundError(
            f"{printable(root)}: no gt/gt.txt, det/det.txt or MOT .txt file in it or a folder of it"
        )
    cameras = _cameras([place.stem if place.is_file() else place.absolute().name for place in places])
    order = sorted(range(len(places)), key=lambda k: cameras[k])
    sequences = tuple(_sequence(places[k], cameras[k], source, fps) for k in order)
    return MotData(root, sequences, shared_ids, common_clock)


def parse_mot(file: Path) -> Boxes:
    """Read one file: a line a box, frame, id, left, top, width, height, ..., commas or blanks between them.

    Raises
    ------
    ValueError
        As in `read_mot`.
    """
    where = printable(file)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{where}: not a text file: give MOT lines (frame,id,left,top,width,height,...)") from None
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        cells = line.replace(",", " ").split()
        if not cells:
            continue
        try:
            row = [float(cell) for cell in cells[:7]]
        except ValueError:
            row = []
        if len(row) < FEWEST_COLUMNS or not np.isfinite(row[:FEWEST_COLUMNS]).all():
            raise ValueError(f"{where} line {number}: {line[:60]!r}: must be frame,id,left,top,width,height,...")
        if row[0] < 1 or row[0] != int(row[0]) or row[1] != int(row[1]) or row[1] < -1:
            raise ValueError(f"{where} line {number}: frame {row[0]:g}, id {row[1]:g}: frames count from 1, ids from 0")
        if row[4] <= 0 or row[5] <= 0:
            raise ValueError(f"{where} line {number}: a box of {row[4]:g} x {row[5]:g} pixels: remove the line")
        rows.append(row if len(row) == 7 else [*row, np.nan])
    if not rows:
        raise ValueError(f"{where}: holds no box: remove the file, or give another")
    table = np.array(rows)
    return Boxes(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2:6], table[:, 6])


def refuse_uncut(path: Path) -> Dataset:
    """Say of a MOT folder what it holds and how its boxes become pictures.

    Raises
    ------
    ValueError
        Always.
    """
    what = read_mot(path).describe()[0]
    raise ValueError(
        f"{printable(path)}: {what} Boxes are no pictures: cut them out with reid-data crops {printable(path)} OUT, "
        "then give OUT"
    )


def frame_pictures(folder: Path) -> dict[int, Path]:
    """Return the picture of each frame: the last number in its name says which.

    Raises
    ------
    ValueError
        Two pictures of one frame.
    """
    found: dict[int, Path] = {}
    for entry in sorted(folder.iterdir()):
        numbers = re.findall(r"\d+", entry.stem, re.ASCII)
        if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and numbers:
            frame = int(numbers[-1])
            if frame in found:
                raise ValueError(
                    f"{printable(entry)} and {printable(found[frame].name)} are both frame {frame}: remove one"
                )
            found[frame] = entry
    return found


def _sequence_places(root: Path) -> list[Path]:
    """Sequence folders or files in `root`: itself, the folders in it, or the .txt files in it."""
    if not root.is_dir():
        return []
    if _is_sequence(root):
        return [root]
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())
    found = [folder for folder in folders if _is_sequence(folder)]
    return found or _mot_files(root)


def _is_sequence(folder: Path) -> bool:
    if (folder / "gt" / "gt.txt").is_file() or (folder / "det" / "det.txt").is_file():
        return True
    return ((folder / "seqinfo.ini").is_file() or (folder / "img1").is_dir()) and bool(_mot_files(folder))


def _mot_files(folder: Path) -> list[Path]:
    """The .txt files whose first line is a box."""
    found = []
    for file in sorted(folder.glob("*.txt")):
        if file.is_file():
            with open(file, encoding="utf-8-sig", errors="replace") as lines:
                if _LINE.fullmatch(lines.readline(400)):
                    found.append(file)
    return found


def _sequence(place: Path, camid: int, source: Source, fps: float | None) -> Sequence:
    if place.is_file():
        folder, name = place.parent / place.stem, place.stem
        kind = "gt" if "gt" in re.split(r"[^a-z]+", name.lower()) else "tracker"
        files: dict[str, Path] = {kind: place} if source == "auto" else {source: place}
    else:
        folder, name = place, folder_name(place)
        files = {"gt": place / "gt" / "gt.txt", "det": place / "det" / "det.txt"}
        tracks = _mot_files(place)
        if len(tracks) > 1 and source in ("auto", "tracker") and not (source == "auto" and files["gt"].is_file()):
            few = shortlist([file.name for file in tracks])
            raise ValueError(f"{printable(place)}: {len(tracks)} MOT files ({few}): keep one, or give one by name")
        files |= {"tracker": tracks[0]} if tracks else {}
    wanted = _SOURCES if source == "auto" else (source,)
    kind = next((kind for kind in wanted if kind in files and files[kind].is_file()), "")
    if not kind:
        raise FileNotFoundError(f"{printable(place)}: no boxes of the kind {source}: choose another source")
    boxes = parse_mot(files[kind])
    used = boxes.flag != 0 if kind == "gt" else np.ones(len(boxes.frame), dtype=bool)
    boxes = Boxes(*(column[used] for column in boxes))
    pairs = np.stack([boxes.frame, boxes.track])[:, boxes.track >= 0]
    unique, times = np.unique(pairs, axis=1, return_counts=True)
    if (times > 1).any():
        frame, track = unique[:, np.flatnonzero(times > 1)[0]]
        raise ValueError(f"{printable(files[kind])}: id {track} stands twice in frame {frame}: keep one of its boxes")
    info = _seqinfo(folder / "seqinfo.ini")
    pictures = folder / info.get("imdir", "img1")
    rate = fps if fps is not None else _rate(folder / "seqinfo.ini", info)
    ignored = int((~used).sum())
    return Sequence(name, camid, kind, boxes, ignored, rate, pictures if pictures.is_dir() else None)


def _seqinfo(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8-sig"))
        return dict(parser["Sequence"])
    except (configparser.Error, KeyError, UnicodeDecodeError):
        raise ValueError(f"{printable(file)}: no section [Sequence] with lines such as frameRate=25: mend it") from None


def _rate(file: Path, info: dict[str, str]) -> float | None:
    if "framerate" not in info:
        return None
    try:
        rate = float(info["framerate"])
    except ValueError:
        rate = np.nan
    if not (np.isfinite(rate) and rate > 0):
        raise ValueError(f"{printable(file)}: frameRate={info['framerate']}: must be above 0")
    return rate


def _cameras(names: list[str]) -> list[int]:
    found = [_CAMERA.search(name) for name in names]
    numbers = [int(match[1]) for match in found if match is not None]
    return numbers if len(set(numbers)) == len(names) else list(range(1, len(names) + 1))
