"""P x K batches."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from reid.data.samplers import ClusterBatches

GOLDEN = Path(__file__).parents[2] / "golden"


def batches(labels: list[int], size: int, k: int, n: int, camid: list[int] | None = None) -> list[np.ndarray]:
    cameras = None if camid is None else np.array(camid)
    return list(islice(ClusterBatches(np.array(labels), size, k, np.random.default_rng(0), cameras), n))


def test_a_batch_holds_k_of_each_cluster() -> None:
    labels = np.repeat(np.arange(10), 7)
    for batch in islice(ClusterBatches(labels, 8, 4, np.random.default_rng(1)), 20):
        groups = labels[batch].reshape(2, 4)
        assert (groups == groups[:, :1]).all()
        assert all(len(set(group)) == 4 for group in batch.reshape(2, 4).tolist())


def test_a_pass_visits_each_cluster_once() -> None:
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    drawn = np.concatenate(batches(labels, 3, 3, 6))
    visited = np.array(labels)[drawn].reshape(2, 3, 3)[:, :, 0]
    assert [sorted(row) for row in visited.tolist()] == [[0, 1, 2]] * 2


def test_partners_come_from_other_cameras() -> None:
    labels, camid = np.zeros(9, dtype=int), np.array([0] * 6 + [1] * 3)
    for batch in islice(ClusterBatches(labels, 4, 4, np.random.default_rng(2), camid), 50):
        assert (camid[batch[1:]] != camid[batch[0]]).all()


def test_partners_repeat_only_when_too_few() -> None:
    for batch in batches([0, 0, 0, 0], 4, 4, 20):
        assert len(set(batch.tolist())) == 4
    few = batches([0, 0, 0], 4, 4, 20)
    assert all(len(set(batch.tolist())) <= 3 and batch[0] not in batch[1:] for batch in few)


def test_one_camera_and_unknown_cameras_fall_back_on_all_others() -> None:
    for camid in ([0] * 5, [-1] * 5):
        for batch in batches([0] * 5, 4, 4, 20, camid):
            assert len(set(batch.tolist())) == 4


def test_outliers_are_not_drawn_and_singletons_once_a_pass() -> None:
    labels = [-1, 0, 0, 1, -1]
    drawn = np.concatenate(batches(labels, 3, 2, 10))
    assert set(drawn.tolist()) == {1, 2, 3}
    assert (drawn == 3).sum() == 10


def test_few_clusters_fill_a_large_batch() -> None:
    (batch,) = batches([0, 0, 1, 1], 16, 2, 1)
    assert len(batch) == 16
    assert len(ClusterBatches(np.array([0, 0, 1, 1]), 16, 2, np.random.default_rng(0))) == 1


def test_the_same_generator_gives_the_same_batches() -> None:
    labels = list(range(20)) * 3
    a, b = batches(labels, 12, 4, 30), batches(labels, 12, 4, 30)
    assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 3 samples"):
        batches([-1, -1, -1], 4, 2, 1)
    with pytest.raises(ValueError, match="instances=0"):
        batches([0, 0], 4, 0, 1)


@pytest.mark.parametrize("cameras", [True, False])
def test_pass_of_3c(cameras: bool) -> None:
    """What a pass of 3C's sampler obeys, a pass of ours obeys too; only theirs leaves out the cluster of one."""
    golden = np.load(GOLDEN / "ccc_sampler.npz")
    labels, camid, k = golden["pids"], golden["cams"], int(golden["num_instances"])
    alone = np.flatnonzero(np.bincount(labels[labels >= 0]) == 1)
    sampler = ClusterBatches(labels, 1, k, np.random.default_rng(0), camid if cameras else None)
    ours = np.concatenate(list(islice(sampler, len(sampler))))
    ours = ours[~np.isin(labels[ours], alone)]
    theirs = golden["cam_indices" if cameras else "nocam_indices"]
    assert len(sampler) == len(theirs) + len(alone)
    for drawn in (theirs, ours):
        blocks = drawn.reshape(-1, k)
        clusters = labels[blocks[:, 0]]
        assert sorted([*clusters, *alone]) == list(range(labels.max() + 1))
        for block, cluster in zip(blocks, clusters, strict=True):
            anchor, partners = block[0], block[1:]
            members = np.flatnonzero(labels == cluster)
            others = members[members != anchor]
            away = others[camid[others] != camid[anchor]]
            allowed = away if cameras and len(away) else others
            assert np.isin(partners, allowed).all()
            if len(allowed) >= k - 1:
                assert len(set(partners.tolist())) == k - 1


class Replay:
    """Gives the draws that the published sampler of MTCluster made, and compares what is asked for."""

    def __init__(self, golden: dict[str, np.ndarray]) -> None:
        labels = golden["labels"]
        self.members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
        self.passes = iter(golden["pid_order"][golden["perms"]])
        self.anchors = iter(golden["anchors"])
        self.choices = iter(golden["choices_poolsize_replace_picks"])
        self.labels = labels

    def permutation(self, n: int) -> np.ndarray:
        order: np.ndarray = next(self.passes)
        assert sorted(order) == list(range(n))
        return order

    def integers(self, n: int) -> int:
        anchor = next(self.anchors)
        self.drawn = self.members[self.labels[anchor]]
        assert len(self.drawn) == n
        return int(np.flatnonzero(self.drawn == anchor)[0])

    def choice(self, others: np.ndarray, *, size: int, replace: bool) -> np.ndarray:
        pool, repeats, *picks = next(self.choices).tolist()
        assert (len(others), size) == (pool, len(picks))
        assert replace == bool(repeats) or pool == size  # just enough: theirs repeat, ours do not
        assert set(self.drawn[picks]) <= set(others)
        return self.drawn[picks]


def test_golden_mtcluster() -> None:
    golden = dict(np.load(GOLDEN / "aux_sampler.npz"))
    size, k = len(golden["epoch0"]), int(golden["num_instances"])
    sampler = ClusterBatches(golden["labels"], size, k, Replay(golden), golden["cameras"])  # type: ignore[arg-type]
    for number, batch in enumerate(islice(sampler, 3)):
        np.testing.assert_array_equal(batch, golden[f"epoch{number}"])
