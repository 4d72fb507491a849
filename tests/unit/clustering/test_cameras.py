from __future__ import annotations

import numpy as np

from reid.clustering.cameras import center_cameras


def test_takes_out_a_camera_shift() -> None:
    """Two cameras that see the same things with different offsets: nearest neighbours become the same things."""
    rng = np.random.default_rng(0)
    things = rng.normal(size=(200, 64))
    shift = np.repeat(1.5 * rng.normal(size=(2, 64)), 200, axis=0)
    x = np.concatenate([things, things]) + shift + 0.05 * rng.normal(size=(400, 64))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    camid = np.repeat([0, 1], 200)

    def right(y: np.ndarray) -> float:
        d = y @ y.T
        np.fill_diagonal(d, -2)
        return float((d.argmax(axis=1) % 200 == np.arange(400) % 200).mean())

    before = x.copy()
    centred = center_cameras(x, camid)
    assert right(x) < 0.5 < 0.9 < right(centred)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, atol=1e-5)


def test_formula_for_small_and_unknown_cameras() -> None:
    x = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    camid = np.array([5, 5, 5, 5, -1, -1, 2, 2, 2])
    mean = x.mean(axis=0)
    expected = x - mean
    expected[:4] -= (x[:4].mean(axis=0) - mean) * 4 / (4 + 10)
    expected[6:] -= (x[6:].mean(axis=0) - mean) * 3 / (3 + 10)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(center_cameras(x, camid, shrink=10), expected, atol=1e-6)


def test_equal_rows_give_zeros_not_nan() -> None:
    assert np.array_equal(center_cameras(np.ones((4, 3), np.float32), np.zeros(4, np.int64)), np.zeros((4, 3)))
