"""HHCL (Hu, Zhu, Li, Zha: Hard-sample guided hybrid contrast learning for unsupervised person re-identification, 2021).

As Cluster Contrast (`reid.methods.cluster_contrast`), with two memories: a "hard" row of each cluster follows its
hardest picture of a batch, a "mean" row follows the mean of its pictures. With w the weight of the hard one, the loss
is w CE_hard + w (1 - w) CE_mean as the authors' code computes it (`loss=published`), or w CE_hard + (1 - w) CE_mean as
its paper means it (`intended`). Memory `instances` is the paper's section 4.3: a centroid and K pictures a cluster, the
least similar picture of the own cluster against the most similar one of each other cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reid.clustering.pseudo import PseudoLabels
from reid.config import TrainConfig
from reid.methods.contrast import (
    OutlierConfig,
    classes,
    load_state,
    make_optimizer,
    plan_round,
    resolve,
    save_state,
)  # fmt: skip
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Hhcl", "HhclConfig"]


@dataclass(frozen=True)
class HhclConfig(OutlierConfig):
    """Settings of HHCL. The values in brackets are the paper's (preset `hhcl-market`)."""

    memory: Literal["hybrid", "instances"] = "hybrid"
    """A hard and a mean row a cluster (hybrid), or a centroid and K pictures a cluster (instances)."""
    loss: Literal["published", "intended"] = "published"
    """Weights of the two losses: w and w (1 - w) as published, or w and 1 - w as intended."""
    hard_weight: float = 0.5
    """Weight w of the loss against the hard rows (0.5)."""
    label_smoothing: bool = False
    """Give a tenth of the target to the most probable clusters, C // 50 of them, or to all where these are below 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("hard_weight", 0, 1)


class Hhcl:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "hhcl"
    Config: ClassVar[type[TrainConfig]] = HhclConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: HhclConfig, network: Embedder, samples: Samples) -> None:
        self.network, self.samples = network, samples
        self.config = resolve(config, len(samples), rounds=16)
        assert self.config.rounds is not None
        self.rounds = self.config.rounds
        self.pseudo = PseudoLabels(self.config, samples)
        self.optimizer = make_optimizer(self.config, network)

    @property
    def retrieval(self) -> Embedder:
        """The network itself."""
        return self.network

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Jaccard distance and DBSCAN."""
        self._features = extract(self.network)  # (N, D) unit rows
        found = self.pseudo(self._features)
        return Assignment(found.labels, found.facts, found.warnings, found.stop)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """Both memories start at the cluster means; P x K batches."""
        import torch

        from reid.memory.hhcl import HybridClusterMemory, InstanceClusterMemory

        c, which = self.config, classes(self.config, assignment.labels, self.pseudo.links.groups)
        kept, device = which >= 0, next(self.network.parameters()).device
        features, labels = torch.from_numpy(self._features[kept]), torch.from_numpy(which[kept])
        settings = {
            "temperature": c.temperature, "momentum": c.momentum, "weight": c.hard_weight,
            "smoothing": 0.1 if c.label_smoothing else 0.0,
        }  # fmt: skip
        memory: HybridClusterMemory | InstanceClusterMemory
        if c.memory == "hybrid":
            memory = HybridClusterMemory.from_means(features, labels, reading=c.loss, **settings)
        else:
            memory = InstanceClusterMemory.from_samples(features, labels, c.per_cluster, rng, **settings)
        self.memory = memory.to(device)
        self._classes = torch.from_numpy(which).to(device)
        return plan_round(c, r, which, self.samples, self.optimizer, rng)

    def step(self, batch: Batch) -> StepOutput:
        """Both losses of a batch against the memories as they were before the batch."""
        x = self.network.retrieval(batch.images)  # (B, D) unit rows
        return StepOutput(self.memory.loss(x, self._classes[batch.index]), x.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Mix the batch into its clusters' rows."""
        self.memory.update(out.embeddings, self._classes[batch.index])

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's state, and the last good labels."""
        return save_state(self.pseudo, self.optimizer)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        load_state(self.pseudo, self.optimizer, state)
