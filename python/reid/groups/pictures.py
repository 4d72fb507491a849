"""Features of pictures by a trained network; the only file of this package that loads torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reid.data.pictures import Pictures
from reid.data.records import Samples
from reid.data.sizes import usual_size
from reid.devices import choose_device
from reid.extraction.network import open_network
from reid.features import extract
from reid.groups.config import SourceConfig

__all__ = ["features_of"]


def features_of(
    parts: list[Samples], config: SourceConfig, progress: Callable[[int, int, str], None] | None = None
) -> list[NDArray[np.float32]]:
    """(N, D) unit rows of each set of samples, by the network of `config.run` or `config.weights`."""
    device = choose_device(config.device)
    source = open_network(run=config.run, weights=config.weights)
    height, width = config.height, config.width
    if height is None or width is None:
        height, width = source.size or usual_size(parts[0])
    found = []
    for samples in parts:
        pictures = Pictures.load(
            samples, height, width, workers=config.workers,
            progress=None if progress is None else lambda done, total: progress(done, total, "reading pictures"),
        )  # fmt: skip
        found.append(extract(source.network, pictures, device=device, progress=progress))
    return found
