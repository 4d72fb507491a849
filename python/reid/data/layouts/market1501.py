"""Market-1501, and sets whose names were made like its own."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reid.data import clocks
from reid.data.layouts.family import in_family, read_family, share_of_names
from reid.data.layouts.listing import Fields, match_names
from reid.data.records import Dataset, Samples

# Six query names of the original end in .jpg.jpg.
NAME = re.compile(r"(-1|\d{1,18})_c(\d{1,18})s(\d+)_(\d+)_(\d+)(\.[A-Za-z]+)+", re.ASCII)
RENAMED = re.compile(r"(-1|\d{1,18})_c(\d{1,18})(\D.*)?\.[A-Za-z]+", re.ASCII)
_CROWD = 50
"""More boxes than that in one frame (Market-1501 has 9 at most): the number is none of a frame."""


def is_market1501(root: Path) -> bool:
    """Has `root` one of the folders? Any names will do."""
    return in_family(root)


def parse_market1501(names: Sequence[str]) -> Fields:
    """Read names such as 0002_c1s1_000451_03.jpg: identity, camera, sequence, frame, box.

    Parameters
    ----------
    names : sequence of N str
        File names, perhaps with folders before them.

    Returns
    -------
    Fields
        Seconds from the start of the sequence (25 frames a second); every sequence of a camera has a clock of its
        own, numbered camera * 100 + sequence. Sequences of different cameras ran at different times.

    Raises
    ------
    ValueError
        Names of another form.
    """
    found = match_names(NAME, names, "0002_c1s1_000451_03.jpg (pid_cCAMsSEQUENCE_FRAME_BOX)")
    pid, camid = _ids(found)
    clock = np.array([clocks.market_clock(int(m[2]), int(m[3])) for m in found], dtype=np.int64)
    frame = np.array([float(m[4]) for m in found])
    return Fields(pid, camid, np.where(clock < 0, np.nan, frame / clocks.MARKET_FPS), clock)


def parse_renamed(names: Sequence[str]) -> Fields:
    """Read names that begin like 0002_c1: identity and camera; the rest is not understood."""
    pid, camid = _ids(match_names(RENAMED, names, "0002_c1_anything.jpg (pid_cCAM...)"))
    return Fields(pid, camid, np.full(len(pid), np.nan), np.full(len(pid), -1))


def read_market1501(path: str | os.PathLike[str]) -> Dataset:
    """Read bounding_box_train, query and bounding_box_test with names such as 0002_c1s1_000451_03.jpg.

    Parameters
    ----------
    path : str or path
        Folder that holds the three; query and bounding_box_test may both be absent.

    Returns
    -------
    Dataset
        Ids and cameras as in the names, any number of digits. Junk (-1) is left out of the training set and
        kept in the gallery, where the metric leaves it out; distractors (0000) are kept. Times: `parse_market1501`.
        Where no name of the training set has a sequence and a frame, names need only begin with pid_cCAM.

    Raises
    ------
    FileNotFoundError
        query without bounding_box_test, or no bounding_box_train.
    ValueError
        A name that does not follow the pattern, a folder without pictures.

    References
    ----------
    L. Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
    """
    root = Path(path)
    if share_of_names(root, NAME) == 0 and share_of_names(root, RENAMED) == 1:
        data = read_family(root, "market1501", "Market-1501", parse_renamed)
        return replace(data, notes=(*data.notes, "Names of another set: identity and camera are read, no times."))
    data = read_family(root, "market1501", "Market-1501", parse_market1501)
    splits = [split for split in (data.train, data.query, data.gallery) if split is not None]
    if max(map(_most_at_once, splits)) > _CROWD:
        return replace(
            data,
            train=_without_times(data.train),
            query=None if data.query is None else _without_times(data.query),
            gallery=None if data.gallery is None else _without_times(data.gallery),
            notes=(
                *data.notes,
                f"Over {_CROWD} pictures share a camera, sequence and frame: no frame numbers, no times.",
            ),
        )
    note = "Each sequence of each camera has a clock of its own: only times within one can be compared."
    return replace(data, notes=(*data.notes, note))


def _ids(found: list[re.Match[str]]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array([(int(m[1]), int(m[2])) for m in found], dtype=np.int64).reshape(-1, 2)
    return ids[:, 0], ids[:, 1]


def _most_at_once(samples: Samples) -> int:
    known = samples.clock >= 0
    if not known.any():
        return 0
    moments = np.stack([samples.clock[known].astype(np.float64), samples.start[known]])
    return int(np.unique(moments, axis=1, return_counts=True)[1].max())


def _without_times(samples: Samples) -> Samples:
    never = np.full(len(samples), np.nan)
    return replace(samples, start=never, end=never, clock=np.full(len(samples), -1))
