"""VehicleID: vehicles by day, lists of pictures, cameras not told."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.data.layouts.listing import counts, listed_pictures, read_lines
from reid.data.records import Dataset, Int, Samples, folder_name, printable

_SIZES = (800, 1600, 2400, 3200, 6000, 13164)
_LINE = re.compile(r"(\S+)\s+(\d{1,18})", re.ASCII)


def is_vehicleid(root: Path) -> bool:
    """Folder image beside train_test_split or attribute, or one of the lists."""
    lists = root / "train_test_split"
    if any((lists / name).is_file() for name in ("train_list.txt", *(f"test_list_{n}.txt" for n in _SIZES))):
        return True
    return (root / "image").is_dir() and (lists.is_dir() or (root / "attribute").is_dir())


def parse_vehicleid(lines: Sequence[str]) -> tuple[list[str], Int]:
    """Read lines such as "0000001 7": picture (without .jpg) and vehicle.

    Parameters
    ----------
    lines : sequence of N str

    Returns
    -------
    names : list of N str
        With .jpg.
    pid : int64 array (N,)

    Raises
    ------
    ValueError
        A line of another form.
    """
    found = [_LINE.fullmatch(line.strip()) for line in lines]
    wrong = [i for i, match in enumerate(found) if match is None]
    if wrong:
        line = lines[wrong[0]][:60]
        raise ValueError(f"entry {wrong[0] + 1}: {line!r}: must be picture and vehicle, as in '0000001 7'")
    names = [m[1] if m[1].endswith(".jpg") else f"{m[1]}.jpg" for m in found if m is not None]
    return names, np.array([int(m[2]) for m in found if m is not None], dtype=np.int64)


def read_vehicleid(path: str | os.PathLike[str], test_list: str | None = None) -> Dataset:
    """Read the pictures in image that train_test_split/train_list.txt and a test list name.

    Parameters
    ----------
    path : str or path
        Folder that holds image and train_test_split.
    test_list : str, optional
        File in train_test_split; default: the smallest test_list_*.txt that is there (800 vehicles), or none.

    Returns
    -------
    Dataset
        The gallery is the first picture of each vehicle on the test list by name, the queries are its others; the
        published figures are means over ten draws at random. No cameras, no times.

    Raises
    ------
    FileNotFoundError
        The training list, `test_list`, the folder image or a picture that is listed is missing.
    ValueError
        A line of another form.

    References
    ----------
    H. Liu et al., "Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles", CVPR 2016.
    """
    root = Path(path)
    if not (root / "image").is_dir():
        raise FileNotFoundError(f"{printable(root / 'image')} is missing: the VehicleID layout needs it")
    lists = root / "train_test_split"
    train = _listed(root, lists / "train_list.txt")
    if test_list is None:
        test_list = next((f"test_list_{n}.txt" for n in _SIZES if (lists / f"test_list_{n}.txt").is_file()), None)
    query = gallery = None
    remarks = ["No test_list_*.txt: nothing can be evaluated."]
    if test_list is not None:
        test = _listed(root, lists / test_list)
        order = np.array(sorted(range(len(test)), key=lambda i: os.fsencode(test.frames[i][0])))
        test = test.take(order)
        first = np.unique(test.pid, return_index=True)[1]
        others = np.ones(len(test), dtype=bool)
        others[first] = False
        if not others.any():
            raise ValueError(f"{printable(lists / test_list)}: one picture a vehicle: no query is left")
        query, gallery = test.take(others), test.take(np.sort(first))
        remarks = [f"{test_list}: the gallery is each vehicle's first picture, the queries are its others."]
    notes = counts("VehicleID layout", train, query, gallery)
    notes += [*remarks, "No cameras and no times: the set does not tell them."]
    return Dataset(folder_name(root), "vehicleid", root, train, query, gallery, tuple(notes))


def _listed(root: Path, file: Path) -> Samples:
    lines = read_lines(file, "VehicleID")
    try:
        names, pid = parse_vehicleid(lines)
    except ValueError as error:
        raise ValueError(f"{printable(file)} {error}") from None
    if not names:
        raise ValueError(f"{printable(file)}: empty: copy the list from the archive again")
    return Samples.from_paths(listed_pictures(root / "image", names, file), pid=pid)
