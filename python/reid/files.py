"""How this package writes files: beside, then renamed; a reader sees the old file or the new one, never half.

Tables are CSV, UTF-8; names of pictures in them can be any bytes, and never become formulas of a spreadsheet.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["TEMPORARY", "atomic_path", "cell", "csv_text", "lock_folder", "new_folder", "text_of", "write_text"]

TEMPORARY = ".*.tmp*"
"""Pattern of the names of files that are being written; one that is old was left by a process that was killed."""


@contextlib.contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well.

    Parameters
    ----------
    path : Path or str
        The file to be. Its folder is made when it is missing.

    Yields
    ------
    Path
        Where to write. It carries the suffix of `path` (writers that look at it work) and is removed on any error.

    Raises
    ------
    OSError
        When the file cannot be written (no space, no permission); an older file of that name stays as it was.

    Notes
    -----
    The data reach the disk (`fsync`) before the name does, so a power cut leaves the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.filename is None or str(error.filename) == name:
            error.filename = str(path)
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path` in one piece (see `atomic_path`)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def cell(text: str) -> str:
    """A text as a cell of a table that no spreadsheet takes for a formula: what could be one gets a quote in front.

    Numbers stay as they are.

    Examples
    --------
    >>> cell("=1+1"), cell("a.jpg"), cell("-0.5")
    ("'=1+1", 'a.jpg', '-0.5')
    """
    return "'" + text if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def text_of(cell: str) -> str:
    """The text that `cell` made into a cell."""
    return cell[1:] if _GUARDED.match(cell) else cell


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV with a line for the names of its columns; texts in `rows` pass `cell`."""
    lines = []
    for row in (columns, *([cell(v) if isinstance(v, str) else v for v in row] for row in rows)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(row)  # which quotes lone carriage returns too
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def new_folder(root: Path | str) -> Iterator[Path]:
    """Give an empty folder beside `root`; rename it to `root` when the block ends well, else remove it.

    Parameters
    ----------
    root : Path or str
        The folder to be. It may exist if it is empty.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    ValueError
        `root` is a file, or a folder that is not empty.
    """
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ValueError(f"{str(root)!r}: exists and is not an empty folder: name a new one or remove it first")
    root.parent.mkdir(parents=True, exist_ok=True)
    beside = root.with_name(f".{root.name}.{os.getpid()}.part")
    beside.mkdir()
    try:
        yield beside
        if root.exists():
            root.rmdir()  # rename over an empty folder is refused on some systems
        beside.rename(root)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def lock_folder(folder: Path) -> IO[str]:
    """Hold a folder for this process: until the file returned is closed, or the process ends, however it ends.

    Raises
    ------
    ValueError
        Another process holds it (process and host are named).
    """
    file = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 - open as long as the folder is held
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise ValueError(f"output={folder}: in use by {holder}; wait for it, or choose another folder") from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _umask() -> int:
    """The process's umask; `mkstemp` ignores it, other files of a run obey it."""
    value = os.umask(0)
    os.umask(value)
    return value
