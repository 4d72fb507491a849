from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.clustering.cameras import center_cameras, choose_same_camera, first_gap


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


def people(
    pictures: int, cameras: int, *, shift: float, alike: float = 0.0, noise: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """120 identities, each in most cameras in so many pictures; `alike`: what the pictures of one camera share."""
    rng = np.random.default_rng([seed, pictures, cameras])
    d, n = 64, 120
    who, camid = (a.ravel() for a in np.meshgrid(np.arange(n), np.arange(cameras), indexing="ij"))
    seen = rng.random(len(who)) < 0.9
    visit = np.repeat(np.arange(seen.sum()), pictures)
    who, camid = who[seen][visit], camid[seen][visit]
    x = rng.normal(size=(n, d))[who] + shift * rng.normal(size=(cameras, d))[camid]
    x += alike * rng.normal(size=(visit.max() + 1, d))[visit] + noise * rng.normal(size=(len(who), d))
    x *= np.arange(1, d + 1) ** -0.5
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), camid


@pytest.mark.parametrize("cameras", [2, 4, 8])
@pytest.mark.parametrize("shift", [0.0, 1.5])
@pytest.mark.parametrize(("alike", "noise"), [(0.0, 0.5), (0.6, 0.4), (0.0, 0.8)])
def test_same_camera_is_decided_by_what_comes_back(cameras: int, shift: float, alike: float, noise: float) -> None:
    for pictures, rule in ((1, "forbid"), (2, "allow"), (4, "allow")):
        x, camid = people(pictures, cameras, shift=shift, alike=alike, noise=noise)
        assert choose_same_camera(x, camid, n_jobs=1)[0] == rule, pictures
        assert choose_same_camera(x, np.where(np.arange(len(x)) == 3, -1, camid))[0] == "allow"


def test_no_evidence_allows() -> None:
    """Pictures without identities, one camera, unknown cameras, cameras of two pictures, equal pictures."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for camid in (np.arange(200) % 4, np.zeros(200, int), np.full(200, -1), np.arange(200) // 2):
        assert choose_same_camera(x, camid)[0] == "allow"
    assert choose_same_camera(np.full((64, 4), 0.5, np.float32), np.arange(64) % 2) == ("allow", 0.0)


def test_first_gap_by_hand() -> None:
    angle = np.array([0.0, 0.1, 0.4, 0.9, 1.5])
    x = np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
    camid = np.array([0, 1, 1, 1, -1])
    d = np.linalg.norm(x[0] - x[1:4], axis=1)
    expected = np.log(d[1] / d[0]) / (2 * np.log(d[2] / d[1]))
    assert first_gap(x, camid) == pytest.approx(expected, rel=1e-4)


def test_first_gap_on_real_features(real_data: Path) -> None:
    """Vehicles seen once by each of two cameras: forbid; cows that stay in front of theirs: allow."""
    for name, rule in (("uit_vehicle_reid", "forbid"), ("holstein2025", "allow")):
        with np.load(real_data / "features" / f"{name}__mobilenetv2_w035_imagenet.npz") as data:
            x = data["feat"][data["split"] == "train"].astype(np.float32)
            camid = data["cam"][data["split"] == "train"]
        assert choose_same_camera(x, camid)[0] == rule
