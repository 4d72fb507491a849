"""What several peers compute, with numpy."""

from __future__ import annotations

import numpy as np
from contest import Floats


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Squared Euclidean distances of all rows, by one matrix product."""
    distances = x @ y.T
    distances *= -2
    distances += np.square(x).sum(1)[:, None]
    distances += np.square(y).sum(1)
    return distances
