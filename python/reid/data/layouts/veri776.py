"""VeRi-776: vehicles on twenty cameras in one hour."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.data import clocks
from reid.data.layouts.listing import Fields, counts, folder_pictures, match_names, read_lines
from reid.data.records import Dataset, Samples, folder_name, printable, shortlist

FOLDERS = ("image_train", "image_query", "image_test")
_LISTS = ("name_train.txt", "name_query.txt", "name_test.txt")
NAME = re.compile(r"(-1|\d{1,18})_c(\d{1,9})_(\d{1,15})_(\d+)\.[A-Za-z]+", re.ASCII)
OVERLAPPING = ((3, 4), (4, 9), (5, 7), (6, 10), (6, 11), (8, 9), (10, 11), (14, 15))
"""Pairs of cameras that saw one vehicle at once, measured on the names of the test set; no other pair did."""


def is_veri776(root: Path) -> bool:
    """One of the folders image_train, image_query, image_test."""
    return any((root / folder).is_dir() for folder in FOLDERS)


def parse_veri776(names: Sequence[str]) -> Fields:
    """Read names such as 0002_c002_00030600_0.jpg: vehicle, camera, frame within the hour, number.

    Parameters
    ----------
    names : sequence of N str
        File names, perhaps with folders before them.

    Returns
    -------
    Fields
        Seconds within the hour (25 frames a second) on the one clock of all cameras, number 0.

    Raises
    ------
    ValueError
        Names of another form.
    """
    found = match_names(NAME, names, "0002_c002_00030600_0.jpg (pid_cCAM_TIME_NUMBER)")
    pid, camid, frame = np.array([[int(m[k]) for k in (1, 2, 3)] for m in found], dtype=np.int64).reshape(-1, 3).T
    return Fields(pid, camid, frame / clocks.VERI_FPS, np.zeros(len(found), dtype=np.int64))


def read_veri776(path: str | os.PathLike[str]) -> Dataset:
    """Read image_train, image_query and image_test with names such as 0002_c002_00030600_0.jpg.

    Parameters
    ----------
    path : str or path
        Folder that holds the three; image_query and image_test may both be absent.

    Returns
    -------
    Dataset
        Image to image; times as `parse_veri776` gives them. The lists name_*.txt are compared with the folders: what
        they name and is not there is noted, as the common archive lacks some.

    Raises
    ------
    FileNotFoundError
        No image_train, or one of the others alone.
    ValueError
        A name that does not follow the pattern, a folder without pictures.

    References
    ----------
    X. Liu et al., "A Deep Learning-Based Approach to Progressive Vehicle Re-identification for Urban Surveillance",
    ECCV 2016.
    """
    root = Path(path)
    has_test = [(root / folder).is_dir() for folder in FOLDERS[1:]]
    if has_test[0] != has_test[1]:
        missing = FOLDERS[2] if has_test[0] else FOLDERS[1]
        raise FileNotFoundError(f"{printable(root / missing)} is missing: add the folder, or leave out query and test")
    remarks: list[str] = []
    train = _split(root, 0, remarks)
    query, gallery = (_split(root, k, remarks) for k in (1, 2)) if has_test[0] else (None, None)
    notes = counts("VeRi-776 layout", train, query, gallery)
    if query is None:
        notes.append("No image_query and no image_test: nothing can be evaluated.")
    pairs = ", ".join(f"{a}-{b}" for a, b in OVERLAPPING)
    notes.append(f"One clock for all cameras. Views that overlap, so one vehicle may be in both at once: {pairs}.")
    return Dataset(folder_name(root), "veri776", root, train, query, gallery, tuple(notes + remarks))


def _split(root: Path, k: int, remarks: list[str]) -> Samples:
    folder, file = root / FOLDERS[k], root / _LISTS[k]
    paths = folder_pictures(folder, "VeRi-776")
    if file.is_file():
        there = {os.path.basename(path) for path in paths}
        absent = [name for name in map(os.path.basename, read_lines(file, "VeRi-776")) if name not in there]
        if absent:
            remarks.append(f"{_LISTS[k]} names {len(absent)} pictures that are not there: {shortlist(absent)}.")
    try:
        return parse_veri776(paths).samples(paths)
    except ValueError as error:
        raise ValueError(f"{printable(folder)}: {error}") from None
