"""From a path to a `Dataset`: `read_dataset` tells layouts apart by looking; `layouts` has one file a layout."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reid.data import mot
from reid.data.layouts import (
    cuhk03,
    duke,
    duke_video,
    family,
    market1501,
    mars,
    msmt17,
    personx,
    vehicleid,
    veri776,
)
from reid.data.layouts.folder import read_folder
from reid.data.layouts.listing import pictures
from reid.data.layouts.market1501 import read_market1501
from reid.data.records import Dataset, printable, shortlist
from reid.data.table import TABLES, is_table, read_table

__all__ = ["LAYOUTS", "Layout", "read_dataset", "read_folder", "read_market1501"]


@dataclass(frozen=True)
class Layout:
    """How a layout is told apart and read."""

    name: str
    """`Dataset.layout`."""
    title: str
    """Name in sentences."""
    looks_like: Callable[[Path], bool]
    """Whether a folder has the layout's marks; something may still be missing."""
    read: Callable[[Path], Dataset]
    """Its reader."""
    parts: tuple[str, ...]
    """Folders of it that somebody may give by mistake."""


LAYOUTS = (
    Layout("mars", "MARS", mars.is_mars, mars.read_mars, mars.FOLDERS),
    Layout("veri776", "VeRi-776", veri776.is_veri776, veri776.read_veri776, veri776.FOLDERS),
    Layout("vehicleid", "VehicleID", vehicleid.is_vehicleid, vehicleid.read_vehicleid, ("image", "train_test_split")),
    Layout("cuhk03", "CUHK03", cuhk03.is_cuhk03, cuhk03.read_cuhk03, ("images_detected", "images_labeled")),
    Layout("personx", "PersonX", personx.is_personx, personx.read_personx, family.FOLDERS),
    Layout("dukemtmc-reid", "DukeMTMC-reID", duke.is_duke, duke.read_duke, family.FOLDERS),
    Layout("market1501", "Market-1501", market1501.is_market1501, read_market1501, family.FOLDERS),
    Layout("msmt17", "MSMT17", msmt17.is_msmt17, msmt17.read_msmt17, sum(msmt17.FOLDERS.values(), ())),
    Layout(
        "dukemtmc-videoreid", "DukeMTMC-VideoReID", duke_video.is_duke_video, duke_video.read_duke_video,
        (*duke_video.FOLDERS, *(f"{folder}_split" for folder in duke_video.FOLDERS)),
    ),
    Layout("mot", "MOT", mot.is_mot, mot.refuse_uncut, ("img1", "gt", "det")),
)  # fmt: skip
"""In the order in which they are tried: the first whose marks are there reads the folder."""


def read_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Read whatever lies at `path`: a table, a known layout, or any folder of pictures.

    Parameters
    ----------
    path : str or path
        A .csv or .parquet table, a folder with samples.csv, the folder of a layout in `LAYOUTS` (or its parent, if
        that holds no other), or a folder with pictures somewhere below it.

    Returns
    -------
    Dataset
        Its notes say what was understood.

    Raises
    ------
    FileNotFoundError
        No such file or folder; part of a known layout is missing.
    ValueError
        A file of another kind, several data sets, no pictures, or what the reader of the layout says.
    """
    path = Path(path)
    # os.path.exists hides "permission denied", stat does not.
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{printable(path)}: no such file or folder: check the path") from None
    if stat.S_ISREG(mode) and is_table(path):
        return read_table(path)
    if not stat.S_ISDIR(mode):
        raise ValueError(f"{printable(path)} is no folder: give a folder of pictures or a .csv or .parquet table")
    for table in TABLES:
        if (path / table).exists():
            return read_table(path / table)
    layout = _layout(path)
    if layout is not None:
        return layout.read(path)
    inside = _inside(path)
    if len(inside) > 1:
        names = shortlist([folder.name for folder, _ in inside])
        raise ValueError(f"{printable(path)} holds {len(inside)} data sets ({names}): give the folder of one of them")
    if inside:
        folder, layout = inside[0]
        data = layout.read(folder)
        return replace(data, notes=(*data.notes, f"Found in its folder {printable(folder.name)}."))
    return _pictures(path)


def _layout(folder: Path) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.looks_like(folder)), None)


def _inside(folder: Path) -> list[tuple[Path, Layout]]:
    """Data sets one folder below; none where pictures lie beside them."""
    if pictures(folder, recursive=False)[0]:
        return []
    # Links may lead anywhere; read_folder judges them.
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
    found = [(entry, _layout(entry)) for entry in below]
    return [(entry, layout) for entry, layout in found if layout is not None]


def _pictures(folder: Path) -> Dataset:
    """A plain folder; a remark when it is a part of a layout."""
    whole = None
    here = folder.absolute()
    for part, parent in ((here, here.parent), (here.parent, here.parent.parent)):
        layout = _layout(parent) if os.access(parent, os.R_OK | os.X_OK) else None
        if layout is not None and part.name in layout.parts:
            whole = f"it is a part of a {layout.title} layout: for identities and cameras give {printable(parent)}"
            break
    try:
        data = read_folder(folder)
    except ValueError as error:
        if whole is None:
            raise
        raise ValueError(f"{error}; {whole}") from None
    return data if whole is None else replace(data, notes=(*data.notes, f"{whole[0].upper()}{whole[1:]}."))
