"""What a method is to the training loop: four verbs and a state. No base class, no inherited behaviour.

A round of the loop, in the order of the verbs::

    assignment = method.assign(r, extract)          # who belongs together
    plan = method.start_round(r, assignment)        # memory, head, optimiser, batches
    for batch in plan.batches:                      # plan.steps of them
        out = method.step(batch)                    # forward and loss
        out.loss.backward(); plan.optimizer.step()
        method.update(batch, out)                   # memory rows change after the backward pass

The loop owns extraction, loading, precision, devices, logging, checkpoints and evaluation; the method owns what its
paper is about. This module loads torch only for type checkers.

In a run of several processes (`reid.processes`) all of them go through these verbs. `step` gets the process' own share
of the batch: the loop averages the gradients, so a loss must be a mean over pictures, and what couples pictures must be
gathered first. `update` gets the whole batch, so that all memories stay alike. Clustering runs in the first process
(`processes.once`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from reid.config import TrainConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from reid.data.records import Samples
    from reid.data.transforms import Augment
    from reid.models.embedder import Embedder
    from reid.models.neck import EmbeddingHead

__all__ = ["Assignment", "Batch", "Extract", "Method", "RoundPlan", "StepOutput"]


@dataclass(frozen=True)
class Assignment:
    """Who belongs together in a round."""

    labels: NDArray[np.int64]
    """(N,) cluster of each sample, contiguous from 0; -1: not trained on."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Figures for `metrics.jsonl` and the report."""
    warnings: tuple[str, ...] = ()
    """Sentences for the log and the report."""
    stop: str = ""
    """Why the run ends before this round; empty: it goes on."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters C."""
        return int(self.labels.max(initial=-1)) + 1


@dataclass(frozen=True)
class RoundPlan:
    """What a round draws, how long it lasts and what steps the weights."""

    batches: Iterable[NDArray[np.int64]]
    """Endless batches of positions in the training samples."""
    steps: int
    optimizer: torch.optim.Optimizer
    lr: Callable[[int], float]
    """Learning rate at a step of this round; a parameter group may scale it with a key `scale`."""
    augment: Augment
    frames: int = 1
    """Frames drawn of each sample (T)."""
    window: bool = False
    """Draw consecutive frames, not any."""


@dataclass(frozen=True)
class Batch:
    """One training batch, or a process' share of one, on the run's device."""

    images: Tensor
    """(B, T, 3, H, W) float32, normalised; those of the share also in a whole batch."""
    index: Tensor
    """(B,) positions in the training samples."""
    label: Tensor
    """(B,) clusters."""
    camid: Tensor
    """(B,) cameras, -1 unknown."""


@dataclass(frozen=True)
class StepOutput:
    """What a step hands to the loop and to `update`."""

    loss: Tensor
    embeddings: Tensor
    """(B, E) detached: what memories are updated with."""


class Extract(Protocol):
    """Features of all training samples in order, eval mode; costs a pass over the pictures only when called."""

    def __call__(
        self, network: Embedder, *, head: EmbeddingHead | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        """(N, D) pooled features of `network`, or (N, E) embeddings of `head` on top of them."""
        ...


class Method(Protocol):
    """A method of unsupervised re-identification."""

    name: ClassVar[str]
    Config: ClassVar[type[TrainConfig]]
    needs_pid: ClassVar[bool]
    """Does it read identities? The loop blanks `pid` for all that do not, and marks runs of those that do."""
    rounds: int

    def __init__(self, config: Any, network: Embedder, samples: Samples) -> None:
        """Raises ValueError when the samples lack something the settings ask for."""
        ...

    @property
    def config(self) -> TrainConfig:
        """The settings, with what was automatic filled in."""
        ...

    @property
    def retrieval(self) -> Embedder:
        """The network that is evaluated and saved: the student, or its teacher."""
        ...

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Cluster for round `r` (from 1)."""
        ...

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """Build what this round trains with; `rng` belongs to this round."""
        ...

    def step(self, batch: Batch) -> StepOutput:
        """Forward pass and loss; changes nothing but batch norm statistics."""
        ...

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Change memories after the optimiser has stepped, with labels and embeddings of the whole batch."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What must survive the end of a round besides the network, no more."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a checkpoint."""
        ...
