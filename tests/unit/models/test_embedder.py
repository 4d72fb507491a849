"""The embedder: frames, saving and loading, batch norm's start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from reid.models.embedder import (
    SPEC_KEY,
    Embedder,
    load_embedder,
    read_metadata,
    save_embedder,
    start_batch_norm,
)

HALF = (0.5, 0.5, 0.5)


def tiny(**options: object) -> Embedder:
    return Embedder("tiny", mean=HALF, std=HALF, **options)  # type: ignore[arg-type]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_frames_are_averaged_after_pooling() -> None:
    embedder = tiny(pooling="gem", stripes=4).eval()
    batch = images(2, 3, 3, 32, 16)
    with torch.inference_mode():
        out = embedder(batch)
        by_hand = torch.stack([embedder(batch[:, k]) for k in range(3)]).mean(0)
        retrieval = embedder.retrieval(batch)
    assert out.shape == (2, embedder.out_features) == (2, 192 * 4)
    torch.testing.assert_close(out, by_hand)
    torch.testing.assert_close(retrieval, out / out.norm(dim=1, keepdim=True))


def test_wrong_images_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 8, 8\): must be \(B, 3, H, W\)"):
        tiny()(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="three finite numbers"):
        Embedder("tiny", mean=(0.5, 0.5), std=HALF)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be above 0"):
        Embedder("tiny", mean=HALF, std=(0.5, 0.0, 0.5))


@pytest.mark.parametrize(
    "embedder",
    [
        tiny(pooling="gem", stripes=2, seed=4),
        Embedder("resnet18", last_stride=1, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
    ids=["tiny", "resnet18"],
)
def test_saved_embedder_comes_back(embedder: Embedder, tmp_path: Path) -> None:
    """Same specification, same bytes out, extra metadata beside it, no temporary file left."""
    path = tmp_path / "model.safetensors"
    save_embedder(path, embedder, {"method": "buc"})
    again = load_embedder(path)
    assert again.spec == embedder.spec
    assert not again.training
    batch = images(2, 3, 64, 32)
    with torch.inference_mode():
        assert torch.equal(again(batch), embedder.eval()(batch))
    assert read_metadata(path)["method"] == "buc"
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_saving_refuses_a_taken_key(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=SPEC_KEY):
        save_embedder(tmp_path / "m.safetensors", tiny(), {SPEC_KEY: "x"})
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_embedder(path)
    save_embedder(path, tiny())
    whole, state = path.read_bytes(), tiny().state_dict()
    spec = json.loads(read_metadata(path)[SPEC_KEY])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"m\.safetensors: not a safetensors file, or damaged"):
        load_embedder(path)
    save_file(state, path)
    with pytest.raises(ValueError, match="without an embedder's specification"):
        load_embedder(path)
    for change in ({"backbone": 5}, {"mean": [1]}, {"stripes": "x"}, {"new": 1}):
        save_file(state, path, metadata={SPEC_KEY: json.dumps({**spec, **change})})
        with pytest.raises(ValueError, match="specification is damaged"):
            load_embedder(path)
    save_file(state, path, metadata={SPEC_KEY: json.dumps({**spec, "backbone": "tiny:2"})})
    with pytest.raises(ValueError, match="does not fit its own specification") as caught:
        load_embedder(path)
    assert "\n" not in str(caught.value)


def test_start_batch_norm_sets_what_one_pass_shows() -> None:
    """The first layer's statistics are those of the convolution's output over all pictures."""
    embedder = tiny()
    pictures = images(24, 3, 32, 16) * 3 + 1
    weights = [p.clone() for p in embedder.parameters()]
    embedder.train()
    embedder.backbone.features[1].eval()
    flags = [m.training for m in embedder.modules()]
    start_batch_norm(embedder, pictures, 8)
    assert flags == [m.training for m in embedder.modules()]
    assert all(torch.equal(a, b) for a, b in zip(weights, embedder.parameters(), strict=True))
    first = embedder.backbone.features[1]
    assert isinstance(first, nn.BatchNorm2d)
    assert first.momentum == 0.1
    with torch.no_grad():
        out = embedder.backbone.features[0](pictures)
        per_batch = torch.stack([chunk.transpose(0, 1).flatten(1).var(1) for chunk in out.split(8)]).mean(0)
    torch.testing.assert_close(first.running_mean, out.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, per_batch, rtol=1e-4, atol=1e-5)


def test_start_batch_norm_reads_bytes_and_forgets_the_past() -> None:
    """uint8 pictures are normalised with the embedder's statistics; a second call gives the same."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (10, 3, 32, 16), generator=generator, dtype=torch.uint8)
    a, b = tiny(), tiny()
    start_batch_norm(a, frames, 4)
    start_batch_norm(b, images(5, 3, 32, 16), 5)
    start_batch_norm(b, (frames.float() / 255 - 0.5) / 0.5, 4)
    for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
        torch.testing.assert_close(x, y)


def test_start_batch_norm_messages() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        start_batch_norm(tiny(), torch.zeros(0, 3, 8, 8), 4)
    embedder = tiny()
    with pytest.raises(ValueError, match="statistics are not finite"):
        start_batch_norm(embedder, torch.full((2, 3, 8, 8), float("nan")), 4)
    assert embedder.training
    assert embedder.backbone.features[1].momentum == 0.1
