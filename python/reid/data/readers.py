"""From a path to a `Dataset`: one function a layout; `read_dataset` tells layouts apart by looking."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import numpy as np

from reid.data.records import Dataset, Samples, folder_name, printable, shortlist
from reid.data.table import TABLE, read_table

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
"""Endings, in any case, by which a file counts as a picture."""

_MARKET_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
_MARKET_ARCHIVE = "Market-1501-v15.09.15"
# Six query names of the original end in .jpg.jpg.
_MARKET_NAME = re.compile(r"(-1|\d{1,18})_c(\d{1,18})s(\d+)_(\d+)_(\d+)(\.[A-Za-z]+)+", re.ASCII)


def read_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Read whatever lies at `path`, tried in this order: table, Market-1501 layout, any folder of pictures.

    Parameters
    ----------
    path : str or path
        A .csv file, a folder with a samples.csv, a folder with bounding_box_train (or its parent), or a
        folder with pictures somewhere below it.

    Returns
    -------
    Dataset
        Its notes say what was understood.

    Raises
    ------
    FileNotFoundError
        No such file or folder.
    ValueError
        A file of another kind, no pictures, or what the reader of the layout says.
    """
    path = Path(path)
    # os.path.exists hides "permission denied", stat does not.
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{printable(path)}: no such file or folder: check the path") from None
    if stat.S_ISREG(mode) and path.suffix.lower() == ".csv":
        return read_table(path)
    if not stat.S_ISDIR(mode):
        raise ValueError(f"{printable(path)} is no folder: give a folder of pictures or a .csv table")
    if (path / TABLE).exists():
        return read_table(path / TABLE)
    for folder in (path, path / _MARKET_ARCHIVE):
        if (folder / _MARKET_FOLDERS[0]).is_dir():
            return read_market1501(folder)
    return read_folder(path)


def read_folder(path: str | os.PathLike[str]) -> Dataset:
    """Read all pictures in a folder and its subfolders as a training set without identities and cameras.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Dataset
        Sorted by the bytes of the names. Hidden files and `__MACOSX` are left out; a folder that links reach
        twice is read once.

    Raises
    ------
    ValueError
        No picture; a picture that is no regular file; a link that leads out of the folder.
    """
    root = Path(path)
    paths, others = _pictures(root, recursive=True)
    if not paths:
        raise ValueError(f"{printable(root)}: no pictures ({', '.join(SUFFIXES)}) in it or below, {_named(others)}")
    notes = [f"A folder of {len(paths)} pictures; no identities, no cameras."]
    if others:
        notes.append(f"Left out: {_named(others)}.")
    return Dataset(folder_name(root), "folder", root, Samples.from_paths(paths), None, None, tuple(notes))


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
        kept in the gallery, where the metric leaves it out; distractors (0000) are kept.

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
    train_folder, query_folder, gallery_folder = (root / name for name in _MARKET_FOLDERS)
    notes: list[str] = []
    train = _market_split(train_folder)
    junk = int((train.pid == -1).sum())
    if junk:
        train = train.take(train.pid != -1)
        notes.append(f"{junk} junk pictures (pid -1) left out of the training set.")
        if not len(train):
            raise ValueError(f"{printable(train_folder)} holds only junk (pid -1): nothing to train on")
    notes.insert(0, f"Market-1501 layout, train: {train.describe()}.")
    query = gallery = None
    if query_folder.is_dir():
        if not gallery_folder.is_dir():
            raise FileNotFoundError(f"{printable(gallery_folder)} is missing though query is there: add the folder")
        query, gallery = _market_split(query_folder), _market_split(gallery_folder)
        notes.append(f"Query: {query.describe()}. Gallery: {gallery.describe()}.")
        for pid, kind in ((-1, "junk (pid -1), which the metric leaves out"), (0, "distractors (pid 0)")):
            n = int((gallery.pid == pid).sum())
            if n:
                notes.append(f"The gallery holds {n} {kind}.")
    elif gallery_folder.is_dir():
        notes.append("bounding_box_test without query: not used, nothing can be evaluated.")
    else:
        notes.append("No query and no bounding_box_test: nothing can be evaluated.")
    return Dataset(folder_name(root), "market1501", root, train, query, gallery, tuple(notes))


def _pictures(folder: Path, *, recursive: bool) -> tuple[list[str], list[str]]:
    """Return the pictures below `folder`, sorted by the bytes of their names, and the other files."""
    root = os.path.realpath(folder)
    found: list[tuple[bytes, str]] = []
    others: list[str] = []
    seen = {root}
    waiting = [""]
    while waiting:
        inside = waiting.pop(0)
        with os.scandir(os.path.join(folder, inside)) as entries:
            listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in listed:
            name = os.path.join(inside, entry.name)
            if entry.name.startswith(".") or entry.name in ("__MACOSX", "Thumbs.db"):
                continue
            picture = entry.name.lower().endswith(SUFFIXES)
            # A link to itself makes is_dir and is_file of an entry raise; os.path says no.
            link = entry.is_symlink()
            if os.path.isdir(entry.path) if link else entry.is_dir():
                real = os.path.realpath(entry.path)
                if recursive and real not in seen:
                    _check_inside(entry.path, real, root)
                    seen.add(real)
                    waiting.append(name)
            elif not picture:
                others.append(name)
            elif not (os.path.isfile(entry.path) if link else entry.is_file()):
                raise ValueError(f"{printable(entry.path)}: neither a file nor a link to one: remove it")
            else:
                if link:
                    _check_inside(entry.path, os.path.realpath(entry.path), root)
                found.append((os.fsencode(name), entry.path))
    return [path for _, path in sorted(found)], sorted(others, key=os.fsencode)


def _check_inside(path: str, real: str, root: str) -> None:
    if os.path.commonpath([real, root]) != root:
        raise ValueError(f"{printable(path)} is a link that leads out of {printable(root)}: copy what it points to")


def _market_split(folder: Path) -> Samples:
    if not folder.is_dir():
        raise FileNotFoundError(f"{printable(folder)} is missing: the Market-1501 layout needs it")
    paths, others = _pictures(folder, recursive=False)
    if not paths:
        raise ValueError(f"{printable(folder)}: no pictures ({', '.join(SUFFIXES)}), {_named(others)}")
    names = [_MARKET_NAME.fullmatch(os.path.basename(path)) for path in paths]
    wrong = [os.path.basename(path) for path, name in zip(paths, names, strict=True) if name is None]
    if wrong:
        raise ValueError(
            f"{printable(folder)}: {len(wrong)} names are not like 0002_c1s1_000451_03.jpg "
            f"(pid_cCAMsSEQUENCE_FRAME_BOX): {shortlist(wrong)}: rename them, or give a table"
        )
    ids = np.array([(int(name[1]), int(name[2])) for name in names if name is not None], dtype=np.int64)
    return Samples.from_paths(paths, pid=ids[:, 0], camid=ids[:, 1])


def _named(others: list[str]) -> str:
    return f"{len(others)} other files" + (f" ({shortlist(others)})" if others else "")
