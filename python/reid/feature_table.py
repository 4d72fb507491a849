"""Features with the samples that they belong to, in one file: what extraction writes and everything after it reads.

An .npz file holds

    features  (N, D) float32          path      (F,) str, all frames, relative to `root`
    first     (N + 1,) int64          rows first[i]:first[i + 1] of `path` are the frames of sample i
    split     (N,) str                train, query or gallery
    pid, camid, tracklet, clock       (N,) int64, -1 unknown
    start, end                        (N,) float64 seconds, NaN unknown
    root      () str                  folder of the pictures when the file was written
    facts     () str                  JSON: what made the features

A .parquet file holds the same: a row a sample, `features` as fixed-size lists, `path` as text (where every row is one
picture) or as lists, `root` and `facts` as JSON in the file's metadata under the key `reid`.

Files of others are read too: `features` (or `feat`) alone is enough; `pid`, `camid` (or `cam`), `split`, `path` (or
`name`) are taken where they are there.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.data.records import Dataset, Samples, printable
from reid.feature_parquet import read_parquet, write_parquet
from reid.files import atomic_path

__all__ = ["SPLITS", "FeatureTable", "TableHead", "read_facts", "read_features", "write_blocks", "write_features"]

SPLITS = ("train", "query", "gallery")
_COLUMNS = ("pid", "camid", "tracklet", "clock", "start", "end")


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """N features and their samples.

    Parameters
    ----------
    features : (N, D) float32
        Finite.
    samples : Samples
        N rows; paths lie in `root`.
    split : (N,) str
        train, query or gallery.
    root : Path
        Folder of the pictures.
    facts : mapping
        What made the features: plain JSON values.

    Raises
    ------
    ValueError
        Shapes that do not fit, features that are not finite, an unknown split.
    """

    features: NDArray[np.float32]
    samples: Samples
    split: NDArray[np.str_]
    root: Path
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.samples)
        if self.features.ndim != 2 or len(self.features) != n or self.split.shape != (n,):
            raise ValueError(f"features {self.features.shape}, split {self.split.shape}: must be (N, D), (N,) for {n}")
        bad = np.flatnonzero(~np.isfinite(self.features).all(axis=1))
        if len(bad):
            raise ValueError(f"features[{bad[0]}] is not finite: extract them again")
        unknown = sorted(set(self.split.tolist()) - set(SPLITS))
        if unknown:
            raise ValueError(f"split {unknown[0]!r}: must be {', '.join(SPLITS)}")

    @classmethod
    def of(cls, data: Dataset, features: Mapping[str, NDArray[np.float32]], facts: Mapping[str, Any]) -> FeatureTable:
        """Make a table of a data set's splits, given the features of each (a split without features is left out)."""
        parts = {split: getattr(data, split) for split in SPLITS if split in features}
        split = np.repeat(list(parts), [len(samples) for samples in parts.values()])
        return cls(
            np.concatenate([features[name] for name in parts]), _joined(list(parts.values())), split, data.root, facts
        )

    def part(self, split: str) -> tuple[NDArray[np.float32], Samples]:
        """Features and samples of one split; may be empty."""
        rows = np.flatnonzero(self.split == split)
        return self.features[rows], self.samples.take(rows)

    def names(self) -> list[str]:
        """First frame of each row, relative to `root`."""
        return [os.path.relpath(frames[0], self.root) for frames in self.samples.frames]


@dataclass(frozen=True, eq=False)
class TableHead:
    """All of a `FeatureTable` but its features."""

    samples: Samples
    split: NDArray[np.str_]
    root: Path
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, parts: Mapping[str, Samples], root: Path, facts: Mapping[str, Any]) -> TableHead:
        """Put the samples of splits behind each other."""
        split = np.repeat(list(parts), [len(samples) for samples in parts.values()])
        return cls(_joined(list(parts.values())), split, root, facts)


def write_features(path: Path | str, table: FeatureTable) -> None:
    """Write a table, in one piece: as Parquet where the name ends so, else as .npz."""
    head = TableHead(table.samples, table.split, table.root, table.facts)
    write_blocks(path, head, [table.features], table.features.shape[1])


def write_blocks(path: Path | str, head: TableHead, blocks: Iterable[NDArray[np.float32]], size: int) -> None:
    """Write a table whose features come block by block, so that they need not fit in memory.

    Parameters
    ----------
    path : path
        An .npz or .parquet file; it appears when all is written. The same arguments give the same bytes.
    head : TableHead
        N samples.
    blocks : iterable of (n, D) float32
        The features of the first n samples, of the next ...; finite.
    size : int
        D.

    Raises
    ------
    ValueError
        The blocks have not N rows of D.
    ImportError
        Parquet without pyarrow.
    """
    path = Path(path)
    s = head.samples
    frames = [[os.path.relpath(frame, head.root) for frame in row] for row in s.frames]
    columns: dict[str, Any] = {name: getattr(s, name) for name in _COLUMNS} | {"split": head.split}
    root, facts = os.path.abspath(head.root), json.dumps(head.facts)
    checked = _checked(blocks, len(s), size)
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".parquet":
            write_parquet(temporary, frames, columns, json.dumps({"root": root, "facts": facts}), checked, size)
            return
        columns["path"] = np.array(list(chain.from_iterable(frames)), dtype=np.str_)
        columns["first"] = np.concatenate([[0], np.cumsum(s.n_frames)]).astype(np.int64)
        columns["root"], columns["facts"] = np.array(root), np.array(facts)
        with zipfile.ZipFile(temporary, "w", allowZip64=True) as file:
            # Members are dated 1980 (ZipInfo's default), so equal tables are equal files.
            with file.open(zipfile.ZipInfo("features.npy"), "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": (len(s), size)}
                np.lib.format.write_array_header_1_0(member, header)
                for block in checked:
                    member.write(np.ascontiguousarray(block, dtype="<f4").tobytes())
            for name, column in columns.items():
                with file.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(column), allow_pickle=False)


def _checked(blocks: Iterable[NDArray[np.float32]], n: int, size: int) -> Iterable[NDArray[np.float32]]:
    rows = 0
    for block in blocks:
        rows += len(block)
        if block.ndim != 2 or block.shape[1] != size or rows > n:
            raise ValueError(f"a block of features {block.shape}: must be (n, {size}), {n} rows in all")
        yield block
    if rows != n:
        raise ValueError(f"{rows} rows of features for {n} samples")


def read_features(path: Path | str, root: Path | None = None) -> FeatureTable:
    """Read a table that `write_features` wrote, or features of others.

    Parameters
    ----------
    path : path
        An .npz or .parquet file.
    root : path, optional
        Folder of the pictures, where it has moved.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        No .npz or .parquet file, no features in it, columns of other lengths; the file is named.
    """
    path = Path(path)
    where = printable(path)
    arrays = _arrays(path)
    for name, other in (("features", "feat"), ("camid", "cam"), ("path", "name")):
        if name not in arrays and other in arrays:
            arrays[name] = arrays[other]
    if "features" not in arrays or arrays["features"].ndim != 2 or arrays["features"].dtype.kind != "f":
        raise ValueError(f"{where}: holds no array features (N, D) of floats")
    n = len(arrays["features"])
    names = arrays["path"].tolist() if "path" in arrays else [f"row{i}" for i in range(n)]
    first = arrays["first"].tolist() if "first" in arrays else range(n + 1)
    place = root or Path(str(arrays["root"]) if "root" in arrays else path.parent)
    frames = [tuple(os.path.join(place, name) for name in names[a:b]) for a, b in pairwise(first)]
    columns = {name: arrays.get(name, np.full(n, np.nan if name in ("start", "end") else -1)) for name in _COLUMNS}
    try:
        samples = Samples(frames=tuple(frames), **columns)
        split = arrays.get("split", np.full(n, "train")).astype(np.str_)
        facts = json.loads(str(arrays["facts"])) if "facts" in arrays else {}
        features = np.ascontiguousarray(arrays["features"], dtype=np.float32)
        return FeatureTable(features, samples, split, place, facts)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None


def read_facts(path: Path | str) -> dict[str, Any]:
    """What made the features of a file, without reading them; {} where it does not say. Raises as `read_features`."""
    facts = json.loads(str(_arrays(Path(path), only=("facts",)).get("facts", "{}")))
    return facts if isinstance(facts, dict) else {}


def _arrays(path: Path, only: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The arrays of a file by name, or some of them."""
    where = printable(path)
    try:
        if path.suffix.lower() == ".parquet":
            return read_parquet(path, only)
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if only is None or name in only}
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: no such file: check the path") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        kind = "a .parquet" if path.suffix.lower() == ".parquet" else "an .npz"
        raise ValueError(f"{where}: not {kind} file of features ({error})") from None


def _joined(parts: list[Samples]) -> Samples:
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return Samples(frames=tuple(row for part in parts for row in part.frames), **columns)
