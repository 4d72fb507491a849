from __future__ import annotations

import numpy as np
import pytest

from reid.clustering.guards import describe_collapse, distance_quantiles


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full(30, -1), "no cluster"),
        (np.zeros(30, int), "one single cluster"),
        (np.r_[np.zeros(16, int), np.arange(1, 15)], "giant cluster (16 of 30"),
        (np.r_[np.full(97, -1), 0, 1, 2], "97 of 100 samples are outliers"),
        (np.arange(30), ""),
        (np.r_[np.zeros(15, int), np.arange(1, 16)], ""),
    ],
)
def test_collapses(labels: np.ndarray, words: str) -> None:
    said = describe_collapse(labels.astype(np.int64))
    assert words in said
    assert bool(said) == bool(words)


def test_quantiles_are_measured() -> None:
    x = np.eye(20, dtype=np.float32)
    said = distance_quantiles(x)
    assert "2.000/2.000/2.000 between random pairs" in said
    assert "2.000/2.000/2.000 to the nearest" in said
