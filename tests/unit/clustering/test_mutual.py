"""Mutual pairs across cameras."""

from __future__ import annotations

import numpy as np
import pytest

from reid.clustering.mutual import mutual_labels


def people(n: int, per_camera: int, cameras: int, noise: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), per_camera * cameras)
    camid = np.tile(np.repeat(np.arange(cameras), per_camera), n)
    look, place = rng.normal(size=(n, 32)), rng.normal(size=(cameras, 32))
    x = look[who] + 0.3 * place[camid] + noise * rng.normal(size=(len(who), 32))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), who, camid


def test_joins_one_picture_of_each_of_two_cameras() -> None:
    x, who, camid = people(60, 1, 2, 0.2)
    labels = mutual_labels(x, camid, within_camera=False)
    pairs = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    assert len(pairs) > 50
    assert all(len(pair) == 2 and camid[pair[0]] != camid[pair[1]] for pair in pairs)
    assert np.mean([who[a] == who[b] for a, b in pairs]) > 0.9


def test_joins_pictures_within_a_camera_first() -> None:
    x, who, camid = people(30, 4, 2, 0.1)
    labels = mutual_labels(x, camid, within_camera=True)
    sizes = np.bincount(labels[labels >= 0])
    assert sizes.max() > 2
    right = [len(set(who[labels == c])) == 1 for c in range(len(sizes))]
    assert np.mean(right) > 0.9


def test_a_camera_alone_joins_nothing_across() -> None:
    x, _, _ = people(10, 1, 1, 0.1)
    assert (mutual_labels(x, np.zeros(10, dtype=np.int64), within_camera=False) == -1).all()


def test_clusters_are_numbered_by_their_first_picture() -> None:
    x, _, camid = people(20, 1, 2, 0.1)
    labels = mutual_labels(x, camid, within_camera=False)
    _, first = np.unique(labels[labels >= 0], return_index=True)
    assert (np.diff(first) > 0).all()


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from reid.clustering import mutual

    x, _, camid = people(40, 1, 3, 0.3)
    whole = mutual_labels(x, camid, within_camera=False)
    monkeypatch.setattr(mutual, "BLOCK", 7)
    assert (mutual_labels(x, camid, within_camera=False) == whole).all()
