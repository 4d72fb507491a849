"""CUHK03 with the lists of the split of 767 and 700 persons."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid.data.layouts.listing import Fields, counts, listed_pictures, match_names
from reid.data.records import Dataset, Int, Samples, folder_name, printable

KINDS = ("detected", "labeled")
NAME = re.compile(r"([1-9])_(\d{1,6})_([12])_(\d+)\.[A-Za-z]+", re.ASCII)
_RAW = ("cuhk-03.mat", "cuhk03_release/cuhk-03.mat")


def is_cuhk03(root: Path) -> bool:
    """Lists of a split, folders of pictures, or the published file of the set."""
    lists = [name for kind in KINDS for name in _lists(kind)]
    classic = [f"splits_classic_{kind}.json" for kind in KINDS]
    return any((root / name).is_file() for name in (*lists, *classic, *_RAW)) or any(
        (root / f"images_{kind}").is_dir() and NAME.fullmatch(_any_name(root / f"images_{kind}")) for kind in KINDS
    )


def parse_cuhk03(names: Sequence[str]) -> Fields:
    """Read names such as 1_001_1_01.png: pair of cameras, person seen by that pair, view, picture.

    Parameters
    ----------
    names : sequence of N str
        File names, perhaps with folders before them.

    Returns
    -------
    Fields
        Identity pair * 10^6 + person; camera = view (1, 2), as in the published lists. No times.

    Raises
    ------
    ValueError
        Names of another form.
    """
    found = match_names(NAME, names, "1_001_1_01.png (PAIR_PERSON_VIEW_PICTURE)")
    pair, person, view = np.array([[int(m[k]) for k in (1, 2, 3)] for m in found], dtype=np.int64).reshape(-1, 3).T
    return Fields(pair * 10**6 + person, view, np.full(len(found), np.nan), np.full(len(found), -1))


def read_cuhk03(path: str | os.PathLike[str], kind: str | None = None) -> Dataset:
    """Read the pictures that cuhk03_new_protocol_config_KIND.mat or splits_new_KIND.json lists.

    Parameters
    ----------
    path : str or path
        Folder that holds the lists and images_detected or images_labeled.
    kind : {"detected", "labeled"}, optional
        Boxes of a detector or drawn by hand; default: detected where its pictures and list are there.

    Returns
    -------
    Dataset
        Identities and cameras (view 1 or 2) as in the names; who is in which split, as in the list.

    Raises
    ------
    FileNotFoundError
        List or pictures are missing; only the published cuhk-03.mat is there, whose pictures must be drawn out.
    ValueError
        A list that can't be understood, a name that does not follow the pattern.

    References
    ----------
    W. Li et al., "DeepReID", CVPR 2014; the split: Z. Zhong et al., "Re-ranking Person Re-identification with
    k-reciprocal Encoding", CVPR 2017.
    """
    root = Path(path)
    if kind is None:
        whole = [k for k in KINDS if (root / f"images_{k}").is_dir() and _list(root, k) is not None]
        kind = whole[0] if whole else next((k for k in KINDS if (root / f"images_{k}").is_dir()), KINDS[0])
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}: must be detected or labeled")
    folder, file = root / f"images_{kind}", _list(root, kind)
    if not folder.is_dir():
        raw = any((root / name).is_file() for name in _RAW)
        remedy = "draw the pictures out of cuhk-03.mat into it, named like 1_001_1_01.png" if raw else "add it"
        raise FileNotFoundError(f"{printable(folder)} is missing: the CUHK03 layout needs it: {remedy}")
    if file is None:
        classic = (root / f"splits_classic_{kind}.json").is_file()
        why = "the classic splits ask for another protocol and are not read" if classic else "it tells who is tested"
        raise FileNotFoundError(f"{printable(root / _lists(kind)[0])} is missing ({why}): get it for the 767/700 split")
    chosen = _from_matlab(file) if file.suffix == ".mat" else _from_json(file)
    train, query, gallery = (_split(folder, names, file) for names in chosen)
    notes = counts(f"CUHK03 layout, {kind} boxes", train, query, gallery)
    notes.append(f"Split by {printable(file.name)}. Cameras are view 1 and view 2 of each pair; no times.")
    return Dataset(folder_name(root), "cuhk03", root, train, query, gallery, tuple(notes))


def _lists(kind: str) -> tuple[str, str]:
    return f"cuhk03_new_protocol_config_{kind}.mat", f"splits_new_{kind}.json"


def _list(root: Path, kind: str) -> Path | None:
    return next((root / name for name in _lists(kind) if (root / name).is_file()), None)


def _any_name(folder: Path) -> str:
    with os.scandir(folder) as entries:
        return next((entry.name for entry in entries if not entry.name.startswith(".")), "")


def _split(folder: Path, names: list[str], file: Path) -> Samples:
    try:
        fields = parse_cuhk03(names)
    except ValueError as error:
        raise ValueError(f"{printable(file)}: {error}") from None
    return fields.samples(listed_pictures(folder, names, file))


def _from_matlab(file: Path) -> list[list[str]]:
    """Names of train, query and gallery: positions, counted from 1, in filelist."""
    from scipy.io import loadmat

    try:
        content = loadmat(file)
        names = [str(cell[0]) for cell in content["filelist"].ravel()]
        positions = [_positions(content[f"{split}_idx"], len(names)) for split in ("train", "query", "gallery")]
    except Exception as error:  # a dozen kinds, by what is broken
        raise ValueError(
            f"{printable(file)}: not the lists of CUHK03 (filelist, train_idx, ...): {error}: copy it again"
        ) from None
    return [[names[i] for i in rows] for rows in positions]


def _positions(index: Any, n: int) -> Int:
    rows = np.asarray(index).ravel().astype(np.int64) - 1
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"positions must be from 1 to {n}")
    return rows


def _from_json(file: Path) -> list[list[str]]:
    """Names of train, query and gallery of the first split; folders are another machine's and don't count."""
    try:
        split = json.loads(file.read_text(encoding="utf-8"))[0]
        return [[re.split(r"[\\/]", entry[0])[-1] for entry in split[part]] for part in ("train", "query", "gallery")]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{printable(file)}: no list of splits of CUHK03 ({error}): copy it again") from None
