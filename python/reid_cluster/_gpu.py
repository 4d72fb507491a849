"""Neighbours of tensors on a GPU: candidates from there, distances from here, the bits of the CPU's search.

A GPU adds up a product in an order of its own, so its distances are near ours, not ours. It names for each query the
few rows that look nearest; the kernel ``knn_among`` measures those as ``knn`` does and keeps the k nearest. A bound on
all rounding errors, valid for any order of summation, tells whether a row left out could belong among them. Where it
could (ties, copies, a large common offset), the query is searched again with four times the candidates, at last on the
CPU.

The bound. Let u = 2^-24 and g = (D + 10) u / (1 - (D + 10) u). A float32 sum of D products is off by at most g times
the sum of the products' sizes, whatever the order (Higham, *Accuracy and Stability of Numerical Algorithms*, section
3.1), and 2 |x| |y| <= |x|^2 + |y|^2. So for a number b(y) from 0 to |y|^2 and the score s that the GPU computes for
b(y) - 2 x.y::

    s - g (b(y) + |x|^2 + |y|^2) <= b(y) - 2 x.y
    |x - y|^2 - 2g (|x|^2 + |y|^2) <= our distance of x and y

Together, our distance is at least s + (1 - 3g) (|x|^2 + |y|^2) - (1 + g) b(y). With b(y) = (1 - 4g) |y|^2 the row y
drops out: our distance to every row left out is at least the largest score kept plus (1 - 3g) |x|^2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_cluster import _core, _inputs

Found = tuple[NDArray[np.int32], NDArray[np.float32]]

#: Half the distance from 1 to the next float32.
U = 2.0**-24
#: Smaller numbers may vanish, of which the bound, a share of what is added, says nothing.
TINY = 2.0**-126
#: Candidates beyond k, at least: each costs time, fewer prove less. So many proved every row of real features.
SPARE = 8
#: Above one row in so many, measuring candidates costs as much as the CPU's search of all rows.
SHARE = 64
#: Candidates measured in one call: 256 MB on the host.
PORTION = 1 << 26
#: Scores of a block (1 GB), and its multiply-adds (10 to 100 ms: Ctrl-C is heard between blocks).
SCORES, WORK = 1 << 28, 1 << 38


def knn(
    features: Any,
    queries: Any,
    k: int,
    x: NDArray[np.float32],
    q: NDArray[np.float32] | None,
    *,
    n_jobs: int,
    progress: _inputs.Progress | None,
    device: torch.device | None = None,
) -> Found:
    """Return what ``_core.knn(x, k, queries=q)`` returns, searched on a GPU.

    Parameters
    ----------
    features, queries : tensor or array-like
        What the user gave; one at least is a CUDA tensor. Its device and the current stream there do the work.
    k : int
        Neighbours per query.
    x, q : numpy.ndarray
        The same rows on the host, float32 in C order.
    n_jobs, progress
        As the kernels take them.
    device : torch.device, optional
        Where to search instead, for tests without a GPU.
    """
    options: dict[str, Any] = {"n_jobs": n_jobs, "progress": progress}
    (n, d), rows = x.shape, x if q is None else q
    gamma = (d + 10) * U / (1 - (d + 10) * U)
    width = k + max(SPARE, k // 4)
    if width > n // SHARE or rows.shape[1] != d or not 0 < gamma < 0.01:
        return _core.knn(x, k, queries=q, **options)  # which refuses what is wrong
    device = device or next(given.device for given in (features, queries) if _inputs.on_gpu(given))
    with _exact_products(device):
        gallery = _on_device(features, x, device, "features")
        seekers = gallery if q is None else _on_device(queries, q, device, "queries")
        norms, own_norms = _squared_norms(gallery), _squared_norms(seekers)
        if not max(norms.max(), own_norms.max()) < np.finfo(np.float32).max / 4:  # of NaN, too
            return _core.knn(x, k, queries=q, **options)
        bias = torch.tensor((1 - 4 * gamma) * (1 - 2 * U) * norms, dtype=torch.float32, device=device)
        floors = (1 - 3 * gamma) * own_norms - 16 * (d + 8) * TINY
        indices = np.empty((len(rows), k), np.int32)
        distances = np.empty((len(rows), k), np.float32)
        proven = np.zeros(len(rows), bool)
        left = np.arange(len(rows))
        while len(left) and width <= n // SHARE:
            step = max(1, PORTION // width)
            for part in (left[at : at + step] for at in range(0, len(left), step)):
                candidates, scores = _candidates(seekers, part, gallery, bias, width, progress)
                everyone = q is None and len(part) == n
                among = None if everyone else rows[part]
                found = _core.knn_among(x, candidates.reshape(-1), width, k, queries=among, **options)
                indices[part], distances[part] = found if q is not None or everyone else _own_first(found, part)
                proven[part] = scores + floors[part] > distances[part, -1]
            left = left[~proven[left]]
            width *= 4
    if len(left) > len(rows) // 2:
        return _core.knn(x, k, queries=q, **options)
    if len(left):
        found = _core.knn(x, k, queries=rows[left], **options)
        indices[left], distances[left] = found if q is not None else _own_first(found, left)
    return indices, distances


def _candidates(
    seekers: Tensor,
    part: NDArray[np.int64],
    gallery: Tensor,
    bias: Tensor,
    width: int,
    progress: _inputs.Progress | None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """For the rows `part` of `seekers`, the `width` rows of the smallest scores, and the largest of those scores."""
    candidates = np.empty((len(part), width), np.int32)
    largest = np.empty(len(part))
    step = _block_rows(gallery)
    start = 0
    while start < len(part):
        if progress is not None:
            progress(start, len(part), "candidates")
        block = slice(start, start + step)
        try:
            candidates[block], largest[block] = _smallest(seekers, part[block], gallery, bias, width)
        except torch.cuda.OutOfMemoryError as error:
            if step == 1:
                raise MemoryError(
                    f"no GPU memory for the distances of one row to {len(gallery)} ({error}): "
                    "free some on the device, or give features.cpu()"
                ) from error
            step = min(step, len(part)) // 2 or 1
        else:
            start += step
    if progress is not None:
        progress(len(part), len(part), "candidates")
    return candidates, largest


def _smallest(
    seekers: Tensor, rows: NDArray[np.int64], gallery: Tensor, bias: Tensor, width: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """`_candidates` of one block."""
    queries = seekers[torch.from_numpy(rows).to(seekers.device)]
    scores = torch.addmm(bias, queries, gallery.T, alpha=-2)
    kept = scores.topk(width, dim=1, largest=False, sorted=False)
    return kept.indices.to(torch.int32).cpu().numpy(), kept.values.amax(dim=1).cpu().numpy()


def _block_rows(gallery: Tensor) -> int:
    """Queries of a block."""
    n, d = gallery.shape
    scores = min(SCORES, WORK // d)
    if gallery.is_cuda:
        cached = torch.cuda.memory_reserved(gallery.device) - torch.cuda.memory_allocated(gallery.device)
        free = torch.cuda.mem_get_info(gallery.device)[0] + cached
        scores = min(scores, free // 32)  # 4 bytes each, as much again in `topk`, and half of it for others
    return max(1, scores // n)


def _own_first(found: Found, rows: NDArray[np.int64]) -> Found:
    """Put each of `rows`, which were searched like strangers, first in its list; without a place it takes the last."""
    indices, distances = found
    own = indices == rows[:, None]
    place = np.where(own.any(axis=1), own.argmax(axis=1), indices.shape[1] - 1)[:, None]
    column = np.arange(indices.shape[1])
    source = np.where(column <= place, np.maximum(column - 1, 0), column)
    indices, distances = np.take_along_axis(indices, source, 1), np.take_along_axis(distances, source, 1)
    indices[:, 0], distances[:, 0] = rows, 0
    return indices, distances


def _on_device(given: Any, host: NDArray[np.float32], device: torch.device, name: str) -> Tensor:
    """The rows as float32 in C order on `device`; not copied where they are so already."""
    tensor = given.detach() if isinstance(given, Tensor) else torch.tensor(host)
    try:
        return tensor.to(device, torch.float32).contiguous()
    except torch.cuda.OutOfMemoryError as error:
        raise MemoryError(
            f"{name} of shape {host.shape} needs {host.nbytes / 1e9:.1f} GB more on {device} as float32: "
            f"free some there, or give {name}.cpu()"
        ) from error


def _squared_norms(x: Tensor) -> NDArray[np.float64]:
    norms = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64).square()
    return np.asarray(norms.cpu().numpy())


@contextmanager
def _exact_products(device: torch.device) -> Iterator[None]:
    """Products in full float32 on `device`, without gradients, whatever the caller has set."""
    matmul = torch.backends.cuda.matmul
    # The newer of two names for one switch; torch refuses reading the older after the newer was set.
    switch, exact = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, switch)
    setattr(matmul, switch, exact)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.autocast(device.type, enabled=False))
            if device.type == "cuda":
                stack.enter_context(torch.cuda.device(device))
            yield
    finally:
        setattr(matmul, switch, before)
