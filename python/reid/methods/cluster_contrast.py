"""Cluster Contrast (Dai, Wang, Yuan, Zhu, Tan: Cluster Contrast for Unsupervised Person Re-Identification, 2021).

A round:

1. f_i = unit feature of each training picture; J = k-reciprocal Jaccard distance; labels = DBSCAN(J, eps); outliers
   are left out of this round, or are classes of one.
2. memory M, one row a cluster: the normalised mean of its features.
3. `iters` batches of P clusters x K pictures: loss of a unit feature x with cluster y = cross-entropy of the logits
   x . M_c / tau; after each step, in the batch's order, M_y <- n(m M_y + (1 - m) x) (memory `cm`), or once per cluster
   with its hardest picture, the one least like M_y (memory `cm-hard`).

Weights, Adam's state and the learning rate live on; the memory is made anew each round. Presets `cluster-contrast-*`
follow the authors' code. Where the defaults leave the paper: see `ContrastConfig`, whose brackets give the paper's
values; with pretrained weights pictures without a cluster are classes of one; the sampler never drops the rest of a
pass.
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

__all__ = ["ClusterContrast", "ClusterContrastConfig"]


@dataclass(frozen=True)
class ClusterContrastConfig(OutlierConfig):
    """Settings of Cluster Contrast. The values in brackets are the paper's (preset `cluster-contrast-market`)."""

    memory: Literal["cm", "cm-hard"] = "cm"
    """What a row is mixed with: every picture of its cluster in the batch (cm), or the hardest one (cm-hard)."""


class ClusterContrast:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "cluster-contrast"
    Config: ClassVar[type[TrainConfig]] = ClusterContrastConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: ClusterContrastConfig, network: Embedder, samples: Samples) -> None:
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
        """A memory of cluster means; P x K batches."""
        import torch

        from reid.memory.cluster import ClusterMemory

        c, labels = self.config, classes(self.config, assignment.labels, self.pseudo.links.groups)
        kept, device = labels >= 0, next(self.network.parameters()).device
        self.memory = ClusterMemory.from_means(
            torch.from_numpy(self._features[kept]), torch.from_numpy(labels[kept]),
            temperature=c.temperature, momentum=c.momentum, hard=c.memory == "cm-hard",
        ).to(device)  # fmt: skip
        self._classes = torch.from_numpy(labels).to(device)
        return plan_round(c, r, labels, self.samples, self.optimizer, rng)

    def step(self, batch: Batch) -> StepOutput:
        """Cross-entropy of a batch against the memory as it was before the batch."""
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
