"""What every method must keep, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid.config import from_mapping, read_toml
from reid.data.pictures import Pictures
from reid.data.readers import read_dataset
from reid.features import extract
from reid.methods import METHODS
from reid.methods.protocol import Batch
from reid.models.embedder import Embedder, load_embedder
from reid.training import loop
from reid.training.train import train

pytestmark = pytest.mark.parametrize("name", list(METHODS))

#: Settings with which a method that clusters a graph trains within seconds.
GRAPH = {"k1": 6, "k2": 2, "min_samples": 2, "iters": 3, "per_cluster": 2, "known": 2, "n_init": 1, "threshold": 0.5}


@pytest.fixture
def settings(name: str, tiny_settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the method that train within a second or two."""
    known = {f.name for f in dataclasses.fields(METHODS[name].Config)}
    all_of_them = GRAPH | {"source": tiny_settings["data"]} | tiny_settings
    return {key: value for key, value in all_of_them.items() if key in known}


def _pieces(name: str, settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    kind = METHODS[name]
    config = from_mapping(kind.Config, settings, "test")
    train = read_dataset(settings["data"]).train
    samples = train if kind.needs_pid else train.without_pid()
    pictures = Pictures.load(samples, 32, 16)
    network = Embedder("tiny:0.25", stripes=4, mean=(0.5,) * 3, std=(0.5,) * 3)
    return kind(config, network, samples), network, pictures


def test_two_rounds_finish_and_leave_a_whole_run(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    config = from_mapping(METHODS[name].Config, {**settings, "rounds": 2, "output": str(tmp_path / "run")}, "test")
    run = train(config, quiet=True)
    names = {p.name for p in run.iterdir()}
    assert names >= {
        "config.toml", "run.json", "metrics.jsonl", "labels", "checkpoints", "model.safetensors",
        "selected.safetensors",
        "labels.csv", "report.html",
    }  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1, 2]
    wanted = {"loss", "n_clusters", "n_outliers", "seconds", "oracle_ari", "mAP", "rank1", "rank5", "rank10"}
    assert wanted <= set(rows[2])
    assert sum(row["selected"] for row in rows) == 1
    values = read_toml(run / "config.toml")
    assert values.pop("method") == name
    resolved = from_mapping(METHODS[name].Config, values, "config.toml")
    automatic = {f.name for f in dataclasses.fields(resolved) if getattr(resolved, f.name) is None}
    assert automatic <= {"toc_relaxed"}  # None is a value of this one: all links are believed
    assert load_embedder(run / "model.safetensors").out_features > 0


def test_identities_are_never_seen(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Other identities, same pictures: same bytes."""
    if METHODS[name].needs_pid:
        pytest.skip("declares that it uses identities")
    import csv

    root = Path(settings["data"])
    models = []
    for scramble in (False, True):
        table = tmp_path / f"{scramble}.csv"
        rng = np.random.default_rng(0)
        with open(root / "samples.csv", newline="") as source, open(table, "w", newline="") as target:
            rows = [r for r in csv.DictReader(source) if r["split"] == "train"]
            writer = csv.DictWriter(target, rows[0].keys())
            writer.writeheader()
            for row in rows:
                row["path"] = str(root / row["path"])
                if scramble:
                    row["pid"] = str(rng.integers(1, 99))
                writer.writerow(row)
        link = tmp_path / "pictures"
        if not link.exists():
            link.symlink_to(root)
        text = table.read_text().replace(str(root) + "/", "")
        (root / table.name).write_text(text)
        values = {
            **settings,
            "data": str(root / table.name),
            "output": str(tmp_path / f"run-{scramble}"),
        }
        try:
            run = train(from_mapping(METHODS[name].Config, values, "test"), quiet=True)
        finally:
            (root / table.name).unlink()
        models.append((run / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_step_leaves_the_state_alone_and_update_changes_it(name: str, settings: dict[str, Any]) -> None:
    method, network, pictures = _pieces(name, settings)

    def features(net: Embedder, *, head: Any = None, normalize: bool = True) -> Any:
        return extract(net, pictures, feature="embedding" if head else "pooled", head=head, normalize=normalize)

    rng = np.random.default_rng(0)
    assignment = method.assign(1, features)
    assert assignment.labels.dtype == np.int64
    assert assignment.labels.min() >= -1
    plan = method.start_round(1, assignment, rng)
    index = next(iter(plan.batches))
    images = plan.augment(pictures.frames[torch.from_numpy(index)], rng, mean=(0.5,) * 3, std=(0.5,) * 3)
    label = torch.from_numpy(assignment.labels[index])
    batch = Batch(images[:, None], torch.from_numpy(index), label, torch.zeros_like(label))
    bank = getattr(method, "memory", None)  # PUL and training with labels have none
    memory = {} if bank is None else {k: v.clone() for k, v in bank.state_dict().items()}
    out = method.step(batch)
    assert torch.isfinite(out.loss)
    assert not out.embeddings.requires_grad
    assert all(torch.equal(bank.state_dict()[k], v) for k, v in memory.items())
    out.loss.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    method.update(batch, out)
    assert bank is None or not all(torch.equal(bank.state_dict()[k], v) for k, v in memory.items())


def test_state_dict_round_trip(name: str, settings: dict[str, Any]) -> None:
    first, _, _ = _pieces(name, {**settings, "seed": 1})
    second, _, _ = _pieces(name, {**settings, "seed": 2})
    second.load_state_dict(first.state_dict())
    for key, value in first.state_dict().items():
        assert isinstance(value, torch.Tensor)
        assert torch.equal(value, second.state_dict()[key])


def test_a_run_that_was_cut_off_resumes_with_the_same_bytes(
    name: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(folder: str) -> Any:
        return from_mapping(METHODS[name].Config, {**settings, "rounds": 3, "output": str(tmp_path / folder)}, "test")

    whole = train(config("whole"), quiet=True)
    save = loop._save

    def save_and_fail(job: Any, history: list[dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        save(job, history, *args, **kwargs)
        if history[-1]["round"] == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_save", save_and_fail)
        train(config("cut"), quiet=True)
    cut = train(config("cut"), resume=tmp_path / "cut", quiet=True)
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (cut / "labels.csv").read_bytes() == (whole / "labels.csv").read_bytes()


def test_few_pictures(name: str, settings: dict[str, Any], tmp_path: Path, walkers: Path) -> None:
    """Five pictures, no identities, fewer than a batch: runs, or says in a word why not."""
    folder = tmp_path / "few"
    folder.mkdir()
    for picture in sorted((walkers / "query").iterdir())[:5]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    values = {**settings, "data": str(folder), "output": str(tmp_path / "run")}
    if METHODS[name].needs_pid:
        with pytest.raises(ValueError, match=r"identities|labels"):
            train(from_mapping(METHODS[name].Config, values, "test"), quiet=True)
        return
    run = train(from_mapping(METHODS[name].Config, values, "test"), quiet=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["round"] >= 1 or rows[-1]["stop"]
    assert "mAP" not in rows[-1]
