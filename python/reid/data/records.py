"""The table of samples that everything else reads, and a data set made of three such tables."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]


def printable(path: str | os.PathLike[str]) -> str:
    """Return `path` as text that can be printed: undecodable bytes and control characters are escaped.

    Parameters
    ----------
    path : str or path
        A file name, perhaps with the surrogates that `os.fsdecode` puts in place of undecodable bytes.

    Returns
    -------
    str
    """
    text = os.fspath(path)
    if text.isprintable():
        return text
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortlist(names: Sequence[str]) -> str:
    """Return the first five of `names`, printable, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(printable(name) for name in names[:5]) + more


def folder_name(folder: Path) -> str:
    """Return the last part of the absolute path of `folder`, printable."""
    return printable(os.path.basename(os.path.abspath(folder)) or folder)


@dataclass(frozen=True, eq=False)
class Samples:
    """N training, query or gallery instances: a row is an image, or a tracklet of several frames.

    Parameters
    ----------
    frames : sequence of N sequences of str
        Paths of the frames of each row, at least one a row.
    pid : int array (N,)
        Identity, -1 unknown (in a Market-1501 gallery: junk, left out by the metric).
    camid : int array (N,)
        Camera, -1 unknown.
    tracklet : int array (N,)
        Tracklet, -1 none. A number stands for one tracklet of the whole table, not of one camera.
    start, end : float array (N,)
        When the row was first and last seen, seconds, NaN unknown.
    clock : int array (N,), optional
        Which clock the times were read from, -1 unknown; empty (the default) = all unknown. Times of
        different clocks can't be compared.

    Raises
    ------
    ValueError
        Columns of different lengths (all named), a row without frames, an infinite time, an end before its
        start, an id below -1 or that is no whole number.

    Notes
    -----
    The arrays are copied and made read-only, so a method can't change what the next one reads.
    """

    frames: tuple[tuple[str, ...], ...]
    pid: Int
    camid: Int
    tracklet: Int
    start: Float
    end: Float
    clock: Int = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        n = len(self.frames)
        if any(isinstance(row, str) for row in self.frames):
            raise TypeError("frames: a row is a string: give a tuple of paths for each row, or use Samples.from_paths")
        object.__setattr__(self, "frames", tuple(tuple(row) for row in self.frames))
        if not len(self.clock):
            object.__setattr__(self, "clock", np.full(n, -1))
        for name in ("pid", "camid", "tracklet", "clock"):
            object.__setattr__(self, name, _whole_numbers(name, getattr(self, name)))
        for name in ("start", "end"):
            object.__setattr__(self, name, _times(name, getattr(self, name)))
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns differ in length: {', '.join(f'{k} {v}' for k, v in lengths.items())}")
        empty = [i for i, row in enumerate(self.frames) if not row]
        if empty:
            raise ValueError(f"frames[{empty[0]}] holds no frame: every row needs at least one path")
        late = np.flatnonzero(self.end < self.start)
        if len(late):
            i = late[0]
            raise ValueError(f"end[{i}]={self.end[i]} lies before start[{i}]={self.start[i]}: swap them or give NaN")

    @classmethod
    def from_paths(
        cls,
        paths: Iterable[str | os.PathLike[str]],
        pid: ArrayLike | None = None,
        camid: ArrayLike | None = None,
        tracklet: ArrayLike | None = None,
        start: ArrayLike | None = None,
        end: ArrayLike | None = None,
        clock: ArrayLike | None = None,
    ) -> Samples:
        """Make one row of each path; columns that are not given are unknown.

        Parameters
        ----------
        paths : iterable of N str or path
        pid, camid, tracklet, clock : int array-like (N,), optional
        start, end : float array-like (N,), optional
            `end` defaults to `start`.

        Returns
        -------
        Samples
        """
        frames = tuple((os.fspath(path),) for path in paths)
        unknown, never = np.full(len(frames), -1), np.full(len(frames), np.nan)
        begin = never if start is None else np.asarray(start)
        return cls(
            frames,
            pid=unknown if pid is None else np.asarray(pid),
            camid=unknown if camid is None else np.asarray(camid),
            tracklet=unknown if tracklet is None else np.asarray(tracklet),
            start=begin,
            end=begin if end is None else np.asarray(end),
            clock=unknown if clock is None else np.asarray(clock),
        )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def n_frames(self) -> Int:
        """Number of frames of each row, int64 (N,)."""
        return np.array([len(row) for row in self.frames], dtype=np.int64)

    def describe(self) -> str:
        """Return the counts in words: '810 pictures, 405 identities, 2 cameras'."""
        pids, cameras = (len(np.unique(ids[ids >= 0])) for ids in (self.pid, self.camid))
        pictures = int(self.n_frames.sum())
        return (
            f"{pictures} picture{'s' * (pictures != 1)}"
            + (f" in {len(self)} tracklets" if pictures > len(self) else "")
            + f", {pids or 'no'} identit{'y' if pids == 1 else 'ies'}"
            + f", {cameras or 'no'} camera{'s' * (cameras != 1)}"
        )

    def take(self, index: ArrayLike) -> Samples:
        """Return the rows at `index` (int positions, or bool (N,)), in that order."""
        rows = np.asarray(index)
        if rows.dtype == bool and rows.shape != (len(self),):
            raise ValueError(f"index has shape {rows.shape}: a mask needs one value for each of the {len(self)} rows")
        if rows.dtype != bool and rows.size == 0:
            rows = rows.astype(np.int64)
        rows = np.arange(len(self))[rows]
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "frames"}
        return Samples(frames=tuple(self.frames[i] for i in rows), **columns)

    def without_pid(self) -> Samples:
        """Return the same rows with every identity unknown: what unsupervised methods are given."""
        return replace(self, pid=np.full(len(self), -1))

    def by_tracklet(self) -> Samples:
        """Group the rows of one tracklet into one row; rows without a tracklet stay alone.

        Returns
        -------
        Samples
            Rows in the order of their first member; frames by (start, path), unknown starts last; start and
            end span the members.

        Raises
        ------
        ValueError
            One tracklet holds two cameras, two identities or two clocks.
        """
        members: dict[tuple[bool, int], list[int]] = {}
        for i, tracklet in enumerate(self.tracklet.tolist()):
            members.setdefault((True, tracklet) if tracklet >= 0 else (False, i), []).append(i)
        groups = list(members.values())
        for name in ("camid", "pid", "clock"):
            column = getattr(self, name)
            for group in groups:
                values = np.unique(column[group])
                if len(values) > 1:
                    raise ValueError(
                        f"tracklet {self.tracklet[group[0]]} holds {name} {values[0]} and {values[1]}: "
                        "give them different tracklet numbers"
                    )
        frames, start, end = [], [], []
        for group in groups:
            order = sorted(group, key=lambda i: (np.isnan(self.start[i]), np.nan_to_num(self.start[i]), self.frames[i]))
            frames.append(tuple(path for i in order for path in self.frames[i]))
            start.append(np.fmin.reduce(self.start[group]))
            end.append(np.fmax.reduce(self.end[group]))
        first = self.take([group[0] for group in groups])
        return replace(first, frames=tuple(frames), start=np.array(start), end=np.array(end))

    def split_tracklets(self, step: int) -> Samples:
        """Cut rows of n frames into max(1, n // step) pieces that follow each other; the last takes all the rest.

        Parameters
        ----------
        step : int
            Frames of all pieces but the last, which has `step` to 2 step - 1, or all n where n < step.

        Returns
        -------
        Samples
            Pieces in the order of the rows. A piece keeps identity, camera, clock and the number of its tracklet, so
            that pieces of one tracklet can be told (and linked). Its start and end are the times of its first and last
            frame; the frames of a row are taken to be evenly spaced between its start and end.

        Raises
        ------
        ValueError
            `step` below 1.

        Notes
        -----
        MTCluster cuts the training set of DukeMTMC-VideoReID so, with step 40: its tracklets are few and long.
        """
        if step < 1:
            raise ValueError(f"step={step}: must be at least 1 frame")
        n = self.n_frames
        pieces = np.maximum(n // step, 1)  # (N,)
        row = np.repeat(np.arange(len(self)), pieces)  # (M,) the row that each piece is cut from
        number = np.arange(len(row)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        begin = number * step
        end = np.where(number == pieces[row] - 1, n[row], begin + step)
        spacing = (self.end - self.start)[row] / np.maximum(n[row] - 1, 1)  # seconds between two frames
        start, stop = self.start[row], self.end[row]
        return replace(
            self.take(row),
            frames=tuple(self.frames[i][a:b] for i, a, b in zip(row, begin, end, strict=True)),
            # A row's own end is kept to the bit, and rounding passes it nowhere.
            start=np.minimum(start + begin * spacing, stop),
            end=np.where(end == n[row], stop, np.minimum(start + (end - 1) * spacing, stop)),
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training set, and a query and a gallery set when there are such.

    Parameters
    ----------
    name : str
        Name of the folder or table.
    layout : str
        How it was read: 'market1501', 'table', 'folder', ...
    root : Path
        Folder that all paths lie in.
    train : Samples
    query, gallery : Samples or None
        Both or neither.
    notes : tuple of str
        What was understood, a sentence each.
    """

    name: str
    layout: str
    root: Path
    train: Samples
    query: Samples | None
    gallery: Samples | None
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        if (self.query is None) != (self.gallery is None):
            missing = "query" if self.query is None else "gallery"
            raise ValueError(f"{missing} is missing: give query and gallery, or neither")

    def fingerprint(self) -> str:
        """Return a sha256 hash over split, relative name, file size, ids and times of every frame.

        The order of rows and the place of the folder don't matter; contents are represented by their sizes.

        Returns
        -------
        str
            64 hexadecimal digits.

        Raises
        ------
        OSError
            A file has gone.
        """
        records: list[bytes] = []
        for split, samples in (("train", self.train), ("query", self.query), ("gallery", self.gallery)):
            if samples is not None:
                records += _records(split, samples, self.root)
        # NUL can't be part of a name, so no two lists of records join to the same bytes.
        return hashlib.sha256(b"\0\0".join(sorted(records))).hexdigest()


def _records(split: str, samples: Samples, root: Path) -> list[bytes]:
    columns = (samples.pid, samples.camid, samples.tracklet, samples.clock, samples.start, samples.end)
    records = []
    for paths, *row in zip(samples.frames, *(column.tolist() for column in columns), strict=True):
        for path in paths:
            name = os.fsencode(os.path.relpath(path, root)).replace(os.sep.encode(), b"/")
            values = (split, os.stat(path).st_size, *row)
            records.append(b"\0".join([name, *(str(value).encode() for value in values)]))
    return records


def _whole_numbers(name: str, column: ArrayLike | Sequence[int]) -> Int:
    given = np.asarray(column)
    if given.ndim != 1:
        raise ValueError(f"{name} has shape {given.shape}: give one whole number a row")
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise TypeError(f"{name} has dtype {given.dtype}: give whole numbers, -1 for unknown")
    if given.size and given.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}={given.max()} does not fit int64: number the ids from 0")
    low = np.flatnonzero(given < -1)
    if len(low):
        raise ValueError(f"{name}[{low[0]}]={given[low[0]]}: must be at least -1 (unknown)")
    return _frozen(given.astype(np.int64))


def _times(name: str, column: ArrayLike) -> Float:
    values = np.array(column, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {values.shape}: give one time in seconds a row")
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise ValueError(f"{name}[{infinite[0]}] is infinite: give seconds, or NaN for unknown")
    return _frozen(values)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
