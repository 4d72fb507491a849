from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reid.models.embedder import Embedder, load_embedder, save_embedder, start_neck
from reid.models.neck import EmbeddingHead

HALF = (0.5, 0.5, 0.5)


def _embedder(**more: object) -> Embedder:
    return Embedder("tiny:0.25", mean=HALF, std=HALF, **more)  # type: ignore[arg-type]


def test_neck_started_from_data_standardises_and_keeps_constant_channels_small() -> None:
    torch.manual_seed(0)
    embedder = _embedder(neck="bn").eval()
    spread = torch.rand(embedder.out_features) * 3
    spread[5] = 1e-4
    pooled = torch.randn(500, embedder.out_features) * spread + 7
    start_neck(embedder, pooled)
    out = embedder.neck(pooled)
    variance = spread.square()
    expected = (variance / (variance + 0.1 * pooled.var(dim=0).mean())).sqrt()
    assert torch.allclose(out.mean(dim=0), torch.zeros(()), atol=1e-3)
    assert torch.allclose(out.std(dim=0)[spread > 0.3], expected[spread > 0.3], rtol=0.1)
    assert out.std(dim=0)[5] < 0.01


def test_neck_is_saved_and_its_bias_stays_zero(tmp_path: Path) -> None:
    embedder = _embedder(neck="bn")
    start_neck(embedder, torch.randn(50, embedder.out_features))
    images = torch.randn(4, 3, 32, 16)
    optimizer = torch.optim.SGD([p for p in embedder.parameters() if p.requires_grad], lr=0.1)
    embedder(images).square().sum().backward()
    optimizer.step()
    assert not embedder.neck.bias.any()
    save_embedder(tmp_path / "m.safetensors", embedder)
    loaded = load_embedder(tmp_path / "m.safetensors").eval()
    assert loaded.spec.neck == "bn"
    assert torch.equal(loaded(images), embedder.eval()(images))


def test_frozen_stages_do_not_change() -> None:
    embedder = _embedder()
    embedder.freeze(3)  # convolution, batch norm, ReLU
    embedder.train()
    first, second = embedder.backbone.stages()[1], embedder.backbone.stages()[4]
    assert not first.training
    assert second.training
    before = {k: v.clone() for k, v in embedder.state_dict().items()}
    parameters = [p for p in embedder.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    embedder(torch.randn(8, 3, 32, 16)).square().sum().backward()
    optimizer.step()
    for key, value in embedder.state_dict().items():
        frozen = key.startswith(("backbone.features.0.", "backbone.features.1."))
        if frozen or value.is_floating_point():
            assert torch.equal(value, before[key]) == frozen, key


def test_too_many_frozen_stages() -> None:
    with pytest.raises(ValueError, match="freeze=99: must be 0 to"):
        _embedder().freeze(99)
    resnet = Embedder("resnet18", mean=HALF, std=HALF)
    resnet.freeze(3)
    frozen = {name.split(".")[1] for name, p in resnet.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}


def test_head_without_a_layer_is_the_unit_feature() -> None:
    head = EmbeddingHead(6, 0, 0.0)
    pooled = torch.randn(5, 6)
    assert head.embedding_dim == 6
    assert not list(head.parameters())
    assert torch.allclose(head(pooled), torch.nn.functional.normalize(pooled))
    head.start(pooled)  # nothing to start


def test_head_started_from_data_agrees_with_training_batches() -> None:
    torch.manual_seed(1)
    head, pooled = EmbeddingHead(6, 4, 0.0), torch.randn(400, 6) * 5 + 2
    training = head.train()(pooled)
    head = EmbeddingHead(6, 4, 0.0)
    head.start(pooled)
    assert torch.allclose(head.eval()(pooled), training, atol=1e-3)
