from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reid.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def _checkpoint(r: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(r)
    tensors = {"network.w": torch.randn(7, 5, generator=generator), "method.labels": torch.arange(9) + r}
    return Checkpoint(tensors, {"round": r, "history": [{"round": r, "loss": 0.5}], "finished": False})


def test_round_trip_and_the_one_before(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) == (None, [])
    save_checkpoint(tmp_path, _checkpoint(1))
    save_checkpoint(tmp_path, _checkpoint(2))
    loaded, warnings = load_checkpoint(tmp_path)
    assert loaded is not None
    assert not warnings
    assert loaded.state["round"] == 2
    assert torch.equal(loaded.tensors["network.w"], _checkpoint(2).tensors["network.w"])
    (tmp_path / "last.safetensors").unlink()  # killed between the two renames
    loaded, _ = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.state["round"] == 1


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.9, 0.999])
def test_cut_file_is_noticed(tmp_path: Path, fraction: float) -> None:
    save_checkpoint(tmp_path, _checkpoint(1))
    save_checkpoint(tmp_path, _checkpoint(2))
    last = tmp_path / "last.safetensors"
    data = last.read_bytes()
    last.write_bytes(data[: int(len(data) * fraction)])
    loaded, warnings = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.state["round"] == 1
    assert "damaged" in warnings[0]


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, _checkpoint(1))
    last = tmp_path / "last.safetensors"
    data = last.read_bytes()
    good = _checkpoint(1)
    for place in range(0, len(data), 7):
        broken = bytearray(data)
        broken[place] ^= 1 << (place % 8)
        last.write_bytes(bytes(broken))
        try:
            loaded, _ = load_checkpoint(tmp_path)
        except ValueError:
            continue
        assert loaded is not None
        assert loaded.state == good.state, place
        assert all(torch.equal(loaded.tensors[k], good.tensors[k]) for k in good.tensors), place


def test_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.training.checkpoint.FORMAT", 2)
    save_checkpoint(tmp_path, _checkpoint(1))
    monkeypatch.setattr("reid.training.checkpoint.FORMAT", 1)
    with pytest.raises(ValueError, match="format 2, this program reads 1"):
        load_checkpoint(tmp_path)
