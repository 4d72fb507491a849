"""SpCL with a labelled source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid.config import from_mapping
from reid.data.pictures import Pictures
from reid.data.readers import read_dataset
from reid.features import extract
from reid.methods.protocol import Batch
from reid.methods.spcl_uda import SpclUda, SpclUdaConfig
from reid.models.embedder import Embedder
from reid.training.train import train


@pytest.fixture
def settings(walkers: Path) -> dict[str, Any]:
    return {
        "data": str(walkers), "source": str(walkers), "height": 32, "width": 16, "backbone": "tiny:0.25",
        "k1": 6, "k2": 2, "min_samples": 2, "iters": 3, "per_cluster": 2, "batch_size": 8, "rounds": 1,
    }  # fmt: skip


def test_step_by_hand(settings: dict[str, Any]) -> None:
    """Loss and memory against the formulas, from the features that the network gives to both halves."""
    dataset = read_dataset(Path(settings["data"]))
    samples = dataset.train.without_pid()
    pictures = Pictures.load(samples, 32, 16)
    network = Embedder("tiny:0.25", stripes=4, mean=(0.5,) * 3, std=(0.5,) * 3)
    method = SpclUda(from_mapping(SpclUdaConfig, settings, "test"), network, samples)
    n_source = len(np.unique(dataset.train.pid))
    assert method.memory.n_source == n_source

    def features(net: Embedder, **_: Any) -> Any:
        return extract(net, pictures)

    assignment = method.assign(1, features)
    x = features(network)
    memory = method.memory.memory.clone()
    np.testing.assert_allclose(memory[n_source:], x, atol=1e-6)
    mean = x[dataset.train.pid == np.unique(dataset.train.pid)[2]].mean(axis=0)  # source and target are one here
    np.testing.assert_allclose(memory[2], mean / np.linalg.norm(mean), atol=1e-5)

    rng = np.random.default_rng(0)
    plan = method.start_round(1, assignment, rng)
    index = next(iter(plan.batches))
    images = plan.augment(pictures.frames[torch.from_numpy(index)], rng, mean=(0.5,) * 3, std=(0.5,) * 3)
    batch = Batch(images[:, None], torch.from_numpy(index), torch.zeros(8).long(), torch.zeros(8).long())
    out = method.step(batch)
    assert out.embeddings.shape == (16, network.out_features)
    classes = torch.cat([torch.arange(n_source), n_source + torch.from_numpy(method._classes)])
    rows = method._rows
    assert (rows[:8] < n_source).all()
    np.testing.assert_array_equal(rows[8:], n_source + index)
    means = torch.stack([memory[classes == c].mean(0) for c in classes.unique()]).double()
    logits = out.embeddings.double() @ means.T / method.config.temperature
    own = torch.searchsorted(classes.unique(), classes[rows])
    p = logits.softmax(1).gather(1, own[:, None])[:, 0]
    expected = -(p[:8] + 1e-6).log().mean() - (p[8:] + 1e-6).log().mean()
    assert out.loss.item() == pytest.approx(expected.item(), rel=1e-4)

    method.update(batch, out)
    changed = (method.memory.memory != memory).any(1)
    assert set(torch.nonzero(changed)[:, 0].tolist()) == set(rows.tolist())


def test_a_run_says_whose_identities_it_read(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(from_mapping(SpclUdaConfig, {**settings, "output": str(tmp_path / "run")}, "test"))
    assert "identities of the source alone are used" in capsys.readouterr().out
    facts = json.loads((run / "run.json").read_text())
    assert not facts["identities_used"]
    assert facts["source"]["identities"] == 6
    assert "known identities of a source" in (run / "report.html").read_text()


def test_a_source_without_identities_is_refused(settings: dict[str, Any], tmp_path: Path, walkers: Path) -> None:
    samples = read_dataset(walkers).train.without_pid()
    network = Embedder("tiny:0.25", stripes=4, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(ValueError, match="use method spcl"):
        SpclUda(from_mapping(SpclUdaConfig, {**settings, "source": ""}, "test"), network, samples)
    for picture in sorted((walkers / "query").iterdir())[:3]:
        (tmp_path / f"plain{picture.name[-6:]}").write_bytes(picture.read_bytes())
    with pytest.raises(ValueError, match="no training pictures with identities"):
        SpclUda(from_mapping(SpclUdaConfig, {**settings, "source": str(tmp_path)}, "test"), network, samples)
