"""PUL's selection of reliable samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.clustering.selection import reliable_samples

GOLDEN = Path(__file__).parents[2] / "golden"


def parts(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        golden = dict(file)
    features = golden["features"]
    return golden, features[golden["list_label"] == -1] if "list_label" in golden else features


@pytest.mark.parametrize("name", ["pul_select", "pul_select_overlap", "pul_semi"])
def test_any_rule_selects_what_the_original_does(name: str) -> None:
    golden, features = parts(name)
    labels = golden["kmeans_labels"].astype(np.int64)
    found = reliable_samples(features, labels, golden["kmeans_centers"], float(golden["threshold"]), rule="any")
    sure = golden["center_margin"] > 1e-5
    assert (found.centers[sure] == golden["center_idx"][sure]).all()
    if sure.all():
        assert (found.mask == golden["mask_any"]).all()
        assert np.allclose(found.similarity, golden["similarities"].max(0), atol=2e-6)


@pytest.mark.parametrize("name", ["pul_select", "pul_semi"])
def test_own_rule_selects_what_the_golden_derives(name: str) -> None:
    golden, features = parts(name)
    labels = golden["kmeans_labels"].astype(np.int64)
    found = reliable_samples(features, labels, golden["kmeans_centers"], float(golden["threshold"]))
    assert (found.mask == golden["mask_own"]).all()
    counts = [
        reliable_samples(features, labels, golden["kmeans_centers"], float(t)).mask.sum() for t in golden["thresholds"]
    ]
    assert counts == golden["count_own"].tolist()


def test_a_zero_row_is_never_reliable_and_each_cluster_keeps_its_middle() -> None:
    golden, features = parts("pul_select_overlap")
    labels = golden["kmeans_labels"].astype(np.int64)
    found = reliable_samples(features, labels, golden["kmeans_centers"], 0.85)
    assert not found.mask[7]
    present = np.unique(labels[features.any(1)])
    assert set(labels[found.mask]) == set(present)
    assert (labels[found.centers[present]] == present).all()


def test_scaling_a_row_changes_no_cosine() -> None:
    golden, features = parts("pul_select")
    labels = golden["kmeans_labels"].astype(np.int64)
    a = reliable_samples(features, labels, golden["kmeans_centers"])
    scaled = features.copy()
    member = int(np.setdiff1d(np.arange(len(features)), a.centers)[0])
    scaled[member] *= 3
    b = reliable_samples(scaled, labels, golden["kmeans_centers"])
    if (a.centers == b.centers).all():
        assert np.allclose(a.similarity, b.similarity, atol=1e-6)


def test_wrong_shapes_are_refused() -> None:
    x = np.ones((4, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="labels lie in"):
        reliable_samples(x, np.array([0, 1, 2, 3]), x[:2])
    with pytest.raises(ValueError, match="must be"):
        reliable_samples(x, np.array([0, 1]), x[:2])
