"""What every estimator does with its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from reid_cluster import _inputs


def rows(estimator: Any, x: Any, *, reset: bool = True) -> NDArray[np.float32]:
    """Feature rows as the kernels take them; sets ``n_features_in_`` and ``feature_names_in_`` when `reset`."""
    return validate_data(estimator, x, reset=reset, dtype=np.float32, order="C")


def threads(n_jobs: Any) -> int | None:
    """`n_jobs` as the kernels take it, from scikit-learn's meaning: -1 is all cores, -2 all but one."""
    if isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool) and n_jobs < 0:
        return max(1, _inputs.jobs(None) + 1 + int(n_jobs))
    return n_jobs


def radius(eps: Any) -> float:
    """`eps` on the scale of Jaccard distances, where 1 would join everything."""
    number = _inputs.real("eps", eps, low=0.0)
    if not 0 < np.float32(number) < 1:
        raise ValueError(f"eps={eps!r}: must be above 0 and below 1, the largest Jaccard distance")
    return number
