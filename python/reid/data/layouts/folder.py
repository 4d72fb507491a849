"""Any folder of pictures: no identities, no cameras."""

from __future__ import annotations

import os
from pathlib import Path

from reid.data.layouts.listing import SUFFIXES, named, pictures
from reid.data.records import Dataset, Samples, folder_name, printable


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
    paths, others = pictures(root, recursive=True)
    if not paths:
        raise ValueError(f"{printable(root)}: no pictures ({', '.join(SUFFIXES)}) in it or below, {named(others)}")
    notes = [f"A folder of {len(paths)} pictures; no identities, no cameras."]
    if others:
        notes.append(f"Left out: {named(others)}.")
    return Dataset(folder_name(root), "folder", root, Samples.from_paths(paths), None, None, tuple(notes))
