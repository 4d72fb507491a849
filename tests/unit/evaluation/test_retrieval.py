"""Retrieval metrics where the data say less than Market-1501 does."""

from __future__ import annotations

import numpy as np

from reid.data.records import Samples
from reid.evaluation.retrieval import evaluate_retrieval


def test_unknown_cameras_are_not_one_camera() -> None:
    features = np.eye(3, 4, dtype=np.float32)
    query = Samples.from_paths(["a", "b", "c"], pid=[0, 1, 2])
    gallery = Samples.from_paths(["d", "e", "f"], pid=[0, 1, 2])
    result = evaluate_retrieval(features, features, query, gallery)
    assert (result["mAP"], result["n_queries"]) == (1.0, 3)
    # Where cameras are known, the query's own still does not count.
    seen = Samples.from_paths(["d", "e", "f", "g"], pid=[0, 1, 2, 0], camid=[1, 1, 1, 2])
    more = np.concatenate([features, features[:1]])
    query = Samples.from_paths(["a", "b"], pid=[0, 1], camid=[1, -1])
    assert evaluate_retrieval(features[:2], more, query, seen)["n_queries"] == 2
    query = Samples.from_paths(["a", "b"], pid=[0, 1], camid=[1, 1])
    assert evaluate_retrieval(features[:2], more, query, seen)["n_queries"] == 1
