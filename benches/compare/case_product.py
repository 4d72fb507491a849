"""The products of all pairs of rows, upper triangle only: the *floor*, the time without which no full search goes.

Peer: numpy's BLAS on the same blocks. Nothing is kept, so there is nothing to compare.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from contest import Data, Kernel, Result

BLOCK = 2048


def product_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import _core

    def run() -> Result:
        _core.product_floor(data.features, n_jobs=data.threads)
        return {}

    return run


def product_peer(data: Data) -> Callable[[], Result]:
    x = data.features
    out = np.empty((BLOCK, BLOCK), dtype=np.float32)

    def run() -> Result:
        for lo in range(0, len(x), BLOCK):
            for hi in range(lo, len(x), BLOCK):
                a, b = x[lo : lo + BLOCK], x[hi : hi + BLOCK]
                np.matmul(a, b.T, out=out[: len(a), : len(b)])
        return {}

    return run


KERNELS = {"product": Kernel(product_ours, product_peer, lambda ours, peer: "-")}
