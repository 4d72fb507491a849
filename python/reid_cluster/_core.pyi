from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "bottom_up",
    "constrained_dbscan",
    "dbscan",
    "evaluate_features",
    "evaluate_rank",
    "hdc",
    "jaccard",
    "jaccard_graph",
    "kmeans",
    "kmeans_plusplus",
    "knn",
    "knn_among",
    "product_floor",
    "rerank",
    "rerank_distances",
    "time_overlap",
]

_Progress = Callable[[int, int, str], Any]

def knn(
    features: NDArray[np.float32],
    k: int,
    *,
    queries: NDArray[np.float32] | None,
    n_jobs: int,
    progress: _Progress | None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
def product_floor(features: NDArray[np.float32], *, n_jobs: int) -> None: ...
def knn_among(
    features: NDArray[np.float32],
    candidates: NDArray[np.int32],
    columns: int,
    k: int,
    *,
    queries: NDArray[np.float32] | None,
    n_jobs: int,
    progress: _Progress | None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...

#: (q_pids, g_pids, q_camids, g_camids, itself)
_Ids = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64] | None, bool]
#: cmc, ap, inp, map, minp, n_valid; ap and map by trapezoids
_Metrics = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float, int, NDArray[np.float64], float
]

def evaluate_rank(
    distances: NDArray[np.float32],
    ids: _Ids,
    *,
    max_rank: int,
    n_jobs: int,
    progress: _Progress | None,
) -> _Metrics: ...
def evaluate_features(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    ids: _Ids,
    *,
    max_rank: int,
    n_jobs: int,
    progress: _Progress | None,
) -> _Metrics: ...
def jaccard(
    features: NDArray[np.float32],
    params: tuple[int, int, bool, bool],
    *,
    neighbors: tuple[NDArray[np.int32], int] | None,
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.float32]: ...
def jaccard_graph(
    features: NDArray[np.float32],
    params: tuple[int, int, bool, bool],
    *,
    max_distance: float,
    neighbors: tuple[NDArray[np.int32], int] | None,
    n_jobs: int,
    progress: _Progress | None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]: ...
def dbscan(
    distances: NDArray[np.float32] | tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
    eps: float,
    min_samples: int,
    *,
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.int64]: ...
def bottom_up(
    features: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    *,
    n_merges: int,
    size_penalty: float,
    euclidean: bool,
    average: bool,
    live: bool,
    min_clusters: int,
    groups: NDArray[np.int64] | None,
    cannot_link: NDArray[np.int32] | None,
    n_jobs: int,
    progress: _Progress | None,
) -> tuple[NDArray[np.int64], int, NDArray[np.int32], NDArray[np.float32], float]: ...
def time_overlap(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    *,
    camera: NDArray[np.int64] | None,
    clock: NDArray[np.int64] | None,
    cross: bool,
    same: bool,
    margin: float,
    exempt: list[list[int]],
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.int32]: ...
def constrained_dbscan(
    distances: NDArray[np.float32] | tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
    eps: float,
    cannot_link: NDArray[np.int32],
    min_samples: int,
    *,
    relaxed: float | None,
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.int64]: ...
def kmeans(
    features: NDArray[np.float32],
    n_clusters: int,
    *,
    init: tuple[NDArray[np.float32] | None, list[int], bool],
    max_iter: int,
    tol: float,
    n_jobs: int,
    progress: _Progress | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32], float, int]: ...
def rerank(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    params: tuple[int, int, float],
    *,
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.float32]: ...
def rerank_distances(
    query_gallery: NDArray[np.float32],
    query_query: NDArray[np.float32],
    gallery_gallery: NDArray[np.float32],
    params: tuple[int, int, float],
    *,
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.float32]: ...
def kmeans_plusplus(
    distances: NDArray[np.float32] | tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]],
    n_clusters: int,
    *,
    first: int,
    uniforms: NDArray[np.float64],
    n_jobs: int,
    progress: _Progress | None,
) -> NDArray[np.int32]: ...
def hdc(
    features: NDArray[np.float32],
    distances: NDArray[np.float32] | tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]] | None,
    n_clusters: int,
    start: tuple[int, NDArray[np.float64]] | tuple[str, NDArray[Any]],
    *,
    rounds: tuple[int, int, int],
    n_sigma: float,
    threshold: float | None,
    outliers: bool,
    similarity: str,
    normalize_centroids: bool,
    isolated: bool,
    return_trace: bool,
    n_jobs: int,
    progress: _Progress | None,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.float64],
    tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None,
]: ...
