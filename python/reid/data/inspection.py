"""A look at every picture of a data set: can it be read, what is it like, is it there twice?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reid.data.decoding import cores, opened, orientation, reason, upright_rgb
from reid.data.duplicates import exact_groups, near_pairs, signature
from reid.data.records import printable
from reid.data.twins import IDENTITIES, LEAK, RANKED, TRACKLET, TWINS, Files, relation

__all__ = ["REPAIR", "TRAITS", "Finding", "Looks", "find_problems", "look_at"]

Ints = NDArray[np.int64]
Progress = Callable[[int, int, str], None]

TRAITS = {
    "turned": "turned by EXIF",
    "cmyk": "CMYK",
    "deep": "16 bits a channel",
    "alpha": "with transparency",
    "animated": "with several frames, of which the first is taken",
}
"""What is counted besides size, and how it is called in sentences."""

REPAIR = {
    "unreadable": True,
    "leak": True,
    "two-identities": True,
    "query-in-gallery": True,
    "near-leak": False,
    "near-two-identities": False,
    "near-query-in-gallery": False,
    "duplicate": False,
    "near-duplicate": False,
    "tiny": False,
}
"""The kinds of findings, the gravest first, and whether one must be repaired before the data are used."""

_EQUAL = {LEAK: "leak", IDENTITIES: "two-identities", RANKED: "query-in-gallery", TWINS: "duplicate"}
_MEANING = {
    LEAK: "; what is trained on is tested with",
    IDENTITIES: "; one of the identities is wrong",
    RANKED: "; the query finds itself",
    TWINS: "",
}
_CHUNK = 32


@dataclass(frozen=True)
class Finding:
    """Something about one picture."""

    path: str
    """Relative to the data set's folder."""
    kind: str
    """One of `REPAIR`."""
    detail: str
    """In words."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What P files hold; columns of a file that can't be read are 0, its reason is not empty."""

    reasons: tuple[str, ...]
    """Why a file can't be read; empty for one that can."""
    sizes: Ints
    """(P, 2) height and width, upright."""
    traits: NDArray[np.bool_]
    """(P, 5) in the order of `TRAITS`."""
    digests: NDArray[np.bytes_]
    """(P,) 16 bytes of BLAKE2 over the file."""
    bits: NDArray[np.uint64]
    """(P,) perceptual hash."""
    thumbnails: NDArray[np.uint8]
    """(P, 256) grey levels."""

    @property
    def readable(self) -> Ints:
        """Positions of the files that can be read."""
        return np.flatnonzero([not why for why in self.reasons])


def look_at(paths: Sequence[str], *, workers: int = 0, progress: Progress | None = None) -> Looks:
    """Decode every file completely, in threads.

    Parameters
    ----------
    paths : sequence of P str
        Without repeats.
    workers : int, default 0
        Threads; 0 = one a core.
    progress : callable (done, total, stage), optional
        Called from this thread.

    Returns
    -------
    Looks
    """
    n = len(paths)
    reasons = [""] * n
    sizes, traits = np.zeros((n, 2), np.int64), np.zeros((n, len(TRAITS)), bool)
    digests, bits, thumbnails = np.zeros(n, "V16"), np.zeros(n, np.uint64), np.zeros((n, 256), np.uint8)

    def look(begin: int) -> None:
        for i in range(begin, min(begin + _CHUNK, n)):
            try:
                with opened(paths[i]) as picture:
                    found = _traits(picture)
                    rgb = upright_rgb(picture)
                    found[0] = orientation(picture) != 1 or found[0]
                bits[i], thumbnails[i] = signature(rgb)
                digests[i] = _digest(paths[i])
                sizes[i], traits[i] = (rgb.height, rgb.width), found
            except MemoryError:
                raise
            except Exception as error:  # Pillow raises nearly any type on a broken file
                reasons[i] = reason(error)

    with ThreadPoolExecutor(workers or cores()) as pool:
        try:
            for k, done in enumerate([pool.submit(look, begin) for begin in range(0, n, _CHUNK)], start=1):
                done.result()
                if progress is not None:
                    progress(min(k * _CHUNK, n), n, "looking at pictures")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Looks(tuple(reasons), sizes, traits, digests, bits, thumbnails)


def _traits(picture: Image.Image) -> list[bool]:
    """`TRAITS` of a picture whose pixels are not read yet: a TIFF forgets its orientation, a PNG its depth."""
    deep = picture.mode.startswith("I") or any(";16" in str(part[3]) for part in getattr(picture, "tile", ()))
    frames = getattr(picture, "n_frames", 1)
    return [
        orientation(picture) != 1, picture.mode == "CMYK", deep, picture.has_transparency_data, frames > 1
    ]  # fmt: skip


def _digest(path: str) -> np.void:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return np.void(digest.digest())


def find_problems(
    files: Files, looks: Looks, root: str | os.PathLike[str], *, tiny: int = 16, progress: Progress | None = None
) -> tuple[list[Finding], int]:
    """What is wrong with pictures, or may be.

    Parameters
    ----------
    files : Files
        P files.
    looks : Looks
        What they hold.
    root : path
        Folder that paths are given relative to.
    tiny : int, default 16
        Pictures of which a side is shorter are tiny, pixels.
    progress : callable (done, total, stage), optional

    Returns
    -------
    findings : list of Finding
        The gravest kind first, then in the order of the files. A picture that equals or resembles several others is
        listed once of each sort (equal, near), with the gravest relation.
    in_tracklets : int
        Pictures that equal or resemble an earlier one of their own tracklet. That is expected, and not listed.
    """
    found: list[tuple[str, int, str]] = [("unreadable", i, why) for i, why in enumerate(looks.reasons) if why]
    readable = looks.readable
    for i in readable[(looks.sizes[readable] < tiny).any(axis=1)].tolist():
        height, width = looks.sizes[i]
        found.append(("tiny", i, f"{height} x {width} pixels (height x width)"))

    def name(i: int) -> str:
        return os.path.relpath(files.paths[i], root)

    twice = np.flatnonzero((files.splits & 2 > 0) & (files.splits & 4 > 0))
    selves = twice[relation(files, twice, twice) == RANKED]
    found += [
        ("query-in-gallery", i, "listed in both, camera unknown; the query finds itself") for i in selves.tolist()
    ]
    both = np.flatnonzero((files.splits & 1 > 0) & (files.splits & 6 > 0))
    found += [("leak", i, f"listed in {files.describe(i).split(',')[0]}{_MEANING[LEAK]}") for i in both.tolist()]

    groups = exact_groups(looks.digests, readable)
    equal, in_tracklets = _gravest(files, (_pairs_within(group) for group in groups))
    first = np.ones(len(looks.reasons), dtype=bool)
    for group in groups:
        first[group[1:]] = False
    rest = readable[first[readable]]
    near_of = near_pairs(looks.bits[rest], looks.thumbnails[rest], progress)
    near, near_in_tracklets = _gravest(files, (rest[pairs] for pairs in near_of))
    for prefix, said, partners in (("", "same bytes as", equal), ("near-", "nearly the same as", near)):
        for j, i, kind in partners:
            detail = f"{files.describe(j)}; {said} {printable(name(i))} ({files.describe(i)}){_MEANING[kind]}"
            found.append((prefix + _EQUAL[kind], j, detail))
    weight = list(REPAIR)
    found.sort(key=lambda row: (weight.index(row[0]), row[1]))
    return [Finding(name(i), kind, detail) for kind, i, detail in found], in_tracklets + near_in_tracklets


def _pairs_within(group: Ints, most: int = 50) -> Ints:
    """Each member but the first with those before it, of which no more than the first `most` are taken."""
    pairs = [(i, j) for n, j in enumerate(group.tolist()) for i in group[: min(n, most)].tolist()]
    return np.array(pairs, dtype=np.int64)


def _gravest(files: Files, parts: Iterable[Ints]) -> tuple[list[tuple[int, int, int]], int]:
    """(j, i, relation) for each j that has a partner i < j: the gravest relation, of these the smallest i. And the
    number of j that have partners in their own tracklet only."""
    n = len(files.paths)
    best = np.full(n, (TRACKLET + 1) * n)  # relation * n + i
    for pairs in parts:
        i, j = pairs.T
        np.minimum.at(best, j, relation(files, i, j) * n + i)
    have = np.flatnonzero(best < (TRACKLET + 1) * n)
    rows = [(j, *divmod(int(best[j]), n)[::-1]) for j in have.tolist()]
    return [row for row in rows if row[2] != TRACKLET], sum(row[2] == TRACKLET for row in rows)
