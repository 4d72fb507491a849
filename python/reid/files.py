"""How this package writes files: beside, then renamed; a reader sees the old file or the new one, never half."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["TEMPORARY", "atomic_path", "write_text"]

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


def _umask() -> int:
    """The process's umask; `mkstemp` ignores it, other files of a run obey it."""
    value = os.umask(0)
    os.umask(value)
    return value
