"""What a run works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reid.config import TrainConfig
from reid.data.pictures import Pictures
from reid.data.records import Samples
from reid.features import extract
from reid.methods.protocol import Method
from reid.models.embedder import Embedder
from reid.models.neck import EmbeddingHead
from reid.training.log import Log
from reid.training.run_folder import RunFolder

__all__ = ["Features", "Job"]


@dataclass(frozen=True)
class Job:
    """All that a run works on."""

    config: TrainConfig
    network: Embedder
    method: Method
    train: Samples
    """With identities where the data have them: for oracle figures only, the method never sees them."""
    pictures: Pictures
    query: tuple[Samples, Pictures] | None
    gallery: tuple[Samples, Pictures] | None
    folder: RunFolder
    log: Log

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device


class Features:
    """Features, of the training samples if not told otherwise, computed when asked for and kept until the network
    changes."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._kept: dict[tuple[int, int, int, bool], NDArray[np.float32]] = {}

    def __call__(
        self, network: Embedder, *, head: EmbeddingHead | None = None, normalize: bool = True,
        pictures: Pictures | None = None,
    ) -> NDArray[np.float32]:  # fmt: skip
        """See `reid.methods.protocol.Extract`."""
        if pictures is None:
            pictures = self._job.pictures
        key = (id(network), id(pictures), id(head), normalize)
        if key not in self._kept:
            self._kept[key] = extract(
                network, pictures, feature="pooled" if head is None else "embedding", head=head,
                normalize=normalize, amp=self._job.config.amp, progress=self._job.log.progress,
            )  # fmt: skip
        return self._kept[key]

    def forget(self) -> None:
        """The network has changed."""
        self._kept.clear()

    def forget_tests(self) -> None:
        """Keep features of the training samples alone: those of a test set may be large."""
        own = id(self._job.pictures)
        self._kept = {key: value for key, value in self._kept.items() if key[1] == own}
