"""Runs with cameras and clocks: figures beside the plain ones, and an exact resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reid.clustering.travel_times import read_travel_times
from reid.config import from_mapping
from reid.methods import METHODS
from reid.training import loop
from reid.training.train import train

GRAPH = {"k1": 6, "k2": 2, "min_samples": 2, "iters": 3, "per_cluster": 2}
SIDE = {"toc_test": True, "scp_test": 0.03, "sts_test": True}


def config(tiny: dict[str, Any], folder: Path, **settings: Any) -> Any:
    kind = METHODS[settings.pop("method", "cluster-contrast")].Config
    data = str(Path(tiny["data"]) / "samples.csv")  # the names alone carry no time
    values = {**tiny, **GRAPH, "data": data, "output": str(folder), **settings}
    fields = kind.__dataclass_fields__
    return from_mapping(kind, {k: v for k, v in values.items() if k in fields}, "test")


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", ["cluster-contrast", "buc"])
def test_figures_stand_beside_the_plain_ones(
    method: str, tiny_settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train(config(tiny_settings, tmp_path / "plain", method=method, rounds=1), quiet=True)
    side = train(config(tiny_settings, tmp_path / "side", method=method, rounds=1, **SIDE))
    for before, after in zip(rows(plain), rows(side), strict=True):
        assert {k: v for k, v in after.items() if not k.startswith("side_")} | {"seconds": 0} == before | {"seconds": 0}
        assert 0 < after["side_mAP"] <= 1
        assert 0 <= after["side_rank1"] <= 1
    assert "with times and cameras of query and gallery (transductive)" in capsys.readouterr().out
    assert read_travel_times(side / "travel_times.npz").cameras.tolist()
    assert not (plain / "travel_times.npz").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"sts": True, "scp": 0.006, "eps": "share", "eps_neighbors": 2.0},
        {"sts": True, "sts_static": True, "method": "spcl"},
        {"sts": True, "eps": "auto", "sts_test": True, "method": "3c"},
    ],
    ids=lambda s: s.get("method", "share"),
)
def test_resume_is_exact(
    settings: dict[str, Any], tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(tiny_settings, tmp_path / "whole", **settings), quiet=True)
    assert rows(whole)[-1]["round"] == 3
    save = loop._save

    def save_and_fail(job: Any, history: list[dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        save(job, history, *args, **kwargs)
        if history[-1]["round"] == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_save", save_and_fail)
        train(config(tiny_settings, tmp_path / "cut", **settings), quiet=True)
    cut = train(config(tiny_settings, tmp_path / "cut", **settings), resume=tmp_path / "cut", quiet=True)
    for name in ("model.safetensors", "labels.csv", "travel_times.npz"):
        if name.endswith("npz"):
            one, other = (read_travel_times(run / name) for run in (cut, whole))
            assert (one.table == other.table).all()
        else:
            assert (cut / name).read_bytes() == (whole / name).read_bytes()
    assert [r["eps"] for r in rows(cut)[1:]] == [r["eps"] for r in rows(whole)[1:]]


def test_times_that_are_missing_are_said_before_training(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    values = tiny_settings | {"data": str(Path(tiny_settings["data"]) / "query")}  # a folder of pictures
    for wanted in ("sts", "sts_test"):
        settings = config(tiny_settings, tmp_path / "run", data=values["data"], **{wanted: True})
        with pytest.raises(ValueError, match=wanted):
            train(settings, quiet=True)
        assert not (tmp_path / "run").exists()
