"""CDSM (Cluster-aware Diversity Samples Mining, SMC 2022).

As Cluster Contrast (`reid.methods.cluster_contrast`), with a mean teacher and a memory that keeps the breadth of a
cluster:

1. teacher features f; Jaccard distance; DBSCAN at eps, eps - gap and eps + gap; outliers are left
   out, or are classes of one.
2. memory of a cluster: a central row, the mean of its core samples, and M marginal rows, means of M parts of them.
3. loss of a student feature x: (1 - w) cross-entropy against the central rows + w cross-entropy against the marginal
   ones (mean over the own, the nearest of each other cluster).
4. after each step, with the teacher's features of the same pictures: of each cluster in the batch, pictures that are
   far from each other ("diversity samples", which must pass a test of reliability) are mixed into marginal rows, the
   medoid into the central one. The teacher follows the student by an exponential moving average.

The teacher is what is evaluated and saved. Presets `cdsm-*` follow the authors' code, its index bug
(`legacy_index`) included. `memory` chooses the banks that the paper compares with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from reid.clustering.pseudo import PseudoLabels
from reid.clustering.reliability import diversity_scores
from reid.config import TrainConfig
from reid.methods.contrast import (
    OutlierConfig,
    classes,
    load_state,
    make_optimizer,
    plan_round,
    resolve,
    save_state,
)
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Cdsm", "CdsmConfig"]


@dataclass(frozen=True)
class CdsmConfig(OutlierConfig):
    """Settings of CDSM. The values in brackets are the paper's (preset `cdsm-market`)."""

    memory: Literal["diversity", "diversity-all", "slots", "hybrid", "instances", "cm", "cm-hard"] = "diversity"
    """diversity: central and marginal rows; diversity-all: without the test of reliability; slots: M rows, each a bank;
    hybrid, instances: HHCL's; cm, cm-hard: Cluster Contrast's. All are fed by the teacher."""
    n_marginal: int = 4
    """Marginal rows M of a cluster (4)."""
    hard_weight: float = 0.5
    """Weight w of the loss against the marginal (or hard) rows (0.5)."""
    eps_gap: float = 0.02
    """How much smaller and larger the eps of the two clusterings is that reliability is measured with (0.02)."""
    legacy_index: bool = False
    """Look reliability up at another picture's place, as the published code does."""
    label_smoothing: bool = False
    """Give a tenth of the target to all clusters."""
    teacher_momentum: float = 0.999
    """Largest weight of the old teacher in its update (0.999)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("n_marginal", 1)
        self._check("hard_weight", 0, 1)
        self._check("teacher_momentum", 0, 0.99999)
        self._check("eps_gap", 0, open_low=True)
        self._check_gap(self.eps_gap)


class Cdsm:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "cdsm"
    Config: ClassVar[type[TrainConfig]] = CdsmConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: CdsmConfig, network: Embedder, samples: Samples) -> None:
        self.network, self.samples = network, samples
        self.config = resolve(config, len(samples), rounds=16)
        assert self.config.rounds is not None
        self.rounds = self.config.rounds
        self.pseudo = PseudoLabels(self.config, samples)
        self.optimizer = make_optimizer(self.config, network)
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.updates = 0

    @property
    def retrieval(self) -> Embedder:
        """The teacher."""
        return self.teacher

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Three DBSCANs on the teacher's features, and the scores of reliability."""
        c = self.config
        self._features = extract(self.teacher)  # (N, D) unit rows
        found, tight, loose, self._core = self.pseudo.nested(self._features, c.eps_gap)
        scores = diversity_scores(found.labels, tight, loose)
        self._reliable = scores.reliable(found.labels, legacy_index=c.legacy_index)  # (N,)
        return Assignment(found.labels, found.facts, found.warnings, found.stop)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """The memory of the clusters' core samples; P x K batches."""
        import torch

        self.teacher.train()
        labels, alone = classes(self.config, assignment.labels, self.pseudo.links.groups), assignment.labels < 0
        device = next(self.network.parameters()).device
        self.memory = self._memory(labels, self._core | alone, rng).to(device)
        self._trusted = torch.from_numpy(self._reliable | alone).to(device)
        self._classes = torch.from_numpy(labels).to(device)
        return plan_round(self.config, r, labels, self.samples, self.optimizer, rng)

    def step(self, batch: Batch) -> StepOutput:
        """The student's loss; the teacher sees the same views, with their batch statistics."""
        import torch

        x = self.network.retrieval(batch.images)  # (B, D) unit rows
        with torch.no_grad():
            e = self.teacher.retrieval(batch.images)  # (B, D) unit rows
        return StepOutput(self.memory.loss(x, self._classes[batch.index]), e)

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Mine the batch, mix what was found into the rows, and let the teacher follow."""
        from reid.models.ema import update_teacher

        labels = self._classes[batch.index]
        if self.config.memory == "diversity":
            self.memory.update(out.embeddings, labels, self._trusted[batch.index])
        else:
            self.memory.update(out.embeddings, labels)
        update_teacher(self.teacher, self.network, self.updates, alpha=self.config.teacher_momentum)
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Teacher, Adam's state and the last good labels."""
        import torch

        teacher = {f"teacher.{name}": value for name, value in self.teacher.state_dict().items()}
        return {"updates": torch.tensor(self.updates), **teacher, **save_state(self.pseudo, self.optimizer)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        self.updates = int(state["updates"])
        self.teacher.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("teacher.")})
        load_state(self.pseudo, self.optimizer, state)

    def _memory(self, labels: np.ndarray, core: np.ndarray, rng: np.random.Generator) -> Any:
        """The bank that the settings name, from the teacher's features; some take those of `core` samples only."""
        import torch

        from reid.memory.cdsm import DiversityMemory, SlotMemory
        from reid.memory.cluster import ClusterMemory
        from reid.memory.hhcl import HybridClusterMemory, InstanceClusterMemory

        c = self.config
        kept = (labels >= 0) & (core | (not c.memory.startswith("diversity")))
        features, clusters = torch.from_numpy(self._features[kept]), torch.from_numpy(labels[kept])
        common = {"temperature": c.temperature, "momentum": c.momentum}
        smoothing = 0.1 if c.label_smoothing else 0.0
        if c.memory.startswith("diversity"):
            return DiversityMemory.from_core(
                features, clusters, c.n_marginal, weight=c.hard_weight, smoothing=smoothing, **common
            )
        if c.memory == "slots":
            return SlotMemory.from_chunks(features, clusters, c.n_marginal, **common)
        if c.memory == "hybrid":
            return HybridClusterMemory.from_means(
                features, clusters, weight=c.hard_weight, smoothing=smoothing, **common
            )
        if c.memory == "instances":
            return InstanceClusterMemory.from_samples(
                features, clusters, c.per_cluster, rng, weight=c.hard_weight, smoothing=smoothing, **common
            )
        return ClusterMemory.from_means(features, clusters, hard=c.memory == "cm-hard", normalize=False, **common)
