"""Backbones, pooling and head: shapes, torchvision's names, goldens, messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from reid.models.backbones import BACKBONES, build_backbone
from reid.models.neck import EmbeddingHead
from reid.models.pooling import Pooling

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize(
    ("name", "channels", "height", "width"),
    [
        ("tiny", 192, 8, 4),
        ("tiny:2", 384, 8, 4),
        ("resnet18", 512, 2, 1),
        ("mobilenet_v2", 1280, 2, 1),
        ("mobilenet_v2:0.35", 1280, 2, 1),
        ("mobilenet_v2:1.4", 1792, 2, 1),
    ],
)
def test_map_shape(name: str, channels: int, height: int, width: int) -> None:
    backbone = build_backbone(name).eval()
    with torch.inference_mode():
        out = backbone(torch.zeros(1, 3, 64, 32))
    assert out.shape == (1, backbone.out_channels, height, width)
    assert backbone.out_channels == channels


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_last_stride_one_doubles_the_map(name: str) -> None:
    """Same parameters, a map of twice the height and width."""
    one, two = build_backbone(name, last_stride=1).eval(), build_backbone(name).eval()
    with torch.inference_mode():
        assert one(torch.zeros(1, 3, 64, 32)).shape[2:] == (4, 2)
        assert two(torch.zeros(1, 3, 64, 32)).shape[2:] == (2, 1)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_names_and_map_are_torchvisions(name: str) -> None:
    """A torchvision state dict without its classifier fits by name, and the map is what torchvision pools."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reference = getattr(torchvision.models, name)(weights=None).eval()
    ours = build_backbone(name).eval()
    state = {k: v for k, v in reference.state_dict().items() if not k.startswith(("fc.", "classifier."))}
    ours.load_state_dict(state)
    images = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        pooled = ours(images).mean((2, 3))
        head = reference.fc if name.startswith("resnet") else reference.classifier
        torch.testing.assert_close(head(pooled), reference(images), rtol=1e-4, atol=1e-5)


def test_tiny_has_022_million_parameters() -> None:
    assert sum(p.numel() for p in build_backbone("tiny").parameters()) == 220_248


def test_seed_decides_the_weights_and_global_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    a, b, c = (build_backbone("tiny", seed=s).features[0].weight for s in (1, 1, 2))
    h = [EmbeddingHead(4, 4, seed=s).linear.weight for s in (1, 1, 2)]
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(h[0], h[1])
    assert not torch.equal(h[0], h[2])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet5", 2, "did you mean 'resnet50'"),
        ("mobilenet", 2, "did you mean 'mobilenet_v2'"),
        ("vit", 2, ", ".join(BACKBONES)),
        ("mobilenet_v2:x", 2, "the width must be a number"),
        ("mobilenet_v2:nan", 2, "the width must be a number"),
        ("tiny:0", 2, "the width must be a number"),
        ("resnet18:2", 2, "resnet18 has no width"),
        ("tiny", 1, "only resnets have it"),
        ("resnet18", 3, "last_stride=3"),
    ],
)
def test_bad_names(name: str, stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(name, last_stride=stride)


def test_stripes_are_means_of_equal_parts_from_top_to_bottom() -> None:
    maps = torch.arange(2 * 3 * 8 * 4, dtype=torch.float32).reshape(2, 3, 8, 4)
    out = Pooling("avg", stripes=4)(maps).reshape(2, 3, 4)
    torch.testing.assert_close(out, maps.reshape(2, 3, 4, 2 * 4).mean(-1))
    torch.testing.assert_close(Pooling()(maps), maps.mean((2, 3)))


def test_gem_golden() -> None:
    """Forward, both gradients, and another exponent, against the published pooling layer."""
    golden = np.load(GOLDEN / "ccc_gem.npz")
    pooling = Pooling("gem", p=float(golden["p"]))
    x = torch.from_numpy(golden["x"]).requires_grad_()
    out = pooling(x)
    out.backward(torch.from_numpy(golden["grad_out"]).flatten(1))
    np.testing.assert_allclose(out.detach(), golden["out"][:, :, 0, 0], atol=1e-6, rtol=0)
    np.testing.assert_allclose(x.grad, golden["grad_x"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(pooling.p.grad, golden["grad_p"], atol=1e-6, rtol=1e-5)
    out = Pooling("gem", p=4.2)(x)
    np.testing.assert_allclose(out.detach(), golden["out_p42"][:, :, 0, 0], atol=1e-6, rtol=0)


def test_gem_of_dead_channels_stays_finite_under_autocast() -> None:
    maps = torch.zeros(1, 2, 4, 4, requires_grad=True)
    pooling = Pooling("gem", stripes=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = pooling(maps)
    out.sum().backward()
    torch.testing.assert_close(out, torch.full((1, 4), 1e-6))
    assert bool(torch.isfinite(pooling.p.grad).all())


def test_pooling_messages() -> None:
    with pytest.raises(ValueError, match="must be 'avg' or 'gem'"):
        Pooling("max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stripes=0"):
        Pooling(stripes=0)
    with pytest.raises(ValueError, match="only 2 rows high"):
        Pooling(stripes=4)(torch.zeros(1, 1, 2, 2))


def test_head_golden() -> None:
    """Evaluation, training without dropout, and the running statistics of the original head."""
    golden = {name: torch.from_numpy(values) for name, values in np.load(GOLDEN / "buc_head.npz").items()}
    head = EmbeddingHead(48, 32, dropout=0.0)
    head.load_state_dict(
        {
            "linear.weight": golden["embeding_weight"],
            "linear.bias": golden["embeding_bias"],
            "bn.weight": golden["embeding_bn_weight"],
            "bn.bias": golden["embeding_bn_bias"],
            "bn.running_mean": golden["embeding_bn_running_mean"],
            "bn.running_var": golden["embeding_bn_running_var"],
            "bn.num_batches_tracked": golden["embeding_bn_num_batches_tracked"],
        }
    )
    pooled = golden["frames"].mean(1)
    with torch.no_grad():
        torch.testing.assert_close(head.eval()(pooled), golden["eval_embedding"], atol=1e-6, rtol=0)
        torch.testing.assert_close(head.train()(pooled), golden["train_embedding_nodrop"], atol=2e-6, rtol=0)
    torch.testing.assert_close(head.bn.running_mean, golden["bn_running_mean_after"], atol=1e-6, rtol=0)
    torch.testing.assert_close(head.bn.running_var, golden["bn_running_var_after"], atol=1e-6, rtol=0)
    retrieval = torch.nn.functional.normalize(pooled, dim=1)
    torch.testing.assert_close(retrieval, golden["retrieval_feature"], atol=1e-6, rtol=0)


def test_head_drops_half_and_doubles_the_rest() -> None:
    head = EmbeddingHead(8, 4000)
    pooled = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        kept, dropped = head.embed(pooled), head(pooled)
    torch.testing.assert_close(kept.norm(dim=1), torch.ones(6))
    alive = dropped != 0
    assert 0.45 < alive.float().mean() < 0.55
    torch.testing.assert_close(dropped[alive], 2 * kept[alive])
    assert head.linear.weight.std().item() == pytest.approx((2 / 4000) ** 0.5, rel=0.05)
    assert not head.linear.bias.any()


def test_ibn_a_normalises_half_of_the_channels_of_the_first_three_layers() -> None:
    network = build_backbone("resnet50_ibn_a", last_stride=1)
    names = set(network.state_dict())
    assert {"layer1.0.bn1.IN.weight", "layer3.5.bn1.BN.running_mean", "layer4.0.bn1.weight"} <= names
    assert "layer1.0.bn2.IN.weight" not in names
    block = network.layer1[0].bn1.train()
    x = torch.randn(4, 64, 6, 5)
    out = block(x)
    first = x[:, :32]
    alone = (first - first.mean((2, 3), keepdim=True)) / (first.var((2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(out[:, :32], alone, atol=1e-5)
    rest = x[:, 32:]
    batch = (rest - rest.mean((0, 2, 3), keepdim=True)) / (
        rest.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5
    ).sqrt()
    assert torch.allclose(out[:, 32:], batch, atol=1e-5)
