"""Extraction: order, frames, batches, flags, messages."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data.pictures import Pictures
from reid.data.records import Samples
from reid.features import extract
from reid.models.embedder import Embedder, start_batch_norm
from reid.models.neck import EmbeddingHead

HALF = (0.5, 0.5, 0.5)
COUNTS = (1, 3, 1, 11, 2)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    generator = torch.Generator().manual_seed(7)
    frames = torch.randint(0, 256, (sum(COUNTS), 3, 32, 16), generator=generator, dtype=torch.uint8)
    return Pictures(frames, np.concatenate([[0], np.cumsum(COUNTS)]).astype(np.int64))


@pytest.fixture
def embedder(pictures: Pictures) -> Embedder:
    network = Embedder("tiny", pooling="gem", stripes=2, mean=HALF, std=HALF, seed=1)
    start_batch_norm(network, pictures.frames)
    return network


def by_hand(embedder: Embedder, pictures: Pictures) -> np.ndarray:
    embedder.eval()
    rows = []
    with torch.inference_mode():
        for start, end in zip(pictures.first[:-1], pictures.first[1:], strict=True):
            frames = (pictures.frames[start:end].float() / 255 - 0.5) / 0.5
            rows.append(torch.stack([embedder(frame[None])[0] for frame in frames]).mean(0))
    embedder.train()
    return torch.stack(rows).numpy()


def test_rows_are_means_over_frames_in_order(embedder: Embedder, pictures: Pictures) -> None:
    expected = by_hand(embedder, pictures)
    raw = extract(embedder, pictures, normalize=False)
    assert raw.dtype == np.float32
    assert raw.shape == (len(COUNTS), embedder.out_features)
    np.testing.assert_allclose(raw, expected, rtol=1e-4, atol=1e-5)
    unit = extract(embedder, pictures)
    np.testing.assert_allclose(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 18])
def test_batches_do_not_matter(embedder: Embedder, pictures: Pictures, batch_size: int) -> None:
    """Batches that cut through a sample of eleven frames give the same rows."""
    whole = extract(embedder, pictures, batch_size=256)
    np.testing.assert_allclose(extract(embedder, pictures, batch_size=batch_size), whole, atol=2e-6)


def test_flip_is_the_mean_of_picture_and_mirror(embedder: Embedder, pictures: Pictures) -> None:
    mirrored = Pictures(pictures.frames.flip(-1), pictures.first)
    both = [extract(embedder, frames, normalize=False) for frames in (pictures, mirrored)]
    found = extract(embedder, pictures, normalize=False, flip=True)
    np.testing.assert_allclose(found, (both[0] + both[1]) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(extract(embedder, mirrored, normalize=False, flip=True), found, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, both[0], rtol=1e-3)


def test_embedding_is_the_head_on_the_mean(embedder: Embedder, pictures: Pictures) -> None:
    head = EmbeddingHead(embedder.out_features, 16)
    out = extract(embedder, pictures, feature="embedding", head=head, batch_size=2)
    pooled = torch.from_numpy(extract(embedder, pictures, normalize=False))
    with torch.inference_mode():
        np.testing.assert_allclose(out, head.eval().embed(pooled), atol=1e-5)
    with pytest.raises(ValueError, match="needs head="):
        extract(embedder, pictures, feature="embedding")


def test_the_networks_are_left_as_they_were(embedder: Embedder, pictures: Pictures) -> None:
    """Flags, weights, statistics, memory layout, gradients and the random state."""
    head = EmbeddingHead(embedder.out_features, 16)
    embedder.train()
    embedder.backbone.features[1].eval()
    modules = [*embedder.modules(), *head.modules()]
    flags = [m.training for m in modules]
    before = {name: tensor.clone() for name, tensor in embedder.state_dict().items()}
    strides = [p.stride() for p in embedder.parameters()]
    state = torch.get_rng_state()
    extract(embedder, pictures, feature="embedding", head=head)
    assert flags == [m.training for m in modules]
    assert all(torch.equal(tensor, before[name]) for name, tensor in embedder.state_dict().items())
    assert strides == [p.stride() for p in embedder.parameters()]
    assert all(p.requires_grad and p.grad is None for p in embedder.parameters())
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(extract(embedder, pictures), extract(embedder, pictures))


def test_flags_come_back_after_an_error(embedder: Embedder, pictures: Pictures) -> None:
    embedder.train()
    with torch.no_grad():
        embedder.backbone.features[0].weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="sample row 0 is not finite"):
        extract(embedder, pictures)
    assert all(m.training for m in embedder.modules())


def test_the_bad_row_is_named(embedder: Embedder, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    original = embedder.forward

    def broken(images: torch.Tensor) -> torch.Tensor:
        out = original(images)
        out[6] = float("nan")  # frame 6 belongs to sample 3
        return out

    monkeypatch.setattr(embedder, "forward", broken)
    with pytest.raises(ValueError, match="sample row 3 is not finite"):
        extract(embedder, pictures)


def test_amp_is_close_and_float32(embedder: Embedder, pictures: Pictures) -> None:
    low = extract(embedder, pictures, amp="bf16")
    assert low.dtype == np.float32
    cosine = (low * extract(embedder, pictures)).sum(1)
    assert 0.99 < cosine.min() < 1.001


def test_progress_counts_frames(embedder: Embedder, pictures: Pictures) -> None:
    calls: list[tuple[int, int, str]] = []
    extract(embedder, pictures, batch_size=8, progress=lambda *call: calls.append(call))
    assert calls == [(8, 18, "features"), (16, 18, "features"), (18, 18, "features")]


def test_a_long_tracklet_takes_the_memory_of_a_few_chunks(embedder: Embedder, tmp_path: Path) -> None:
    """2,000 frames of 32 x 16 pixels are 3.1 MB; of them at most three chunks of 50 are in memory."""
    paths = [str(tmp_path / f"{i}.png") for i in range(20)]
    rng = np.random.default_rng(0)
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 16, 3), dtype=np.uint8)).save(path)
    unknown, never = np.array([-1]), np.array([np.nan])
    long = Samples((tuple(paths * 100),), unknown, unknown, unknown, never, never)
    held = extract(embedder, Pictures.load(long, 32, 16), batch_size=50)
    lazy = Pictures.load(long, 32, 16, memory_limit=0)
    tracemalloc.start()
    try:
        found = extract(embedder, lazy, batch_size=50)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(found, held)
    assert peak < 1_000_000


def test_no_samples_and_bad_arguments(embedder: Embedder, pictures: Pictures) -> None:
    none = Pictures(pictures.frames[:0], np.zeros(1, dtype=np.int64))
    head = EmbeddingHead(embedder.out_features, 16)
    assert extract(embedder, none).shape == (0, embedder.out_features)
    assert extract(embedder, none, feature="embedding", head=head).shape == (0, 16)
    with pytest.raises(ValueError, match="sample row 1 has no frames"):
        extract(embedder, Pictures(pictures.frames[:2], np.array([0, 1, 1, 2])))
    for options, message in (
        ({"batch_size": 0}, "batch_size=0"),
        ({"amp": "fp8"}, "amp='fp8'"),
        ({"feature": "neck"}, "feature='neck'"),
    ):
        with pytest.raises(ValueError, match=message):
            extract(embedder, pictures, **options)
