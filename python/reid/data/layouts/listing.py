"""What the readers share: pictures of a folder or a list, names matched to a pattern, what is missing said by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from reid.data.records import Float, Int, Samples, printable, shortlist

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
"""Endings, in any case, by which a file counts as a picture."""


class Fields(NamedTuple):
    """What names say of N pictures."""

    pid: Int
    """(N,) identity; -1 junk."""
    camid: Int
    """(N,) camera."""
    start: Float
    """(N,) seconds on the clock, NaN unknown."""
    clock: Int
    """(N,) which clock, -1 unknown."""

    def samples(self, paths: Sequence[str]) -> Samples:
        """One row a picture, at `paths`."""
        return Samples.from_paths(paths, pid=self.pid, camid=self.camid, start=self.start, clock=self.clock)


def pictures(folder: Path, *, recursive: bool) -> tuple[list[str], list[str]]:
    """Return the pictures below `folder`, sorted by the bytes of their names, and the other files.

    Raises
    ------
    ValueError
        A picture that is no regular file, a link that leads out of the folder.
    """
    root = os.path.realpath(folder)
    found: list[tuple[bytes, str]] = []
    others: list[str] = []
    seen = {root}
    waiting = [""]
    while waiting:
        inside = waiting.pop(0)
        with os.scandir(os.path.join(folder, inside)) as entries:
            listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        for entry in listed:
            name = os.path.join(inside, entry.name)
            if entry.name.startswith(".") or entry.name in ("__MACOSX", "Thumbs.db"):
                continue
            picture = entry.name.lower().endswith(SUFFIXES)
            # A link to itself makes is_dir and is_file of an entry raise; os.path says no.
            link = entry.is_symlink()
            if os.path.isdir(entry.path) if link else entry.is_dir():
                real = os.path.realpath(entry.path)
                if recursive and real not in seen:
                    check_inside(entry.path, real, root)
                    seen.add(real)
                    waiting.append(name)
            elif not picture:
                others.append(name)
            elif not (os.path.isfile(entry.path) if link else entry.is_file()):
                raise ValueError(f"{printable(entry.path)}: neither a file nor a link to one: remove it")
            else:
                if link:
                    check_inside(entry.path, os.path.realpath(entry.path), root)
                found.append((os.fsencode(name), entry.path))
    return [path for _, path in sorted(found)], sorted(others, key=os.fsencode)


def check_inside(path: str, real: str, root: str) -> None:
    """Refuse a link at `path` whose target `real` lies outside `root`."""
    if os.path.commonpath([real, root]) != root:
        raise ValueError(f"{printable(path)} is a link that leads out of {printable(root)}: copy what it points to")


def folder_pictures(folder: Path, title: str) -> list[str]:
    """Return the pictures right in `folder`, at least one.

    Raises
    ------
    FileNotFoundError
        There is no such folder; the layout `title` needs it.
    ValueError
        It holds no picture, or what `pictures` says.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{printable(folder)} is missing: the {title} layout needs it")
    paths, others = pictures(folder, recursive=False)
    if not paths:
        raise ValueError(f"{printable(folder)}: no pictures ({', '.join(SUFFIXES)}), {named(others)}")
    return paths


def listed_pictures(folder: Path, names: Sequence[str], source: Path) -> list[str]:
    """Return the paths of the pictures `names` in `folder`, in that order, after a look at every one.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        Relative to `folder`, with / between their parts.
    source : Path
        The list they come from, for messages.

    Raises
    ------
    ValueError
        A name that leaves the folder, itself or by a link.
    FileNotFoundError
        Pictures that are not there: the first five and the count.
    """
    root = os.path.realpath(folder)
    there: dict[str, set[str]] = {}
    absent = []
    for name in names:
        parent, _, base = name.rpartition("/")
        if parent not in there:
            if os.path.isabs(name) or ".." in parent.split("/"):
                raise ValueError(
                    f"{printable(source)}: {printable(name)!r} leads out of {printable(folder)}: remove it"
                )
            there[parent] = _files(os.path.join(folder, parent), root)
        if base not in there[parent]:
            absent.append(name)
    if absent:
        raise FileNotFoundError(
            f"{printable(source)}: {len(absent)} of {len(names)} pictures are not in {printable(folder)}: "
            f"{shortlist(absent)}: copy them there, or take them off the list"
        )
    return [os.path.join(folder, name) for name in names]


def _files(folder: str, root: str) -> set[str]:
    """Names of the regular files in a folder that lies below `root`; none when there is no such folder."""
    try:
        check_inside(folder, os.path.realpath(folder), root)
        with os.scandir(folder) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    for entry in found:
        if entry.is_symlink():
            check_inside(entry.path, os.path.realpath(entry.path), root)
    return {entry.name for entry in found if (os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file())}


def match_names(pattern: re.Pattern[str], names: Iterable[str], example: str) -> list[re.Match[str]]:
    """Match the last part of every name to `pattern`.

    Raises
    ------
    ValueError
        Names that do not match: the first five, the count, and `example`, with what its parts mean.
    """
    bases = [os.path.basename(name) for name in names]
    found = [pattern.fullmatch(base) for base in bases]
    wrong = [base for base, match in zip(bases, found, strict=True) if match is None]
    if wrong:
        raise ValueError(f"{len(wrong)} names are not like {example}: {shortlist(wrong)}: rename them, or give a table")
    return [match for match in found if match is not None]


def read_lines(file: Path, title: str) -> list[str]:
    """Return the lines of a list file that are not blank, stripped.

    Raises
    ------
    FileNotFoundError
        It is missing; the layout `title` needs it.
    ValueError
        It is not UTF-8, or empty.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{printable(file)} is missing: the {title} layout needs it; it lies in the same archive as the pictures"
        ) from None
    except UnicodeDecodeError:
        raise ValueError(f"{printable(file)}: not UTF-8: copy the list from the archive again") from None
    return [line.strip() for line in text.split("\n") if line.strip()]


def first_picture(folder: Path, depth: int = 3) -> str:
    """Return the name of one picture at most `depth` folders below, found by looking into first folders only.

    It is empty when there is none.
    """
    for _ in range(depth + 1):
        try:
            with os.scandir(folder) as entries:
                listed = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: os.fsencode(e.name))
        except OSError:
            return ""
        names = [e.name for e in listed if e.name.lower().endswith(SUFFIXES)]
        if names:
            return names[0]
        folders = [e.path for e in listed if os.path.isdir(e.path)]
        if not folders:
            return ""
        folder = Path(folders[0])
    return ""


def named(others: list[str]) -> str:
    """Return how many other files there are, and the first names."""
    return f"{len(others)} other files" + (f" ({shortlist(others)})" if others else "")


def counts(title: str, train: Samples, query: Samples | None, gallery: Samples | None) -> list[str]:
    """Return the first notes of a data set: what was read and how much of it."""
    notes = [f"{title}, train: {train.describe()}."]
    if query is not None and gallery is not None:
        notes.append(f"Query: {query.describe()}. Gallery: {gallery.describe()}.")
    return notes
