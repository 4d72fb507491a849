"""The kernels once more, slow and short: the formulas of the papers in numpy, written for reading.

Every function has the name, the arguments (without ``n_jobs`` and ``progress``) and the result of the fast one in
:mod:`reid_cluster`; the tests compare the two. They hold N x N values: use them to understand, and to check.
"""

from reid_cluster.reference.bottom_up import bottom_up
from reid_cluster.reference.constraints import constrained_dbscan, time_overlap
from reid_cluster.reference.dbscan import dbscan
from reid_cluster.reference.hdc import hdc, kmeans_plusplus
from reid_cluster.reference.jaccard import jaccard, jaccard_graph
from reid_cluster.reference.kmeans import kmeans
from reid_cluster.reference.neighbors import knn
from reid_cluster.reference.ranking import evaluate_features, evaluate_rank
from reid_cluster.reference.rerank import rerank, rerank_distances

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
    "rerank",
    "rerank_distances",
    "time_overlap",
]
