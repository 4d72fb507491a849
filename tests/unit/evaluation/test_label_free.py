from __future__ import annotations

import numpy as np

from reid.evaluation.label_free import mutual_share


def test_by_hand() -> None:
    line = np.array([[0.0], [1.0], [10.0], [11.0], [13.0]], np.float32)
    assert mutual_share(line) == 4 / 5  # the last one's nearest is 11, whose nearest is 10


def test_across_cameras() -> None:
    line = np.array([[0.0], [0.1], [5.0], [5.1]], np.float32)
    assert mutual_share(line, np.array([0, 0, 1, 1])) == 2 / 4  # 0.1 and 5.0 only
    assert mutual_share(line, np.zeros(4, np.int64)) == 0.0


def test_too_few() -> None:
    assert mutual_share(np.zeros((1, 3), np.float32)) == 0.0
    assert mutual_share(np.zeros((0, 3), np.float32)) == 0.0
