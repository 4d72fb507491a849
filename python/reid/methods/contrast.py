"""What the contrastive methods share: settings, optimiser, learning rate, batches (Cluster Contrast's sections 2-6).

A round clusters once and then takes `iters` steps of P x K batches. Weights, Adam's state and the learning rate live
on from round to round; memories are made anew.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from reid.clustering.pseudo import GraphConfig, Labels, PseudoLabels
from reid.methods.protocol import RoundPlan
from reid.methods.schedules import step_lr

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from reid.data.records import Samples
    from reid.data.transforms import Augment

__all__ = [
    "ContrastConfig", "OutlierConfig", "classes", "load_optimizer", "load_state", "make_optimizer", "optimizer_state",
    "plan_round", "resolve", "save_state",
]  # fmt: skip


@dataclass(frozen=True)
class ContrastConfig(GraphConfig):
    """Settings that the contrastive methods share. The values in brackets are the papers'."""

    batch_size: int = 64
    """Pictures in a batch, P x K (256)."""
    per_cluster: int = 4
    """Pictures of a cluster in a batch, K (16)."""
    camera_batches: bool = True
    """Of a cluster with several cameras, take partners from other cameras than the first picture's. Uses camera ids."""
    iters: int | None = None
    """Steps of a round (200 or 400). Default: so many that a round sees as many pictures as there are, from random
    weights twice as many; at least 12."""
    temperature: float | None = None
    """Temperature tau of the softmax (0.05). Default: 0.1 from random weights, 0.05 from pretrained ones."""
    momentum: float | None = None
    """Weight of the old row when a memory row is mixed with new features (0.1). Default: 0.8 from random weights, 0.2
    from pretrained ones."""
    lr: float | None = None
    """Learning rate of Adam (3.5e-4). Default: 2e-3 from random weights, 3.5e-4 from pretrained ones."""
    weight_decay: float = 5e-4
    """Weight decay of Adam, added to the gradient (5e-4)."""
    lr_step: int | None = None
    """Rounds after which the learning rate is multiplied by lr_gamma, again and again (20). Default: once, after 70 %
    of the rounds."""
    lr_gamma: float = 0.2
    """Factor on the learning rate (0.1)."""
    augmentation: Literal["color", "light", "paper"] | None = None
    """paper: flip, 10 black pixels around and a random crop, erasing; light: small shifts and zooms, flip, erasing;
    color: also gain, saturation, gamma, blur and noise. Default: color from random weights, paper from pretrained
    ones (light lets them overfit small sets)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("per_cluster", "iters", "lr_step"):
            self._check(name, 1)
        for name in ("temperature", "lr"):
            self._check(name, 0, open_low=True)
        self._check("weight_decay", 0)
        self._check("lr_gamma", 0, 1, open_low=True)
        self._check("momentum", 0, 0.999)

    @property
    def uses_cameras(self) -> bool:
        """Whether a run reads camera ids."""
        return super().uses_cameras or self.camera_batches


@dataclass(frozen=True)
class OutlierConfig(ContrastConfig):
    """Settings of methods whose memory has a row a cluster. The values in brackets are the papers'."""

    outliers: Literal["drop", "single"] | None = None
    """Pictures without a cluster: left out of the round (drop), or each a class of its own, which the others are told
    apart from (single, as SpCL). Default: drop, with pretrained weights single."""


Config = TypeVar("Config", bound=ContrastConfig)


def resolve(config: Config, n: int, rounds: int) -> Config:
    """Fill in what is automatic, for `n` samples and a method whose own schedule has `rounds` rounds."""
    pretrained = config.weights != "none"
    total = config.rounds or rounds
    automatic: dict[str, float | int | str] = {
        "k1": 8 if pretrained else 20,
        "k2": 3 if pretrained else 6,
        "min_samples": 2 if pretrained else 4,
        "iters": max(12, math.ceil((1 if pretrained else 2) * n / config.batch_size)),
        "temperature": 0.05 if pretrained else 0.1,
        "momentum": 0.2 if pretrained else 0.8,
        "lr": 3.5e-4 if pretrained else 2e-3,
        "lr_step": math.ceil(0.7 * total),
        "augmentation": "paper" if pretrained else "color",
        "rounds": total,
    }
    if isinstance(config, OutlierConfig):
        automatic["outliers"] = "single" if pretrained else "drop"
    missing = {name: value for name, value in automatic.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)  # type: ignore[arg-type]


def classes(config: OutlierConfig, labels: Labels, groups: Labels) -> Labels:
    """What is trained on: clusters, and behind them the outliers as classes of one where they are to be.

    Outliers of one must-group (`Links.groups`) share a class: they are no negatives of each other.
    """
    if config.outliers != "single":
        return labels
    alone = labels < 0
    result = labels.copy()
    result[alone] = labels.max(initial=-1) + 1 + np.unique(groups[alone], return_inverse=True)[1]
    return result


def make_optimizer(config: ContrastConfig, network: nn.Module) -> torch.optim.Adam:
    """Adam over everything that trains."""
    import torch

    parameters = [p for p in network.parameters() if p.requires_grad]
    return torch.optim.Adam(parameters, lr=config.lr or 0.0, weight_decay=config.weight_decay)


def plan_round(
    config: ContrastConfig,
    r: int,
    labels: Labels,
    samples: Samples,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    warmup: int = 0,
) -> RoundPlan:
    """Camera-aware P x K batches over the labelled samples, `iters` steps, the learning rate of round `r`.

    Over `warmup` rounds it rises to its value.
    """
    from reid.data.samplers import ClusterBatches

    camid = samples.camid if config.camera_batches else None
    batches = ClusterBatches(labels, config.batch_size, config.per_cluster, rng, camid)
    assert config.iters is not None
    assert config.lr is not None
    assert config.lr_step is not None
    lr = step_lr(r - 1, config.lr, step=config.lr_step, gamma=config.lr_gamma, warmup=warmup)
    return RoundPlan(batches, config.iters, optimizer, lambda step: lr, augment(config), config.frames)


def augment(config: ContrastConfig) -> Augment:
    """The views that `augmentation` names."""
    from reid.data.transforms import VIEWS, Augment

    paper = Augment(area=(1.0, 1.0), ratio=None, pad=10, erase=0.5, erase_area=(0.02, 0.4))
    return {"paper": paper, **VIEWS}[config.augmentation or "paper"]


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as flat tensors, for a checkpoint; empty before its first step."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Take up what `optimizer_state` gave."""
    values: dict[int, dict[str, Tensor]] = {}
    for key, value in state.items():
        if key.startswith("optimizer."):
            _, i, name = key.split(".", 2)
            values.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})


def save_state(pseudo: PseudoLabels, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state and that of the pseudo labels, for a checkpoint."""
    import torch

    labels = {f"pseudo.{name}": torch.from_numpy(values) for name, values in pseudo.state().items()}
    return {**labels, **optimizer_state(optimizer)}


def load_state(pseudo: PseudoLabels, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Take up what `save_state` gave."""
    pseudo.restore({name[7:]: v.cpu().numpy() for name, v in state.items() if name.startswith("pseudo.")})
    load_optimizer(optimizer, state)
