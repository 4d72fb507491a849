"""Which files a data set has, and what two of them that look the same are to each other."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.data.records import Dataset

__all__ = ["IDENTITIES", "LEAK", "RANKED", "SPLITS", "TRACKLET", "TWINS", "Files", "files_of", "relation"]

Ints = NDArray[np.int64]

SPLITS = ("train", "query", "gallery")
_TRAIN, _QUERY, _GALLERY = 1, 2, 4


class Files(NamedTuple):
    """The P different files of a data set, those of the training set first, then of query and gallery."""

    paths: tuple[str, ...]
    splits: Ints
    """(P,) sum of 1 (in train), 2 (in query), 4 (in gallery)."""
    pid: Ints
    camid: Ints
    tracklet: Ints
    """(P,) number of the tracklet in this table; every file that belongs to none has one of its own."""

    def describe(self, i: int) -> str:
        """Where file i stands: 'train, identity 3, camera 1'."""
        words = [" and ".join(name for k, name in enumerate(SPLITS) if self.splits[i] & 1 << k)]
        for name, value in (("identity", self.pid[i]), ("camera", self.camid[i])):
            words += [f"{name} {value}"] if value >= 0 else []
        return ", ".join(words)


def files_of(data: Dataset) -> Files:
    """List the files of a data set; one that stands in several rows has the ids of the first."""
    position: dict[str, int] = {}
    rows: list[tuple[int, int, int]] = []
    splits: list[int] = []
    tracklets: dict[tuple[bool, int], int] = {}
    number = 0
    for k, split in enumerate(SPLITS):
        samples = getattr(data, split)
        if samples is None:
            continue
        columns = (column.tolist() for column in (samples.pid, samples.camid, samples.tracklet))
        for frames, pid, camid, tracklet in zip(samples.frames, *columns, strict=True):
            number += 1
            own = number if tracklet < 0 else tracklets.setdefault((k == 0, tracklet), number)
            for path in frames:
                i = position.setdefault(os.path.normpath(path), len(rows))
                if i == len(rows):
                    rows.append((pid, camid, own))
                    splits.append(0)
                splits[i] |= 1 << k
    pid, camid, tracklet = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Files(tuple(position), np.array(splits), pid, camid, tracklet)


LEAK, IDENTITIES, RANKED, TWINS, TRACKLET = range(5)
"""What two pictures are to each other, the gravest first; see `relation`."""


def relation(files: Files, i: Ints, j: Ints) -> Ints:
    """What files i (M,) and j (M,), which look the same, are to each other.

    Returns
    -------
    (M,) int
        LEAK: one in the training set, the other in query or gallery. IDENTITIES: both in one of these, with two
        different identities. RANKED: one in the query set and the other in the gallery, and retrieval will rank it:
        the query has an identity, and they are not known to be of one camera. TRACKLET: frames of one tracklet.
        TWINS: none of this.
    """
    a, b = files.splits[i], files.splits[j]
    test = _QUERY | _GALLERY
    leak = ((a & _TRAIN > 0) & (b & test > 0)) | ((b & _TRAIN > 0) & (a & test > 0))
    p, q = files.pid[i], files.pid[j]
    identities = (p >= 0) & (q >= 0) & (p != q)
    sides = ((a & _QUERY > 0) & (b & _GALLERY > 0)) | ((b & _QUERY > 0) & (a & _GALLERY > 0))
    ranked = sides & (p >= 0) & (p == q) & ((files.camid[i] != files.camid[j]) | (files.camid[i] < 0))
    same = files.tracklet[i] == files.tracklet[j]
    return np.select([leak, identities, ranked, same], [LEAK, IDENTITIES, RANKED, TRACKLET], TWINS)
