"""A CSV file of pairs of pictures that show one identity, or two."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid.config import nearest
from reid.data.records import Samples, printable, shortlist
from reid.files import text_of

__all__ = ["COLUMNS", "read_pairs"]

COLUMNS = ["path_a", "path_b", "relation"]
RELATIONS = ("same", "different")


def read_pairs(path: Path, samples: Samples) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Read pairs and find their samples.

    Parameters
    ----------
    path : Path
        CSV, UTF-8; first line ``path_a,path_b,relation``; a relation is `same` or `different`.
    samples : Samples
        A name means the picture whose path ends in it: `2/a.jpg` is `/data/cats/2/a.jpg`. A quote that a table put in
        front of what could be a formula is not part of it.

    Returns
    -------
    cannot, must : (M, 2) and (K, 2) int32
        Positions of the samples; frames of one tracklet are one sample, and no pair of their own.

    Raises
    ------
    ValueError
        No such file, another first line, a line that cannot be read, names that are no picture's or several
        pictures', a pair of one and the same sample that is called different; lines are named.
    """
    where = f"constraints={printable(path)}"
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror or 'cannot be read'}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((reader.line_num, [text_of(cell.strip()) for cell in cells]))
    except csv.Error as error:
        raise ValueError(f"{where} line {reader.line_num}: {error}") from None
    if not lines or lines[0][1] != COLUMNS:
        raise ValueError(f"{where}: the first line must be {','.join(COLUMNS)}")
    for number, cells in lines[1:]:
        if len(cells) != 3:
            raise ValueError(f"{where} line {number}: has {len(cells)} cells, must have 3: {','.join(COLUMNS)}")
        if cells[2] not in RELATIONS:
            raise ValueError(f"{where} line {number}: relation {cells[2]!r}: {nearest(cells[2], list(RELATIONS))}")
    names = _Names(samples)
    ends = [[names.find(cell) for cell in cells[:2]] for _, cells in lines[1:]]
    for what, problem in (("is no training picture", -1), ("is the end of several paths", -2)):
        bad = [
            f"{cell} (line {number})"
            for (number, cells), pair in zip(lines[1:], ends, strict=True)
            for cell, at in zip(cells[:2], pair, strict=True)
            if at == problem
        ]
        if bad:
            raise ValueError(f"{where}: {len(bad)} names, each {what} of these data: {shortlist(bad)}")
    cannot: list[tuple[int, int]] = []
    must: list[tuple[int, int]] = []
    for (number, cells), (a, b) in zip(lines[1:], ends, strict=True):
        if a == b and cells[2] == "different":
            raise ValueError(
                f"{where} line {number}: {printable(cells[0])} and {printable(cells[1])} are one sample "
                "(frames of a tracklet, or one picture), they cannot differ"
            )
        if a != b:
            (must if cells[2] == "same" else cannot).append((a, b))
    return np.array(cannot, np.int32).reshape(-1, 2), np.array(must, np.int32).reshape(-1, 2)


class _Names:
    """Finds the sample of a picture's name."""

    def __init__(self, samples: Samples) -> None:
        self.by_name: dict[str, list[tuple[str, int]]] = {}
        for i, frames in enumerate(samples.frames):
            for frame in frames:
                frame = _slashes(frame)
                self.by_name.setdefault(frame.rpartition("/")[2], []).append((frame, i))

    def find(self, name: str) -> int:
        """Position of the sample; -1: there is none, -2: there are several."""
        name = _slashes(name)
        found = self.by_name.get(name.rpartition("/")[2], [])
        rows = {i for path, i in found if path == name} or {i for path, i in found if path.endswith("/" + name)}
        return -1 if not rows else -2 if len(rows) > 1 else rows.pop()


def _slashes(path: str) -> str:
    return os.path.normpath(path).replace(os.sep, "/")
