"""The model card: what it says, and that no name can turn into markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reid
from reid.data.readers import read_dataset
from reid.exporting.card import model_card, text
from reid.exporting.onnx_file import Parity
from reid.extraction.network import open_network
from reid.report import folder as run_report

HOSTILE = "<img src=x onerror=alert(1)> | `code` [a](b) *b*\nnext\u202e"


@pytest.fixture
def measured_run(random_run: Path, walkers: Path, tmp_path: Path) -> Path:
    """The random run with what a real one says of itself."""
    run = tmp_path / "run"
    run.mkdir()
    for file in random_run.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    rows = [
        {"round": 0, "mAP": 0.31, "rank1": 0.4, "selected": False},
        {"round": 1, "mAP": 0.62, "rank1": 0.71, "selected": True, "oracle_ari": 0.3},
        {"round": 2, "mAP": 0.53, "rank1": 0.6, "selected": False, "oracle_ari": 0.25},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"name": HOSTILE, "layout": "market1501", "train": 72, "query": 12, "gallery": 36, "notes": [HOSTILE]}
    facts = {
        "method": "buc", "data": data | {"fingerprint": read_dataset(walkers).fingerprint()}, "cameras_used": False,
        "identities_used": False, "versions": {"torch": "2.6"},
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(facts))
    return run


def _card(run: Path, model: str, parity: Parity | None) -> str:
    facts = open_network(run=run, model=model).facts  # type: ignore[arg-type]
    return model_card(run_report.read(run), facts, model=model, height=32, width=16, parity=parity)


def test_figures_are_named_for_what_they_are(measured_run: Path) -> None:
    card = _card(measured_run, "last", Parity(3e-7, 36, "1.20", 20))
    assert "| untrained | 0 | 31.0 | 40.0 |" in card
    assert "| after the last round **(this file)** | 2 | 53.0 | 60.0 |" in card
    assert "| selected without labels | 1 | 62.0 | 71.0 |" in card
    assert "| oracle: best on the test set, chosen with its identities; an upper bound, no result | 1 | 62.0 |" in card
    assert "ARI 0.25" in card
    assert "at most 3.0e-07" in card
    assert "| selected without labels **(this file)** | 1 |" in _card(measured_run, "selected", None)
    assert "model.onnx" not in _card(measured_run, "last", None)


def test_data_and_terms(measured_run: Path, walkers: Path) -> None:
    card = _card(measured_run, "last", None)
    assert read_dataset(walkers).fingerprint() in card
    assert "72 train, 12 query, 36 gallery" in card
    assert "The data have the layout of Market-1501. If they are that set" in card
    assert "Training began with random weights." in card
    assert "Identities were not used in training" in card
    assert "not made for watch lists" in card
    assert str(walkers) not in card
    assert f"| data | {walkers.name} |" in card


def test_names_stay_text(measured_run: Path) -> None:
    card = _card(measured_run, "last", None)
    assert "<img" not in card.replace("\\<img", "")
    assert "[a](b)" not in card
    assert "\u202e" not in card
    assert "\nnext" not in card
    assert text("a|b_c <i>") == r"a\|b\_c \<i\>"


def test_export_without_onnx(measured_run: Path, tmp_path: Path) -> None:
    asked = reid.ExportConfig(measured_run, output=tmp_path / "out", model="selected", onnx=False)
    assert reid.export(asked, quiet=True) == tmp_path / "out"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "model.safetensors"]
    copied = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert copied == (measured_run / "selected.safetensors").read_bytes()
    with pytest.raises(ValueError, match="not an empty folder"):
        reid.export(asked, quiet=True)
    with pytest.raises(ValueError, match="did you mean 'selected'"):
        reid.ExportConfig(measured_run, model="selectd")  # type: ignore[arg-type]
    assert reid.export(reid.ExportConfig(measured_run, onnx=False), quiet=True) == measured_run / "export"
