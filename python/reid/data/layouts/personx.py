"""PersonX: rendered persons, seen from 36 sides."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from reid.data.layouts.family import in_family, read_family, share_of_names
from reid.data.layouts.listing import Fields, counts
from reid.data.layouts.market1501 import RENAMED, parse_renamed
from reid.data.records import Dataset, Samples, folder_name, printable

NAME = re.compile(r"(-1|\d{1,18})_c(\d{1,18})s(\d+)_(\d{1,2})\.[A-Za-z]+", re.ASCII)
_BACKGROUND = re.compile(r"[1-9]", re.ASCII)


def is_personx(root: Path) -> bool:
    """Names like 0001_c1s1_33.jpg, any pid_cCAM names below a folder called PersonX, or folders 1 to 6 of such."""
    if not in_family(root):
        return bool(_backgrounds(root))
    if share_of_names(root, NAME) > 0.5:
        return True
    return "personx" in root.absolute().name.lower() and share_of_names(root, RENAMED) == 1


def parse_personx(names: Sequence[str]) -> Fields:
    """Read names such as 0001_c1s1_33.jpg: identity and camera; s1 (scene) and 33 (side) are not used. No times."""
    return parse_renamed(names)


def read_personx(path: str | os.PathLike[str]) -> Dataset:
    """Read PersonX: one set of three folders, or one for each background in folders 1, 2, ...

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Dataset
        Ids as in the names. Cameras as in the names; when several backgrounds are read together, the number of the
        background, as every one is another scene.

    Raises
    ------
    FileNotFoundError
        query without bounding_box_test, or no bounding_box_train.
    ValueError
        A name that does not follow the pattern, a folder without pictures.

    References
    ----------
    X. Sun and L. Zheng, "Dissecting Person Re-identification from the Viewpoint of Viewpoint", CVPR 2019.
    """
    root = Path(path)
    if in_family(root):
        data = read_family(root, "personx", "PersonX", parse_personx)
        return replace(data, notes=(*data.notes, "Rendered pictures: no times."))
    parts = [
        (int(folder.name), read_family(folder, "personx", "PersonX", parse_personx)) for folder in _backgrounds(root)
    ]
    if not parts:
        raise FileNotFoundError(f"{printable(root / 'bounding_box_train')} is missing: the PersonX layout needs it")
    train = _joined([(camera, data.train) for camera, data in parts])
    tests = [(camera, data) for camera, data in parts if data.query is not None]
    query = gallery = None
    if tests:
        query = _joined([(camera, data.query) for camera, data in tests if data.query is not None])
        gallery = _joined([(camera, data.gallery) for camera, data in tests if data.gallery is not None])
    read = ", ".join(str(camera) for camera, _ in parts)
    notes = [*counts("PersonX layout", train, query, gallery), f"Backgrounds {read} are read as cameras; no times."]
    return Dataset(folder_name(root), "personx", root, train, query, gallery, tuple(notes))


def _backgrounds(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    found = [folder for folder in root.iterdir() if _BACKGROUND.fullmatch(folder.name) and in_family(folder)]
    return sorted(found) if all(share_of_names(folder, NAME) > 0.5 for folder in found) else []


def _joined(parts: list[tuple[int, Samples]]) -> Samples:
    columns = {
        f.name: np.concatenate([getattr(samples, f.name) for _, samples in parts])
        for f in fields(Samples)
        if f.name not in ("frames", "camid")
    }
    camid = np.concatenate([np.full(len(samples), camera) for camera, samples in parts])
    return Samples(frames=tuple(row for _, samples in parts for row in samples.frames), camid=camid, **columns)
