"""MARS: tracklets described by tables beside the pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reid.data.layouts.listing import counts, listed_pictures, match_names, read_lines
from reid.data.records import Dataset, Int, Samples, folder_name, printable

FOLDERS = ("bbox_train", "bbox_test", "info")
_FILES = ("train_name.txt", "test_name.txt", "tracks_train_info.mat", "tracks_test_info.mat", "query_IDX.mat")
NAME = re.compile(r"(\d{4}|00-1)C(\d)T(\d+)F(\d+)\.[A-Za-z]+", re.ASCII)


class Frames(NamedTuple):
    """What names say of N frames."""

    pid: Int
    """(N,) identity; 0 distractor, -1 junk."""
    camid: Int
    """(N,) camera, 1 to 6."""
    tracklet: Int
    """(N,) number of the tracklet among those of its person and camera."""
    frame: Int
    """(N,) number within the tracklet, from 1; no time."""


class Tables(NamedTuple):
    """The tables of MARS; a tracklet is a row (first, last, pid, camid), frames counted from 1, last included."""

    train: Int
    """(M, 4)."""
    test: Int
    """(T, 4)."""
    query: Int
    """(Q,) rows of `test`, from 0."""
    gallery: Int
    """(G,) rows of `test`, from 0: the others, without junk (pid -1)."""


def is_mars(root: Path) -> bool:
    """Folders bbox_train or bbox_test, or the tables in info."""
    return any((root / name).is_dir() for name in FOLDERS[:2]) or any((root / "info" / f).is_file() for f in _FILES[2:])


def parse_mars(names: Sequence[str]) -> Frames:
    """Read names such as 0065C1T0002F016.jpg: identity, camera, tracklet, frame.

    Parameters
    ----------
    names : sequence of N str
        File names, perhaps with folders before them.

    Returns
    -------
    Frames

    Raises
    ------
    ValueError
        Names of another form.
    """
    found = match_names(NAME, names, "0065C1T0002F016.jpg (pidCCAMTTRACKLETFFRAME)")
    columns = [[-1 if m[1] == "00-1" else int(m[1]), int(m[2]), int(m[3]), int(m[4])] for m in found]
    return Frames(*np.array(columns, dtype=np.int64).reshape(-1, 4).T)


def read_tables(info: str | os.PathLike[str]) -> Tables:
    """Read tracks_train_info.mat, tracks_test_info.mat and query_IDX.mat.

    Parameters
    ----------
    info : str or path
        Folder that holds them.

    Returns
    -------
    Tables

    Raises
    ------
    FileNotFoundError
        One of them is missing.
    ValueError
        No MATLAB file, another variable or shape, frames out of order, a query beyond the table.
    """
    folder = Path(info)
    train = _table(folder / _FILES[2], "track_train_info")
    test = _table(folder / _FILES[3], "track_test_info")
    query = _variable(folder / _FILES[4], "query_IDX").ravel().astype(np.int64) - 1
    if len(query) == 0 or query.min() < 0 or query.max() >= len(test) or len(np.unique(query)) < len(query):
        raise ValueError(f"{printable(folder / _FILES[4])}: must hold different rows from 1 to {len(test)}")
    chosen = test[:, 2] >= 0
    chosen[query] = False
    return Tables(train, test, query, np.flatnonzero(chosen))


def read_mars(path: str | os.PathLike[str]) -> Dataset:
    """Read the tracklets of bbox_train and bbox_test that the tables in info list.

    Parameters
    ----------
    path : str or path
        Folder that holds bbox_train, bbox_test and info.

    Returns
    -------
    Dataset
        A row a tracklet with all its frames. Junk (-1) is left out, distractors (0) stay in the gallery. No times:
        frames are numbered within each tracklet.

    Raises
    ------
    FileNotFoundError
        A folder, a list, a table or a frame that is listed is missing.
    ValueError
        Tables and lists that don't belong together, and what `read_tables` and `parse_mars` say.

    References
    ----------
    L. Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-Identification", ECCV 2016.
    """
    root = Path(path)
    for name in FOLDERS:
        if not (root / name).is_dir():
            also = " (it is published apart from the pictures)" if name == "info" else ""
            raise FileNotFoundError(f"{printable(root / name)} is missing: the MARS layout needs it{also}")
    tables = read_tables(root / "info")
    train = _split(root / "bbox_train", root / "info" / _FILES[0], tables.train, 0)
    test = _split(root / "bbox_test", root / "info" / _FILES[1], tables.test, len(tables.train))
    query, gallery = test.take(tables.query), test.take(tables.gallery)
    notes = counts("MARS layout", train, query, gallery)
    junk, distractors = int((tables.test[:, 2] < 0).sum()), int((gallery.pid == 0).sum())
    notes.append(f"{junk} junk tracklets (pid -1) left out; the gallery holds {distractors} distractors (pid 0).")
    notes.append("No times: frames are numbered within each tracklet.")
    return Dataset(folder_name(root), "mars", root, train, query, gallery, tuple(notes))


def _split(folder: Path, file: Path, table: Int, first: int) -> Samples:
    """A row for each row of `table`; tracklets are numbered from `first`."""
    names = read_lines(file, "MARS")
    if table[:, 1].max() > len(names):
        raise ValueError(f"{printable(file)}: {len(names)} names, the tables go up to {table[:, 1].max()}: not a pair")
    begin = table[:, 0] - 1
    try:
        says = parse_mars([names[i] for i in begin])
    except ValueError as error:
        raise ValueError(f"{printable(file)}: {error}") from None
    other = np.flatnonzero((says.pid != table[:, 2]) | (says.camid != table[:, 3]))
    if len(other):
        i = int(other[0])
        raise ValueError(
            f"{printable(file)}: tracklet {i + 1} is pid {table[i, 2]}, camera {table[i, 3]} in the tables, but "
            f"begins with {printable(names[begin[i]])}: list and tables are not of one release"
        )
    # A frame lies in the folder of its person: the first four characters of its name.
    paths = listed_pictures(folder, [f"{os.path.basename(n)[:4]}/{os.path.basename(n)}" for n in names], file)
    unknown = np.full(len(table), np.nan)
    return Samples(
        tuple(tuple(paths[a - 1 : b]) for a, b in table[:, :2].tolist()),
        pid=table[:, 2],
        camid=table[:, 3],
        tracklet=np.arange(first, first + len(table)),
        start=unknown,
        end=unknown,
    )


def _table(file: Path, name: str) -> Int:
    table = _variable(file, name).astype(np.int64)
    if table.ndim != 2 or table.shape[1] != 4 or not len(table):
        raise ValueError(f"{printable(file)}: {name} has shape {table.shape}: must be (tracklets, 4)")
    if (table[:, 0] < 1).any() or (table[:, 1] < table[:, 0]).any() or (table[:, 2:] < -1).any():
        raise ValueError(f"{printable(file)}: {name} is damaged (first, last, pid, camera): copy it again")
    return table


def _variable(file: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat  # a second of import, for one layout

    if not file.is_file():
        raise FileNotFoundError(f"{printable(file)} is missing: the MARS layout needs it")
    try:
        content = loadmat(file)
    except Exception as error:  # a dozen kinds, by what is broken
        raise ValueError(f"{printable(file)}: no MATLAB 5 file ({type(error).__name__}): copy it again") from None
    if name not in content:
        raise ValueError(f"{printable(file)}: holds no {name}: another file of that name? copy it again")
    if not np.issubdtype(content[name].dtype, np.number):
        raise ValueError(f"{printable(file)}: {name} holds no numbers: copy it again")
    return content[name]
