"""Backbones: pictures in, a map of features out.

The networks keep torchvision's parameter names (``conv1``, ``layer1``, ..., ``features.0``, ...), so that
state dicts made for torchvision load unchanged; the classifier is left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

RESNETS = {
    "resnet18": torchvision_models.resnet18,
    "resnet34": torchvision_models.resnet34,
    "resnet50": torchvision_models.resnet50,
    "resnet101": torchvision_models.resnet101,
    "resnet50_ibn_a": torchvision_models.resnet50,
    "resnet101_ibn_a": torchvision_models.resnet101,
}
BACKBONES: tuple[str, ...] = ("tiny", *RESNETS, "mobilenet_v2")
"""Names `build_backbone` knows. "tiny" and "mobilenet_v2" take a width after a colon: "mobilenet_v2:0.35"."""

MOBILENET_CHANNELS = 1280


@contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` inside the block and leave the global random state as it was.

    Parameters
    ----------
    seed : int
        Seed of the CPU generator inside the block. Networks are built on the CPU and moved afterwards.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def parse_backbone(name: str) -> tuple[str, float]:
    """Split a backbone's name into its family and its width multiplier.

    Parameters
    ----------
    name : str
        One of `BACKBONES`; "tiny" and "mobilenet_v2" may carry a width, as in "mobilenet_v2:0.35".

    Returns
    -------
    family : str
        One of `BACKBONES`.
    width : float
        Multiplier of the channel counts, 1.0 when none was given.

    Raises
    ------
    ValueError
        If the name is unknown, the width is not a number in (0, 10], or the family has no width.
    """
    family, colon, text = name.partition(":")
    if family not in BACKBONES:
        near = difflib.get_close_matches(family, BACKBONES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"backbone={name!r} is unknown: {hint}use one of {', '.join(BACKBONES)}")
    if not colon:
        return family, 1.0
    if family not in ("tiny", "mobilenet_v2"):
        raise ValueError(f"backbone={name!r}: {family} has no width, write {family!r}")
    try:
        width = float(text)
    except ValueError:
        width = 0.0
    if not 0.0 < width <= 10.0:
        raise ValueError(f"backbone={name!r}: the width must be a number above 0 and at most 10, as in '{family}:0.5'")
    return family, width


class ResNetMap(nn.Module):
    """A torchvision ResNet without pooling and classifier.

    Parameters
    ----------
    network : torchvision.models.ResNet
        The network whose layers are taken over.
    last_stride : int
        Stride of ``layer4``: 2 as in torchvision, 1 for a map of twice the height and width.
    """

    def __init__(self, network: torchvision_models.ResNet, last_stride: int) -> None:
        super().__init__()
        self.conv1 = network.conv1
        self.bn1 = network.bn1
        self.relu = network.relu
        self.maxpool = network.maxpool
        self.layer1 = network.layer1
        self.layer2 = network.layer2
        self.layer3 = network.layer3
        self.layer4 = network.layer4
        self.out_channels: int = network.fc.in_features
        if last_stride == 1:
            for layer in self.layer4[0].modules():
                if isinstance(layer, nn.Conv2d):
                    layer.stride = (1, 1)

    def stages(self) -> list[nn.Module]:
        """Stem, layer1, layer2, layer3, layer4."""
        return [nn.Sequential(self.conv1, self.bn1), self.layer1, self.layer2, self.layer3, self.layer4]

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, C, ceil(H / 32), ceil(W / 32)), or / 16 with ``last_stride=1``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        out: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return out


class InstanceBatchNorm(nn.Module):
    """Instance norm (with weights) on the first half of the channels, batch norm on the others.

    The parameter names, ``IN`` and ``BN``, are those of the published weights.

    Parameters
    ----------
    channels : int
        Number of channels C.

    References
    ----------
    Pan, Luo, Shi, Tang: Two at once: enhancing learning and generalization capacities via IBN-Net, ECCV 2018.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split_at = channels // 2
        self.IN = nn.InstanceNorm2d(self.split_at, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split_at)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        first, rest = x.split([self.split_at, x.shape[1] - self.split_at], dim=1)
        return torch.cat([self.IN(first), self.BN(rest)], dim=1)


def _with_instance_norm(network: torchvision_models.ResNet) -> torchvision_models.ResNet:
    """IBN-a: the first normalisation of every bottleneck of layers 1 to 3 is an `InstanceBatchNorm`."""
    for layer in (network.layer1, network.layer2, network.layer3):
        for block in layer:
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
    return network


class SequentialMap(nn.Module):
    """A backbone that is one chain of layers named ``features``, as torchvision's MobileNetV2.

    Parameters
    ----------
    features : nn.Sequential
        The layers.
    out_channels : int
        Channels of the last one.
    """

    def __init__(self, features: nn.Sequential, out_channels: int) -> None:
        super().__init__()
        self.features = features
        self.out_channels = out_channels

    def stages(self) -> list[nn.Module]:
        """The layers of the chain, first to last."""
        return list(self.features)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, C, h, w)."""
        out: Tensor = self.features(images)
        return out


def _tiny(width: float) -> SequentialMap:
    channels = [max(1, round(width * c)) for c in (24, 48, 96, 192)]
    layers: list[nn.Module] = []
    previous = 3
    for i, (current, kernel, stride) in enumerate(zip(channels, (5, 3, 3, 3), (2, 1, 1, 1), strict=True)):
        if i >= 2:
            layers.append(nn.MaxPool2d(2))
        layers += [
            nn.Conv2d(previous, current, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(current),
            nn.ReLU(inplace=True),
        ]
        previous = current
    return SequentialMap(nn.Sequential(*layers), previous)


def build_backbone(name: str, *, last_stride: int = 2, seed: int = 0) -> ResNetMap | SequentialMap:
    """Build a backbone with random weights.

    Parameters
    ----------
    name : str
        One of `BACKBONES`. "tiny" (0.22 M parameters, total stride 8) is for demonstrations; "mobilenet_v2" and the
        resnets are torchvision's (total stride 32), those with "_ibn_a" have instance norms as well. "tiny:2" and
        "mobilenet_v2:0.35" scale the channels.
    last_stride : int, default 2
        Stride of the last stage, 1 or 2; 1 only for the resnets.
    seed : int, default 0
        Seed of the weights. The global random state is not touched.

    Returns
    -------
    nn.Module
        ``forward`` maps (B, 3, H, W) to (B, C, h, w); the attribute ``out_channels`` is C.

    Raises
    ------
    ValueError
        For an unknown name (the nearest one is suggested) or a stride the network does not have.
    """
    family, width = parse_backbone(name)
    if last_stride not in (1, 2):
        raise ValueError(f"last_stride={last_stride!r}: must be 1 or 2")
    if last_stride == 1 and not family.startswith("resnet"):
        raise ValueError(f"last_stride=1: only resnets have it, leave it at 2 for backbone={name!r}")
    with seeded_init(seed):
        if family == "tiny":
            return _tiny(width)
        if family == "mobilenet_v2":
            features = torchvision_models.mobilenet_v2(weights=None, width_mult=width).features
            return SequentialMap(features, max(MOBILENET_CHANNELS, features[-1].out_channels))
        network = RESNETS[family](weights=None)
        return ResNetMap(_with_instance_norm(network) if family.endswith("_ibn_a") else network, last_stride)
