"""Training with labels: the source model that PUL starts from, and the upper bound that other methods are seen beside.

The network learns to tell the identities of the training pictures apart, by a classifier on the pooled feature (PUL's
source model, Fan et al., TOMM 2018). It is the one method here that reads all identities; logs and reports say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reid.config import TrainConfig
from reid.methods.contrast import load_optimizer, optimizer_state
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Source", "SourceConfig"]


@dataclass(frozen=True)
class SourceConfig(TrainConfig):
    """Settings of training with labels. The values in brackets are those of PUL's source model."""

    batch_size: int = 32
    """Pictures in a batch (16)."""
    epochs: int = 4
    """Passes over the pictures in a round."""
    lr: float | None = None
    """Learning rate of Adam. Default: 2e-3 from random weights, 3.5e-4 from pretrained ones (0.001 of SGD)."""
    dropout: float = 0.0
    """Dropout before the classifier (0.5)."""
    augmentation: Literal["color", "light"] | None = None
    """As for the other methods. Default: color from random weights, light from pretrained ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constraints:
            raise ValueError(f"constraints={self.constraints}: training with labels clusters nothing; leave them out")
        self._check("epochs", 1)
        self._check("lr", 0, open_low=True)
        self._check("dropout", 0, 0.95)


class Source:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "source"
    Config: ClassVar[type[TrainConfig]] = SourceConfig
    needs_pid: ClassVar[bool] = True

    def __init__(self, config: SourceConfig, network: Embedder, samples: Samples) -> None:
        import torch

        from reid.models.classifier import Classifier

        pretrained = config.weights != "none"
        self.network, self.samples = network, samples
        self.config = dataclasses.replace(
            config,
            lr=config.lr or (3.5e-4 if pretrained else 2e-3),
            augmentation=config.augmentation or ("light" if pretrained else "color"),
            rounds=config.rounds or 8,
        )
        assert self.config.rounds is not None
        self.rounds = self.config.rounds
        if (samples.pid >= 0).sum() < 2:
            raise ValueError("method source: needs pictures with identities; these data have none")
        self.labels = np.full(len(samples), -1, dtype=np.int64)
        known = samples.pid >= 0
        self.labels[known] = np.unique(samples.pid[known], return_inverse=True)[1]
        classes = int(self.labels.max()) + 1
        self.head = Classifier(network.out_features, classes, dropout=config.dropout, seed=config.seed)
        self.head.to(next(network.parameters()).device)
        parameters = [p for p in [*network.parameters(), *self.head.parameters()] if p.requires_grad]
        self.optimizer = torch.optim.Adam(parameters, lr=self.config.lr or 0.0, weight_decay=5e-4)

    @property
    def retrieval(self) -> Embedder:
        """The network; its pooled feature is searched with."""
        return self.network

    def assign(self, r: int, extract: Extract) -> Assignment:
        """The identities."""
        return Assignment(self.labels)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """Shuffled pictures; the last third of the rounds at a fifth of the learning rate."""
        from reid.data.samplers import Shuffled
        from reid.data.transforms import VIEWS

        c = self.config
        assert c.lr is not None
        lr = c.lr * (0.2 if 3 * r > 2 * self.rounds + 2 else 1.0)
        batches = Shuffled(np.flatnonzero(self.labels >= 0), c.batch_size, rng)
        views = VIEWS[c.augmentation or "light"]
        return RoundPlan(batches, c.epochs * len(batches), self.optimizer, lambda step: lr, views, c.frames)

    def step(self, batch: Batch) -> StepOutput:
        """Cross-entropy of the classifier."""
        pooled = self.network(batch.images)  # (B, D)
        return StepOutput(self.head.loss(pooled, batch.label), pooled.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Nothing: there is no memory."""

    def state_dict(self) -> dict[str, Tensor]:
        """Classifier and Adam's state."""
        head = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        return {**head, **optimizer_state(self.optimizer)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        self.head.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("head.")})
        load_optimizer(self.optimizer, state)
