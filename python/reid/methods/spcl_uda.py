"""SpCL for domain adaptation: pictures with identities of another place help to learn those without.

As SpCL (`reid.methods.spcl`), and beside the unlabelled target pictures there are labelled source pictures:

1. in front of the memory's target rows stands one row for each source identity, at first its mean feature; source
   identities are classes of their own, negatives of everything else, and are never clustered.
2. each step takes as many source as target pictures; batch norm normalises the two halves each by itself, and
   evaluates with the statistics of the target (`reid.models.domain_norm`).
3. loss = contrast of the source pictures + contrast of the target pictures; after the step both mix into their rows.

Identities of the *source* are read, those of the target are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from reid import processes
from reid.config import TrainConfig
from reid.data.readers import read_dataset
from reid.methods.protocol import Assignment, Batch, RoundPlan, StepOutput
from reid.methods.spcl import Spcl, SpclConfig

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["SpclUda", "SpclUdaConfig"]


@dataclass(frozen=True)
class SpclUdaConfig(SpclConfig):
    """Settings of SpCL with a labelled source."""

    source: str = ""
    """Pictures with identities to learn from besides the data: a known layout or a CSV table; only its training part is
    read."""


class SpclUda(Spcl):
    """SpCL with a labelled source (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "spcl-uda"
    Config: ClassVar[type[TrainConfig]] = SpclUdaConfig

    def __init__(self, config: SpclUdaConfig, network: Embedder, samples: Samples) -> None:
        import torch

        from reid.data.pictures import Pictures
        from reid.memory.spcl import InstanceMemory
        from reid.models.domain_norm import split_batch_norm

        super().__init__(config, network, samples)
        if not config.source:
            raise ValueError("source='': spcl-uda needs pictures with identities; without any, use method spcl")
        if processes.size() > 1:
            raise ValueError("method spcl-uda: runs in one process; start it without torchrun")
        dataset = read_dataset(Path(config.source).expanduser())
        source = dataset.train.take(np.flatnonzero(dataset.train.pid >= 0))
        if len(source) == 0:
            raise ValueError(f"source={config.source}: holds no training pictures with identities")
        identities, classes = np.unique(source.pid, return_inverse=True)
        self.source, self.classes = source, classes.astype(np.int64)
        self.source_facts: dict[str, Any] = {
            "root": str(dataset.root), "train": len(source), "identities": len(identities),
            "fingerprint": dataset.fingerprint(),
        }  # fmt: skip
        assert config.height is not None
        assert config.width is not None
        self.pictures = Pictures.load(source, config.height, config.width, workers=config.workers)
        split_batch_norm(network)
        rows = torch.zeros(len(identities) + len(samples), network.out_features, device=self.memory.memory.device)
        self.memory = InstanceMemory(
            rows, n_source=len(identities), temperature=self.memory.temperature, momentum=self.memory.momentum
        )

    def _fill(self, features: Tensor) -> None:
        """Start the memory from the means of the source identities and the target's unit features (N, D)."""
        import torch

        from reid.features import extract
        from reid.memory.rows import class_rows

        source = torch.from_numpy(extract(self.network, self.pictures, amp=self.config.amp))
        self.memory.memory.copy_(torch.cat([class_rows(source, torch.from_numpy(self.classes)), features]))

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """As SpCL's, and P x K batches of source pictures."""
        from reid.data.samplers import ClusterBatches
        from reid.data.views import draw_views

        c, spec = self.config, self.network.spec
        (own,) = rng.spawn(1)  # the loop's own draws stay what they are
        camid = self.source.camid if c.camera_batches else None
        batches = ClusterBatches(self.classes, c.batch_size, c.per_cluster, own, camid)
        plan = super().start_round(r, assignment, rng)
        self._views = draw_views(
            self.pictures, batches, plan.augment, own,
            mean=spec.mean, std=spec.std, device=self.memory.memory.device, frames=plan.frames, window=plan.window,
        )  # fmt: skip
        return plan

    def step(self, batch: Batch) -> StepOutput:
        """Contrast of source and target pictures; the source pictures are drawn here."""
        import torch

        index, images = next(self._views)
        images = images.contiguous(memory_format=torch.channels_last).unflatten(0, (len(index), -1))
        classes = torch.from_numpy(self.classes[index]).to(images.device)
        x = self.network.retrieval(torch.cat([images, batch.images]))  # (2B, D) unit rows, source first
        self._rows = torch.cat([classes, self.memory.n_source + batch.index])
        source, target = len(classes), len(batch.index)
        loss = self.memory.loss(x[:source], self._rows[:source]) + self.memory.loss(x[-target:], self._rows[-target:])
        return StepOutput(loss, x.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Mix each picture into the row of its identity, or its own."""
        self.memory.update(out.embeddings, self._rows)
