"""Exact, parallel kernels for re-identification: neighbours, Jaccard distance, clustering, ranking.

Features are (N, D) arrays of float32 (other real types are converted), labels int64 with -1 for none,
indices int32. Every function takes ``n_jobs`` (threads, default all cores); results do not depend on it. Long
calls release the interpreter, stop on Ctrl-C and tell a ``progress(done, total, stage)`` callable how far they
are.
"""

from importlib.metadata import PackageNotFoundError, version

from reid_cluster._clustering import BottomUp, bottom_up
from reid_cluster._constraints import constrained_dbscan, time_overlap
from reid_cluster._dbscan import dbscan
from reid_cluster._hdc import HDC, HDCTrace, hdc, kmeans_plusplus
from reid_cluster._jaccard import jaccard, jaccard_graph
from reid_cluster._kmeans import KMeans, kmeans
from reid_cluster._neighbors import Neighbors, knn
from reid_cluster._ranking import Ranking, evaluate_features, evaluate_rank
from reid_cluster._rerank import rerank, rerank_distances

try:
    __version__ = version("reid-cluster")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0.1.0"

__all__ = [
    "HDC",
    "BottomUp",
    "HDCTrace",
    "KMeans",
    "Neighbors",
    "Ranking",
    "__version__",
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
    "rerank",
    "rerank_distances",
    "time_overlap",
]
