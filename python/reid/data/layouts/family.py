"""Folders bounding_box_train, query and bounding_box_test: the layout that Market-1501 began and others took over."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from reid.data.layouts.listing import SUFFIXES, Fields, counts, folder_pictures
from reid.data.records import Dataset, Samples, folder_name, printable

FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def in_family(root: Path) -> bool:
    """Has `root` the folder bounding_box_train or bounding_box_test? (query alone is too common a name.)"""
    return any((root / folder).is_dir() for folder in (FOLDERS[0], FOLDERS[2]))


def share_of_names(root: Path, pattern: re.Pattern[str]) -> float:
    """Return which part of the pictures' names in the first of the folders that is there matches `pattern`."""
    for folder in FOLDERS:
        if (root / folder).is_dir():
            names = [name for name in os.listdir(root / folder) if name.lower().endswith(SUFFIXES)]
            return sum(pattern.fullmatch(name) is not None for name in names) / max(len(names), 1)
    return 0.0


def read_family(root: Path, layout: str, title: str, parse: Callable[[Sequence[str]], Fields]) -> Dataset:
    """Read the three folders of `root`; query and bounding_box_test may both be absent.

    Parameters
    ----------
    root : Path
    layout, title : str
        Name of the layout in `Dataset.layout`, and in sentences.
    parse : callable
        Names -> their fields; a ValueError is passed on behind the name of the folder.

    Raises
    ------
    FileNotFoundError
        query without bounding_box_test, or no bounding_box_train.
    ValueError
        What `parse` says, a folder without pictures, a training set of junk.
    """
    train_folder, query_folder, gallery_folder = (root / name for name in FOLDERS)
    train = _split(train_folder, title, parse)
    notes: list[str] = []
    junk = int((train.pid == -1).sum())
    if junk:
        train = train.take(train.pid != -1)
        notes.append(f"{junk} junk pictures (pid -1) left out of the training set.")
        if not len(train):
            raise ValueError(f"{printable(train_folder)} holds only junk (pid -1): nothing to train on")
    query = gallery = None
    if query_folder.is_dir():
        if not gallery_folder.is_dir():
            raise FileNotFoundError(f"{printable(gallery_folder)} is missing though query is there: add the folder")
        query, gallery = (_split(folder, title, parse) for folder in (query_folder, gallery_folder))
        for pid, kind in ((-1, "junk (pid -1), which the metric leaves out"), (0, "distractors (pid 0)")):
            n = int((gallery.pid == pid).sum())
            if n:
                notes.append(f"The gallery holds {n} {kind}.")
    elif gallery_folder.is_dir():
        notes.append("bounding_box_test without query: not used, nothing can be evaluated.")
    else:
        notes.append("No query and no bounding_box_test: nothing can be evaluated.")
    notes = counts(f"{title} layout", train, query, gallery) + notes
    return Dataset(folder_name(root), layout, root, train, query, gallery, tuple(notes))


def _split(folder: Path, title: str, parse: Callable[[Sequence[str]], Fields]) -> Samples:
    paths = folder_pictures(folder, title)
    try:
        return parse(paths).samples(paths)
    except ValueError as error:
        raise ValueError(f"{printable(folder)}: {error}") from None
