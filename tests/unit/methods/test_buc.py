from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid.config import from_mapping, read_preset
from reid.data.records import Samples
from reid.methods.buc import Buc, BucConfig
from reid.methods.protocol import Assignment
from reid.models.embedder import Embedder

GOLDEN = Path(__file__).parents[2] / "golden"


def _samples(n: int, cameras: int = 2) -> Samples:
    return Samples.from_paths([f"{i}.jpg" for i in range(n)], camid=np.arange(n) % cameras)


def _buc(n: int = 40, **settings: Any) -> Buc:
    network = Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3)
    config = from_mapping(BucConfig, {"embedding_dim": 8, "memory_init": "zeros", **settings}, "test")
    return Buc(config, network, _samples(n))


def _features(x: np.ndarray) -> Any:
    def extract(network: Embedder, *, head: Any = None, normalize: bool = True) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True) if normalize else x

    return extract


def test_number_of_merges_and_rounds_follow_the_original() -> None:
    golden = np.load(GOLDEN / "buc_schedule.npz")
    for j, share in enumerate(golden["merge_percent"]):
        if share > 0.5:
            continue
        for n, merges in zip(golden["num_samples"], golden["num_to_merge"][:, j], strict=True):
            assert _buc(int(n), merge_percent=float(share)).n_merges == merges
    faithful = list(golden["merge_percent"]).index(0.05)
    assert golden["num_steps"][faithful] == _buc(400, merge_percent=0.05).rounds == read_preset("buc-market")["rounds"]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.15, 0.18, 0.3, 0.45])
def test_the_last_round_has_a_tenth_left(share: float) -> None:
    method = _buc(400, merge_percent=share)
    left = 400 - (method.rounds - 1) * method.n_merges
    assert left >= 39
    assert left - method.n_merges < 40


def test_learning_rates_of_the_faithful_preset() -> None:
    golden = np.load(GOLDEN / "buc_schedule.npz")
    for preset, epochs, later in (
        ("buc-market", "lr_image_step0", "lr_image_later"),
        ("buc-mars", "lr_video_step0", "lr_video_later"),
    ):
        values = {k: v for k, v in read_preset(preset).items() if k != "method"} | {"embedding_dim": 8}
        config = from_mapping(BucConfig, values, preset)
        method = Buc(config, Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3), _samples(320))
        for r, key in ((1, epochs), (2, later)):
            plan = method.start_round(r, Assignment(np.arange(320)), np.random.default_rng(0))
            per_epoch = 320 // 16
            assert plan.steps == len(golden[key]) * per_epoch
            got = [
                [plan.lr(e * per_epoch) * group["scale"] for group in plan.optimizer.param_groups]
                for e in range(len(golden[key]))
            ]
            np.testing.assert_allclose(got, golden[key], rtol=0, atol=1e-12)
            assert isinstance(plan.optimizer, torch.optim.SGD)
            options = plan.optimizer.param_groups[0]
            assert (
                options["momentum"],
                options["weight_decay"],
                options["nesterov"],
                options["dampening"],
            ) == (0.9, 5e-4, True, 0)


def test_first_round_is_singletons_without_extraction() -> None:
    def forbidden(*_: Any, **__: Any) -> np.ndarray:
        raise AssertionError("no extraction is needed")

    assignment = _buc().assign(1, forbidden)
    assert assignment.labels.tolist() == list(range(40))


def test_later_rounds_merge_a_constant_number() -> None:
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    method = _buc(merge_percent=0.1)
    assert method.assign(2, _features(x)).n_clusters == 36
    assert method.assign(3, _features(x)).n_clusters == 32


def test_forbidden_cameras_never_meet_however_long_the_run() -> None:
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    method = _buc(merge_percent=0.3, same_camera="forbid", on_collapse="keep")
    for r in (2, 3, 4):
        assignment = method.assign(r, _features(x))
        for label in np.unique(assignment.labels):
            cameras = method.samples.camid[assignment.labels == label]
            assert len(np.unique(cameras)) == len(cameras)
    assert assignment.n_clusters == 20
    assert assignment.facts["n_merges"] == 0
    assert not assignment.stop


@pytest.mark.parametrize(("policy", "stops"), [("keep", False), ("stop", True), ("retry", False)])
def test_collapse_is_noticed_and_acted_on(policy: str, stops: bool) -> None:
    """A tight bunch of 30 of 40 points would become one giant cluster."""
    rng = np.random.default_rng(0)
    x = np.concatenate([1.0 + 1e-3 * rng.normal(size=(30, 6)), rng.normal(size=(10, 6))]).astype(np.float32)
    method = _buc(merge_percent=0.5, on_collapse=policy, size_penalty=0.0)
    method.n_merges = 29
    assignment = method.assign(2, _features(x))
    assert "giant cluster" in assignment.warnings[0]
    assert "5/50/95 %" in assignment.warnings[0]
    assert bool(assignment.stop) == stops
    sizes = np.bincount(assignment.labels)
    assert sizes.max() <= 20
    if policy == "retry":
        assert len(sizes) == 26
        assert "only 14 clusters were merged away" in assignment.warnings[0]
    if policy == "keep":
        assert len(sizes) == 40


def test_mean_memory_belongs_to_the_labels() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8)).astype(np.float32)
    method = _buc(memory_init="mean", merge_percent=0.4)
    assignment = method.assign(2, _features(x))
    method.start_round(2, assignment, rng)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for label in range(assignment.n_clusters):
        mean = unit[assignment.labels == label].mean(axis=0)
        np.testing.assert_allclose(method.memory.memory[label], mean / np.linalg.norm(mean), atol=1e-6)


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match=r"merge_percent=0\.01: merges none of 40"):
        _buc(merge_percent=0.01)
    config = BucConfig(same_camera="forbid")
    network = Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3)
    nameless = dataclasses.replace(_samples(40), camid=np.full(40, -1))
    with pytest.raises(ValueError, match="needs a camera id"):
        Buc(config, network, nameless)
