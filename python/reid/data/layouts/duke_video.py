"""DukeMTMC-VideoReID: tracklets in folders of persons."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid.data import clocks
from reid.data.layouts.duke import WITHDRAWN
from reid.data.layouts.listing import counts, first_picture, match_names, named, pictures
from reid.data.records import Dataset, Float, Int, Samples, folder_name, printable

FOLDERS = ("train", "query", "gallery")
# Published with and without the strokes; X before the frame, D for distractors.
NAME = re.compile(r"(\d{4,9})_?C(\d)_?F(\d+)_?[XD](\d+)\.[A-Za-z]+", re.ASCII)
_MARS = re.compile(r"(\d{4}|00-1)C\dT\d+F\d+\.[A-Za-z]+", re.ASCII)


class Frames(NamedTuple):
    """What names say of N frames."""

    pid: Int
    """(N,) identity."""
    camid: Int
    """(N,) camera, 1 to 8."""
    seconds: Float
    """(N,) on the cameras' one clock."""


def is_duke_video(root: Path) -> bool:
    """Folders train, query, gallery (or train_split, ...) with frames like 0001_C6_F0099_X30823.jpg below."""
    return any(
        pattern.fullmatch(first_picture(root / (folder + ending)))
        for pattern in (NAME, _MARS)
        for folder in FOLDERS
        for ending in ("", "_split")
    )


def parse_duke_video(names: Sequence[str]) -> Frames:
    """Read names such as 0001_C6_F0099_X30823.jpg: identity, camera, number in the tracklet, frame of the video.

    Parameters
    ----------
    names : sequence of N str
        File names, perhaps with folders before them.

    Returns
    -------
    Frames
        Times come from the frame of the camera's video (X or D), never from the number in the tracklet (F).

    Raises
    ------
    ValueError
        Names of another form, a camera beyond 1 to 8.
    """
    found = match_names(NAME, names, "0001_C6_F0099_X30823.jpg (pid_CCAM_FNUMBER_XFRAME)")
    pid, camid, frame = np.array([[int(m[k]) for k in (1, 2, 4)] for m in found], dtype=np.int64).reshape(-1, 3).T
    seconds = clocks.duke_seconds(camid, frame)
    if np.isnan(seconds).any():
        wrong = names[int(np.flatnonzero(np.isnan(seconds))[0])]
        raise ValueError(f"{printable(wrong)}: DukeMTMC has cameras 1 to 8: rename it, or give a table")
    return Frames(pid, camid, seconds)


def read_duke_video(path: str | os.PathLike[str]) -> Dataset:
    """Read train, query and gallery (also named train_split, ...) with a folder a person and in it one a tracklet.

    Parameters
    ----------
    path : str or path
        Folder that holds the three; query and gallery may both be absent.

    Returns
    -------
    Dataset
        A row a tracklet, in the order of the folders' names, with all its frames; start and end are the times of
        its first and last frame on the one clock of the cameras.

    Raises
    ------
    FileNotFoundError
        No train, or one of query and gallery without the other.
    ValueError
        A name that does not follow the pattern, pictures outside a tracklet's folder, a tracklet of two persons or
        cameras, a folder without pictures.

    References
    ----------
    Y. Wu et al., "Exploit the Unknown Gradually: One-Shot Video-Based Person Re-Identification by Stepwise
    Learning", CVPR 2018.
    """
    root = Path(path)
    found = [_find(root, folder) for folder in FOLDERS]
    if found[0] is None:
        raise FileNotFoundError(f"{printable(root / FOLDERS[0])} is missing: the DukeMTMC-VideoReID layout needs it")
    if (found[1] is None) != (found[2] is None):
        missing = FOLDERS[1] if found[1] is None else FOLDERS[2]
        raise FileNotFoundError(
            f"{printable(root / missing)} is missing: add the folder, or leave out query and gallery"
        )
    splits: list[Samples | None] = []
    first = 0
    for folder in found:
        splits.append(None if folder is None else _split(folder, first))
        first += 0 if folder is None else len(splits[-1] or ())
    train, query, gallery = splits
    assert train is not None
    notes = counts("DukeMTMC-VideoReID layout", train, query, gallery)
    if query is None:
        notes.append("No query and no gallery: nothing can be evaluated.")
    notes += ["One clock for all cameras: frames of each video are shifted by its published start.", WITHDRAWN]
    return Dataset(folder_name(root), "dukemtmc-videoreid", root, train, query, gallery, tuple(notes))


def _find(root: Path, folder: str) -> Path | None:
    return next((root / name for name in (folder, f"{folder}_split") if (root / name).is_dir()), None)


def _split(folder: Path, first: int) -> Samples:
    """Tracklets below `folder`, numbered from `first`."""
    paths, others = pictures(folder, recursive=True)
    if not paths:
        raise ValueError(f"{printable(folder)}: no pictures in it or below, {named(others)}")
    if _MARS.fullmatch(os.path.basename(paths[0])):
        raise ValueError(
            f"{printable(folder)} holds frames of MARS that somebody repacked: give the original folder with "
            "bbox_train, bbox_test and info"
        )
    try:
        frames = parse_duke_video(paths)
    except ValueError as error:
        raise ValueError(f"{printable(folder)}: {error}") from None
    rows: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        rows.setdefault(os.path.dirname(path), []).append(i)
    for inside, members in rows.items():
        if len(os.path.relpath(inside, folder).split(os.sep)) != 2:
            raise ValueError(f"{printable(inside)}: pictures must lie in {folder.name}/PERSON/TRACKLET/: move them")
        for name, column in (("persons", frames.pid), ("cameras", frames.camid)):
            if len(np.unique(column[members])) > 1:
                raise ValueError(f"{printable(inside)} holds frames of several {name}: a folder must be one tracklet")
    begin = np.array([members[0] for members in rows.values()])
    return Samples(
        tuple(tuple(paths[i] for i in members) for members in rows.values()),
        pid=frames.pid[begin],
        camid=frames.camid[begin],
        tracklet=np.arange(first, first + len(rows)),
        start=np.array([frames.seconds[members].min() for members in rows.values()]),
        end=np.array([frames.seconds[members].max() for members in rows.values()]),
        clock=np.zeros(len(rows), dtype=np.int64),
    )
