"""Tables of features as Parquet files, written a row group at a time; see `reid.feature_table` for what they hold.

pyarrow is needed only here (extra `parquet`) and loaded when it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["need_pyarrow", "read_parquet", "write_parquet"]

KEY = b"reid"
"""Key of the file's metadata under which root and facts stand."""


def need_pyarrow() -> None:
    """Raise ImportError with the remedy where pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401 - tried here so that nothing is computed in vain
    except ImportError:
        raise ImportError(
            "Parquet needs the package pyarrow: pip install 'reid-cluster[parquet]', or use .npz"
        ) from None


def write_parquet(
    path: Path,
    frames: Sequence[Sequence[str]],
    columns: Mapping[str, NDArray[Any]],
    metadata: str,
    blocks: Iterable[NDArray[np.float32]],
    size: int,
) -> None:
    """Write N rows, a row group a block: path, the columns, and the features as lists of fixed size."""
    need_pyarrow()
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    try:
        "".join(chain.from_iterable(frames)).encode()
    except UnicodeEncodeError:  # names that are no text, as systems other than this one may write them
        text = pa.binary()
    single = all(len(row) == 1 for row in frames)
    fields = [pa.field("path", text if single else pa.list_(text)), pa.field("split", pa.string())]
    numbers = [name for name in columns if name != "split"]
    fields += [pa.field(name, pa.from_numpy_dtype(columns[name].dtype)) for name in numbers]
    fields.append(pa.field("features", pa.list_(pa.float32(), size)))
    schema = pa.schema(fields, metadata={KEY: metadata.encode()})

    def names(row: Sequence[str]) -> Any:
        encoded = [os.fsencode(name) for name in row] if text == pa.binary() else list(row)
        return encoded[0] if single else encoded

    with parquet.ParquetWriter(path, schema) as writer:
        first = 0
        for block in blocks:
            part = slice(first, first + len(block))
            first = part.stop
            arrays = [pa.array([names(row) for row in frames[part]], fields[0].type)]
            arrays.append(pa.array(columns["split"][part].tolist(), pa.string()))
            arrays += [pa.array(columns[name][part]) for name in numbers]
            values = pa.array(np.ascontiguousarray(block, dtype=np.float32).ravel())
            arrays.append(pa.FixedSizeListArray.from_arrays(values, size))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=max(1, len(block)))


def read_parquet(path: Path, only: Sequence[str] | None = None) -> dict[str, Any]:
    """The arrays that an .npz file would hold, or some of them."""
    with open(path, "rb"):  # a missing file is reported before a missing package
        need_pyarrow()
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    schema = file.schema_arrow
    arrays: dict[str, Any] = {}
    stored = json.loads((schema.metadata or {}).get(KEY, b"{}"))
    arrays |= {name: np.array(stored[name]) for name in ("root", "facts") if name in stored}
    wanted = [name for name in schema.names if only is None or name in only]
    table = file.read(columns=wanted) if wanted else None
    for name in wanted:
        assert table is not None
        column, kind = table.column(name), schema.field(name).type
        if pa.types.is_fixed_size_list(kind):
            flat = pa.concat_arrays([chunk.flatten() for chunk in column.chunks]) if column.num_chunks else []
            arrays[name] = np.asarray(flat, dtype=np.float32).reshape(len(column), kind.list_size)
        elif name in ("path", "name"):
            rows = column.to_pylist()
            if pa.types.is_list(kind):
                arrays["first"] = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
                rows = list(chain.from_iterable(rows))
            arrays[name] = np.array([os.fsdecode(row) for row in rows], dtype=np.str_)
        else:
            found = column.to_numpy()
            arrays[name] = found if found.dtype != object else np.array(found.tolist(), dtype=np.str_)
    return arrays
