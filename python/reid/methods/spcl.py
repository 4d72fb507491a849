"""SpCL (Ge, Zhu, Chen, Zhao, Li: Self-paced Contrastive Learning with Hybrid Memory, NeurIPS 2020), unsupervised.

One memory row V_i a picture lives for the whole run. A round:

1. J = k-reciprocal Jaccard distance of the *memory*; DBSCAN at eps, eps - gap and eps + gap.
2. self-paced criterion: a cluster that grows much at eps + gap is dissolved, of one that breaks up at eps - gap the
   largest part stays; every sample without a cluster becomes a class of its own.
3. `iters` batches over all pictures: loss of a unit feature x = contrast of its class against all classes, each
   represented by the mean of its memory rows; after each step V_i <- n(m V_i + (1 - m) x).

No picture is left out: singles train as classes of their own and are negatives of all others. The label file gives them
-1. Presets `spcl-*` follow the authors' code; defaults: see `ContrastConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from reid.clustering.pseudo import PseudoLabels
from reid.clustering.reliability import self_paced_labels
from reid.config import TrainConfig
from reid.methods.contrast import ContrastConfig, load_state, make_optimizer, plan_round, resolve, save_state
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Spcl", "SpclConfig"]


@dataclass(frozen=True)
class SpclConfig(ContrastConfig):
    """Settings of SpCL. The values in brackets are the paper's (preset `spcl-market`)."""

    eps_gap: float = 0.02
    """How much smaller and larger the eps of the two other clusterings is (0.02)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("eps_gap", 0, open_low=True)
        self._check_gap(self.eps_gap)


class Spcl:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "spcl"
    Config: ClassVar[type[TrainConfig]] = SpclConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: SpclConfig, network: Embedder, samples: Samples) -> None:
        import torch

        from reid.memory.spcl import InstanceMemory

        self.network, self.samples = network, samples
        self.config = resolve(config, len(samples), rounds=16)
        assert self.config.rounds is not None
        self.rounds = self.config.rounds
        self.pseudo = PseudoLabels(self.config, samples)
        self.optimizer = make_optimizer(self.config, network)
        temperature, momentum = self.config.temperature, self.config.momentum
        assert temperature is not None
        assert momentum is not None
        rows = torch.zeros(len(samples), network.out_features, device=next(network.parameters()).device)
        self.memory = InstanceMemory(rows, temperature=temperature, momentum=momentum)
        self.theta = -1.0  # largest independence distance of a cluster that stays; below 0: not measured yet

    @property
    def retrieval(self) -> Embedder:
        """The network itself."""
        return self.network

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Three DBSCANs on the memory, and the self-paced criterion."""
        import torch

        c = self.config
        if r == 1:
            self._fill(torch.from_numpy(extract(self.network)))
        features = self.memory.memory[self.memory.n_source :].cpu().numpy()
        found, tight, loose, _ = self.pseudo.nested(features, c.eps_gap)
        paced = self_paced_labels(found.labels, tight, loose, self.theta if self.theta >= 0 else None)
        warnings = found.warnings
        if paced.theta is None:
            warnings += ("no cluster with more than one picture: all were accepted, the threshold is measured later",)
        else:
            self.theta = paced.theta
        # The criterion takes must-groups apart, and whoever is alone would be a negative of its own group.
        self._classes = self.pseudo.links.obey(paced.labels, features, smallest=1)
        facts = {**found.facts, "theta": self.theta, "n_classes": float(len(np.unique(self._classes)))}
        return Assignment(_without_singles(self._classes), facts, warnings, found.stop)

    def _fill(self, features: Tensor) -> None:
        """Start the memory from unit features (N, D)."""
        self.memory.memory.copy_(features)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """New classes for the memory's rows; P x K batches over all pictures, a single one once a pass."""
        import torch

        self.memory.relabel(torch.from_numpy(self._classes).to(self.memory.memory.device))
        return plan_round(self.config, r, self._classes, self.samples, self.optimizer, rng)

    def step(self, batch: Batch) -> StepOutput:
        """Contrast of a batch against the means of all classes."""
        x = self.network.retrieval(batch.images)  # (B, D) unit rows
        return StepOutput(self.memory.loss(x, batch.index), x.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Mix each picture into its own row."""
        self.memory.update(out.embeddings, batch.index)

    def state_dict(self) -> dict[str, Tensor]:
        """Memory, threshold, Adam's state and the last good labels."""
        import torch

        return {
            "memory": self.memory.memory,
            "theta": torch.tensor(self.theta, dtype=torch.float64),
            **save_state(self.pseudo, self.optimizer),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        self.memory.memory.copy_(state["memory"])
        self.theta = float(state["theta"])
        load_state(self.pseudo, self.optimizer, state)


def _without_singles(classes: np.ndarray) -> np.ndarray:
    """Classes with several members as clusters from 0, the others as -1."""
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    numbers = np.where(counts > 1, np.cumsum(counts > 1) - 1, -1)
    return numbers[which].astype(np.int64)
