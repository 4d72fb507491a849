"""What every contest shares: the features, the two sides of a comparison, and what they return."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Result = dict[str, NDArray[Any]]

K, K1, K2, EPS, MIN_SAMPLES = 30, 30, 6, 0.6, 4
CAMERAS = 6


class Missing(Exception):
    """A peer that is not installed; the text goes into the table."""


def load_faiss() -> Any:
    """The module faiss; Missing without it."""
    try:
        return import_module("faiss")
    except ImportError:
        raise Missing("faiss-cpu not installed") from None


class Data:
    """What a contestant gets: the features of one size, and who is who."""

    def __init__(self, folder: Path, rows: int, threads: int) -> None:
        self.features: Floats = np.load(folder / f"features-{rows}.npy")
        self.pids, self.camids = np.load(folder / f"ids-{rows}.npy")
        self.threads = threads
        self.graph = folder / f"graph-{rows}.npz"

    def csr(self) -> Any:
        """Our Jaccard graph as scipy's CSR."""
        from scipy.sparse import csr_array

        with np.load(self.graph) as parts:
            return csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=(len(self.pids),) * 2)

    def split(self) -> tuple[Floats, Floats, Ints, Ints]:
        """Query features, gallery features, and their row numbers."""
        _, first = np.unique(self.pids * CAMERAS + self.camids, return_index=True)
        gallery = np.setdiff1d(np.arange(len(self.pids)), first)
        return self.features[first], self.features[gallery], first, gallery


def make_features(rows: int, dims: int, seed: int = 1) -> tuple[Floats, Ints]:
    """Unit rows (N, D), 10 to 20 an identity, a shift per camera, spectrum falling like j^-1.25; and (pids, camids)."""
    random = np.random.default_rng(seed)
    scale = np.arange(1, dims + 1, dtype=np.float32) ** np.float32(-0.625)
    counts = random.integers(10, 21, size=rows // 10 + 1)
    pids = np.repeat(np.arange(len(counts)), counts)[:rows]
    camids = random.integers(CAMERAS, size=rows)
    identities = random.standard_normal((len(counts), dims), dtype=np.float32)
    cameras = random.standard_normal((CAMERAS, dims), dtype=np.float32)
    features = random.standard_normal((rows, dims), dtype=np.float32)
    features *= np.float32(0.9)
    features += identities[pids]
    features += np.float32(0.4) * cameras[camids]
    features *= scale
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, np.stack([pids, camids])


class Kernel(NamedTuple):
    """One row of the table; a contestant gets ready and returns what is timed."""

    ours: Callable[[Data], Callable[[], Result]]
    peer: Callable[[Data], Callable[[], Result]]
    compare: Callable[[Result, Result], str]
    #: The peer holds N x N values: it runs with at most --peer-rows rows.
    dense: bool = False
    #: Either side reads the Jaccard graph.
    graph: bool = False
    #: A slow peer's own limit of rows.
    peer_rows: int | None = None


def same_labels(ours: Result, peer: Result) -> str:
    """Whether all labels are equal."""
    wrong = int((ours["labels"] != peer["labels"]).sum())
    return f"no: {wrong} labels" if wrong else "yes"
