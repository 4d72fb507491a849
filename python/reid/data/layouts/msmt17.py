"""MSMT17, both releases, with their list files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.data.layouts.listing import Fields, counts, first_picture, listed_pictures, match_names, read_lines
from reid.data.records import Dataset, folder_name, printable

LISTS = ("list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt")
FOLDERS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
NAME = re.compile(
    r"(\d{1,18})_(\d+)_(\d{1,4})_(\d{4}(?:morning|noon|afternoon))_(\d+)_(\d+)(_ex)?\.[A-Za-z]+", re.ASCII
)


def is_msmt17(root: Path) -> bool:
    """One of the list files beside one of the folders, or pictures of its names in one of the folders."""
    folders = [root / name for pair in FOLDERS.values() for name in pair if (root / name).is_dir()]
    if not folders:
        return False
    return any((root / name).is_file() for name in LISTS) or any(NAME.fullmatch(first_picture(f)) for f in folders)


def parse_msmt17(names: Sequence[str]) -> Fields:
    """Read names such as 0000_000_01_0303morning_0008_0.jpg: person, picture, camera, day, two numbers.

    Parameters
    ----------
    names : sequence of N str
        File names, perhaps with folders before them.

    Returns
    -------
    Fields
        No times: the names say the day and its part, and a counter that nobody has explained.

    Raises
    ------
    ValueError
        Names of another form.
    """
    found = match_names(NAME, names, "0000_000_01_0303morning_0008_0.jpg (pid_NUMBER_CAM_DAY_...)")
    pid, camid = np.array([[int(m[1]), int(m[3])] for m in found], dtype=np.int64).reshape(-1, 2).T
    return Fields(pid, camid, np.full(len(found), np.nan), np.full(len(found), -1))


def read_msmt17(path: str | os.PathLike[str]) -> Dataset:
    """Read the pictures that list_train.txt, list_val.txt, list_query.txt and list_gallery.txt name.

    Parameters
    ----------
    path : str or path
        Folder that holds the lists and train, test (first release) or mask_train_v2, mask_test_v2 (second).

    Returns
    -------
    Dataset
        Training set: train and val. Ids are those of the lists (0 is a person like others), cameras as in the names.

    Raises
    ------
    FileNotFoundError
        A list, a folder or a picture that is listed is missing.
    ValueError
        A line that is not "NAME PID", a name that does not follow the pattern.

    References
    ----------
    L. Wei et al., "Person Transfer GAN to Bridge Domain Gap for Person Re-Identification", CVPR 2018.
    """
    root = Path(path)
    release = next((r for r, (train, _) in FOLDERS.items() if (root / train).is_dir()), None)
    if release is None:
        raise FileNotFoundError(
            f"{printable(root)}: train (first release) or mask_train_v2 (second) is missing: the MSMT17 layout needs it"
        )
    train_folder, test_folder = (root / name for name in FOLDERS[release])
    lists = [root / name for name in LISTS]
    listed = [read_lines(file, "MSMT17") for file in lists]
    if not test_folder.is_dir():
        raise FileNotFoundError(f"{printable(test_folder)} is missing: the MSMT17 layout needs it")
    parts = [
        _split(file, lines, folder)
        for file, lines, folder in zip(
            lists, listed, (train_folder, train_folder, test_folder, test_folder), strict=True
        )
    ]
    (paths, fields), (more_paths, more) = parts[:2]
    both = Fields(*(np.concatenate(pair) for pair in zip(fields, more, strict=True)))
    train = both.samples(paths + more_paths)
    query, gallery = (f.samples(p) for p, f in parts[2:])
    notes = counts(f"MSMT17 layout, release {release}", train, query, gallery)
    notes.append(f"The training set is list_train.txt ({len(paths)}) and list_val.txt ({len(more_paths)}).")
    notes.append("No times: names say only the day and its part.")
    return Dataset(folder_name(root), "msmt17", root, train, query, gallery, tuple(notes))


def _split(file: Path, lines: list[str], folder: Path) -> tuple[list[str], Fields]:
    pairs = [line.rsplit(None, 1) for line in lines]
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2 or not re.fullmatch(r"\d{1,18}", pair[1], re.ASCII):
            raise ValueError(
                f"{printable(file)} entry {number}: {lines[number - 1][:60]!r}: must be a name and a number, as in "
                "'0000/0000_000_01_0303morning_0008_0.jpg 0'"
            )
    names = [name for name, _ in pairs]
    try:
        fields = parse_msmt17(names)
    except ValueError as error:
        raise ValueError(f"{printable(file)}: {error}") from None
    pid = np.array([int(label) for _, label in pairs], dtype=np.int64)
    return listed_pictures(folder, names, file), fields._replace(pid=pid)
