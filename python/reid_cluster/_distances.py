"""Square distances as users pass them: a dense array or a sparse graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _inputs

#: indptr, indices, data
Csr = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]

_INT32_MAX = np.iinfo(np.int32).max


def distances(x: Any) -> NDArray[np.float32] | Csr:
    """Convert `x` to what the kernels take: a square float32 array, or (indptr, indices, data) of a graph.

    Arrays that have the right type are not copied. Values are checked by the kernels.
    """
    if not hasattr(x, "tocsr"):
        dense = _inputs.features(x, "distances")
        if dense.shape[0] != dense.shape[1]:
            raise ValueError(f"distances has shape {dense.shape}: must be square")
        return dense
    if getattr(x, "format", None) != "csr":
        raise TypeError(f"distances is a sparse {type(x).__name__}: give distances.tocsr()")
    if len(x.shape) != 2 or x.shape[0] != x.shape[1]:
        raise ValueError(f"distances has shape {x.shape}: must be square")
    if x.shape[0] == 0:
        raise ValueError("distances has 0 samples (shape (0, 0)): at least one row is needed")
    indptr, indices, data = np.asarray(x.indptr), np.asarray(x.indices), np.asarray(x.data)
    for name, array, kinds in [("indptr", indptr, "iu"), ("indices", indices, "iu"), ("data", data, "fiu")]:
        if array.dtype.kind not in kinds or array.ndim != 1:
            raise TypeError(
                f"distances.{name} has dtype {array.dtype} and shape {array.shape}: must be 1-D "
                + ("integers" if kinds == "iu" else "real numbers")
            )
    if len(indptr) != x.shape[0] + 1:
        raise ValueError(
            f"distances.indptr has {len(indptr)} entries for {x.shape[0]} rows: must have {x.shape[0] + 1}"
        )
    if indices.dtype != np.int32:  # what passes int32 stays out of range, and the kernel names its row
        low = 0 if indices.dtype.kind == "u" else -1
        indices = np.clip(indices, low, _INT32_MAX).astype(np.int32)
    with np.errstate(over="ignore"):
        return (
            np.require(indptr, np.int64, ["C", "A"]),
            np.require(indices, np.int32, ["C", "A"]),
            np.require(data, np.float32, ["C", "A"]),
        )


def check_cut(x: Any, reach: float, name: str) -> None:
    """Refuse a distance `reach` beyond the ``max_distance`` that a graph carries."""
    cut = getattr(x, "max_distance", None)
    if cut is None:
        return
    cut = _inputs.real("distances.max_distance", cut, low=0.0)
    if np.float32(reach) > np.float32(cut):
        raise ValueError(f"{name}={reach}: the graph holds distances up to max_distance={cut}; build it with more")
    if np.float32(reach) >= 1 and cut >= 1:
        raise ValueError(f"{name}={reach}: every pair is a neighbour at a Jaccard distance of 1; give less")
