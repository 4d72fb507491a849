"""A data set from a CSV or Parquet table, checked cell by cell before anything is read from it."""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid.data.records import Dataset, Samples, folder_name, printable, shortlist

TABLE = "samples.csv"
TABLES = (TABLE, "samples.parquet")
"""Names by which a table inside a folder is found."""

_SPLITS = ("train", "query", "gallery")
_INTEGERS = ("pid", "camid", "tracklet", "clock", "frame")
_TIMES = ("time_start", "time_end")
_COLUMNS = ("path", "split", *_INTEGERS, *_TIMES)


def is_table(path: Path) -> bool:
    """Does the name say that `path` is a table?"""
    return path.suffix.lower() in (".csv", ".parquet")


def read_table(path: str | os.PathLike[str]) -> Dataset:
    """Read a CSV or Parquet table, one picture a line.

    Columns: path (relative to the table's folder), and if wanted split (train, query, gallery; all train
    without it), pid, camid, tracklet, clock (whole numbers, so 007 is 7; empty or -1 = unknown), frame
    (number), time_start, time_end (seconds; an absent end is the start). CSV: UTF-8, with , or ; between cells.
    Parquet: the same columns, null = empty; needs the package pyarrow.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Dataset
        Rows in the table's order; its root is the table's folder. Without a column clock all times are on one clock;
        without times, frame numbers stand in for them, each camera's on a clock of its own.

    Raises
    ------
    ValueError
        Unknown, missing or double columns, a cell that can't be read (with its line), a path that leaves the
        folder, a picture listed twice in a split, in the training set and in query or gallery, or with two
        identities.
    FileNotFoundError
        Files that are not there: the first five and the count.
    ImportError
        A Parquet table without pyarrow.
    """
    table = Path(path)
    columns, rows = _parquet(table) if table.suffix.lower() == ".parquet" else _cells(table)
    lines = [_line(table, number, dict(zip(columns, cells, strict=True))) for number, cells in rows]
    if not lines:
        raise ValueError(f"{printable(table)}: no lines below the header: list at least one picture")
    root = table.parent
    _check_files(table, root, lines)
    notes = _check_doubles(table, lines)
    if "frame" in columns and not set(_TIMES) & set(columns):
        own = "" if "clock" in columns else ", each camera having its own clock"
        notes.append(f"No times: frame numbers stand in for them{own}.")
    clocks = {line.clock for line in lines} - {-1}
    if len(clocks) > 1:
        notes.append(f"{len(clocks)} clocks: times are comparable within one clock only.")
    splits = {split: _samples(root, [line for line in lines if line.split == split]) for split in _SPLITS}
    train = splits["train"]
    query, gallery = (splits[name] if len(splits[name]) else None for name in ("query", "gallery"))
    if (query is None) != (gallery is None):
        missing = "query" if query is None else "gallery"
        raise ValueError(f"{printable(table)}: no line has split {missing}: give query and gallery, or neither")
    notes.insert(0, f"A table, train: {train.describe()}.")
    if query is not None and gallery is not None:
        notes.insert(1, f"Query: {query.describe()}. Gallery: {gallery.describe()}.")
    name = folder_name(root) if table.name in TABLES else printable(table.stem)
    return Dataset(name, "table", root, train, query, gallery, tuple(notes))


@dataclass(frozen=True)
class _Line:
    number: int
    path: str
    split: str
    pid: int
    camid: int
    tracklet: int
    clock: int
    start: float
    end: float


def _cells(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the column names, and number and cells of every line that is not blank."""
    data = table.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{printable(table)} line {line}: not UTF-8: save the table as CSV UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{printable(table)} line {line}: a NUL character: save the table as CSV UTF-8")
    header = text.split("\n", 1)[0]
    delimiter = max(",;", key=header.count)
    # str.splitlines would also cut at characters that may be part of a name.
    reader = csv.reader(re.findall(r"[^\n]*\n|[^\n]+", text), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f"{printable(table)} line {reader.line_num}: {error}: check quotes") from None
    if not rows:
        raise ValueError(f"{printable(table)}: empty: give a header line with at least the column path")
    columns = _columns(table, rows[0][1])
    for number, cells in rows[1:]:
        if len(cells) != len(columns):
            raise ValueError(f"{printable(table)} line {number}: {len(cells)} cells, the header has {len(columns)}")
    return columns, rows[1:]


def _parquet(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the column names, and number (from 1) and cells of every row, as a CSV table would have them."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            f"{printable(table)}: Parquet needs the package pyarrow: pip install 'reid-cluster[parquet]', or give a CSV"
        ) from None
    try:
        content = parquet.read_table(table)
    except pyarrow.ArrowException as error:
        raise ValueError(
            f"{printable(table)}: no Parquet table ({str(error).splitlines()[0]}): save it again"
        ) from None
    columns = _columns(table, content.column_names)
    cells = [[_cell(value) for value in column.to_pylist()] for column in content.columns]
    return columns, list(enumerate(map(list, zip(*cells, strict=True)), 1))


def _cell(value: object) -> str:
    """A value as text; pandas keeps whole numbers with gaps as floats, and gaps as NaN."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _columns(table: Path, header: list[str]) -> list[str]:
    columns = [cell.strip().lower() for cell in header]
    known = f"columns are {', '.join(_COLUMNS)}"
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown:
        raise ValueError(f"{printable(table)}: unknown column {unknown[0]!r}: remove or rename it; {known}")
    double = [name for name in columns if columns.count(name) > 1]
    if double:
        raise ValueError(f"{printable(table)}: column {double[0]} stands there twice: remove one")
    if "path" not in columns:
        raise ValueError(f"{printable(table)}: no column path; {known}")
    return columns


def _line(table: Path, number: int, cells: dict[str, str]) -> _Line:
    where = f"{printable(table)} line {number}"
    path = cells["path"]
    if not path.strip():
        raise ValueError(f"{where}: path is empty: remove the line")
    split = cells.get("split", "train").strip().lower()
    if split not in _SPLITS:
        raise ValueError(f"{where}: split {split!r}: must be {', '.join(_SPLITS)}")
    ids = {name: _integer(where, name, cells.get(name, "")) for name in _INTEGERS}
    start, end = (_seconds(where, name, cells.get(name, "")) for name in _TIMES)
    if not set(_TIMES) & set(cells) and ids["frame"] >= 0:
        start = float(ids["frame"])
        if "clock" not in cells:
            ids["clock"] = ids["camid"]
    elif "clock" not in cells and not (np.isnan(start) and np.isnan(end)):
        ids["clock"] = 0
    if np.isnan(start) and not np.isnan(end):
        raise ValueError(f"{where}: time_end without time_start: give both or none")
    if np.isnan(end):
        end = start
    if end < start:
        raise ValueError(f"{where}: time_end {end:g} lies before time_start {start:g}: swap them")
    del ids["frame"]
    return _Line(number, path, split, start=start, end=end, **ids)


def _integer(where: str, name: str, cell: str) -> int:
    cell = cell.strip()
    if not cell:
        return -1
    if not re.fullmatch(r"-1|0*\d{1,19}", cell, re.ASCII) or int(cell.lstrip("0") or 0) >= 2**63:
        raise ValueError(
            f"{where}: {name} {cell[:40]!r}: must be a whole number from 0 to 2^63 - 1, or empty if unknown"
        )
    return int(cell.lstrip("0") or 0)


def _seconds(where: str, name: str, cell: str) -> float:
    cell = cell.strip()
    if not cell:
        return float("nan")
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", cell, re.ASCII) or not np.isfinite(float(cell)):
        raise ValueError(f"{where}: {name} {cell[:40]!r}: must be seconds, such as 12.5, or empty if unknown")
    return float(cell)


def _check_files(table: Path, root: Path, lines: list[_Line]) -> None:
    real_root = os.path.realpath(root)
    absent: list[str] = []
    for line in lines:
        where = f"{printable(table)} line {line.number}: path {printable(line.path)!r}"
        if ".." in re.split(r"[\\/]" if os.name == "nt" else "/", line.path):
            raise ValueError(f"{where} holds '..': paths must stay inside {printable(root)}")
        path = os.path.join(root, line.path)
        real = os.path.realpath(path)
        if os.path.commonpath([real, real_root]) != real_root:
            raise ValueError(f"{where} leads out of {printable(root)}: move the table or copy the pictures")
        try:
            mode = os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            absent.append(line.path)
            continue
        if not stat.S_ISREG(mode):
            raise ValueError(f"{where} is not a regular file: name a picture")
    if absent:
        raise FileNotFoundError(
            f"{printable(table)}: {len(absent)} of {len(lines)} files are not in {printable(root)}: {shortlist(absent)}"
        )


def _check_doubles(table: Path, lines: list[_Line]) -> list[str]:
    """Refuse pictures that stand in the table twice, but for one in query and gallery, which is noted."""
    seen: dict[str, list[_Line]] = {}
    shared = 0
    for line in lines:
        others = seen.setdefault(os.path.normpath(line.path), [])
        others.append(line)
        if len(others) == 1:
            continue
        other = others[0]
        where = f"{printable(table)} lines {other.number} and {line.number}: {printable(line.path)!r}"
        for name in ("pid", "camid", "tracklet", "clock"):
            if getattr(other, name) != getattr(line, name):
                raise ValueError(f"{where} has {name} {getattr(other, name)} and {getattr(line, name)}: keep one")
        if len(others) > 2 or {other.split, line.split} != {"query", "gallery"}:
            raise ValueError(f"{where} stands in {other.split} and in {line.split}: keep one")
        shared += 1
    return [f"{shared} pictures are both query and gallery."] if shared else []


def _samples(root: Path, lines: list[_Line]) -> Samples:
    def column(get: Callable[[_Line], float], dtype: type) -> np.ndarray:
        return np.array([get(line) for line in lines], dtype=dtype)

    return Samples.from_paths(
        [os.path.join(root, line.path) for line in lines],
        pid=column(lambda line: line.pid, np.int64),
        camid=column(lambda line: line.camid, np.int64),
        tracklet=column(lambda line: line.tracklet, np.int64),
        start=column(lambda line: line.start, np.float64),
        end=column(lambda line: line.end, np.float64),
        clock=column(lambda line: line.clock, np.int64),
    )
