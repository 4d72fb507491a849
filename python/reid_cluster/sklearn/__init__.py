"""The kernels as scikit-learn estimators; only this module imports scikit-learn.

Each is its function with the conventions of scikit-learn: parameters in the constructor, data in ``fit``, results in
attributes that end with an underscore. What is known of each sample (camera, times, groups, pairs that cannot be one
identity) is data, so it goes to ``fit`` by keyword, and with it through metadata routing; what steers the method
(eps, the margin of an overlap) is a parameter, so it can be set, cloned and searched.

``n_jobs`` counts as it does in scikit-learn: -1 is all cores, -2 all but one; None is all cores, too, since results
do not depend on it.
"""

from reid_cluster.sklearn._bottom_up import BottomUpClustering
from reid_cluster.sklearn._constrained import ConstrainedDBSCAN
from reid_cluster.sklearn._hdc import HarmonicDiscrepancyClustering
from reid_cluster.sklearn._jaccard_dbscan import JaccardDBSCAN
from reid_cluster.sklearn._transformer import KReciprocalTransformer

__all__ = [
    "BottomUpClustering",
    "ConstrainedDBSCAN",
    "HarmonicDiscrepancyClustering",
    "JaccardDBSCAN",
    "KReciprocalTransformer",
]
