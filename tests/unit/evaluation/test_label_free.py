from __future__ import annotations

import numpy as np

from reid.evaluation.label_free import reciprocity


def test_by_hand() -> None:
    line = np.array([[0.0], [1.0], [10.0], [11.0], [13.0]], np.float32)
    assert reciprocity(line, k=1) == 4 / 5  # the last one's nearest is 11, whose nearest is 10
    assert reciprocity(line, k=4) == 1.0
    assert reciprocity(line, k=99) == 1.0


def test_equals_sets() -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    distance = np.square(x[:, None] - x[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    near = [set(row) for row in np.argsort(distance, axis=1)[:, :7]]
    shares = [sum(i in near[j] for j in near[i]) / 7 for i in range(60)]
    np.testing.assert_allclose(reciprocity(x, k=7), np.mean(shares))


def test_a_hub_lowers_it() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(size=(8, 40)), 11, axis=0) + 0.01 * rng.normal(size=(88, 40))
    ring = rng.normal(size=(87, 40)) * 10
    hub = np.concatenate([ring, np.zeros((1, 40))])
    assert reciprocity(groups.astype(np.float32)) == 1.0
    assert reciprocity(hub.astype(np.float32)) < 0.7


def test_too_few() -> None:
    assert reciprocity(np.zeros((1, 3), np.float32)) == 0.0
    assert reciprocity(np.zeros((0, 3), np.float32)) == 0.0
