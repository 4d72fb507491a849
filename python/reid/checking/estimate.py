"""Memory and time of a run on this machine: a training step of the real network is measured, the rest is arithmetic."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

import torch

from reid.data.pictures import free_memory
from reid.data.records import Dataset
from reid.data.transforms import PIXEL_STATS
from reid.methods.buc import Buc, BucConfig
from reid.models.embedder import Embedder, evaluation_mode
from reid.models.weights import PIP_DISTRIBUTION

__all__ = ["Estimate", "estimate"]

_BATCH = 8


@dataclass(frozen=True)
class Estimate:
    """What `reid-train --data PATH --weights WEIGHTS` (method buc, all else default) will take, roughly."""

    weights: str
    """none (network tiny) or pip (MobileNetV2)."""
    device: str
    seconds: float
    """Reading, training, features; without the clustering itself, which takes seconds up to some ten thousand."""
    memory_bytes: int
    """At the peak: this process now, a batch of 32 by what 8 pictures took, features, and pixels where they fit."""
    pixels_bytes: int
    """Of all pictures. More than half of what is free now: they are decoded in each round anew."""
    free_bytes: int
    """Memory that is free now."""
    trained_per_second: float
    """Pictures, measured: one step on 8."""
    extracted_per_second: float
    """Pictures, measured: one pass over 8."""
    epochs: int
    """Passes of training over the training pictures, all rounds together."""
    rounds: int


def estimate(data: Dataset, height: int, width: int, decoded_per_second: float) -> list[Estimate]:
    """Measure the networks of a default run, and say what that run will take.

    Parameters
    ----------
    data : Dataset
    height, width : int
        Picture size of the run.
    decoded_per_second : float
        Pictures, by the threads of a run.

    Returns
    -------
    list of Estimate
        For random weights, and for those of the extra `pretrained` where it is installed. Empty where there are too
        few pictures for a run.
    """
    choices: list[Literal["none", "pip"]] = ["none"]
    try:
        metadata.distribution(PIP_DISTRIBUTION)
        choices.append("pip")
    except metadata.PackageNotFoundError:
        pass
    return [found for w in choices if (found := _estimate(data, height, width, decoded_per_second, w)) is not None]


def _estimate(
    data: Dataset, height: int, width: int, decoded_per_second: float, weights: Literal["none", "pip"]
) -> Estimate | None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mean, std = PIXEL_STATS["imagenet"]
    random = weights == "none"
    network = Embedder("tiny" if random else "mobilenet_v2", stripes=4 if random else 1, mean=mean, std=std)
    network.freeze(0 if random else 4)
    try:
        method = Buc(BucConfig(weights=weights), network.to(device), data.train.without_pid())
    except ValueError:  # nothing could be merged
        return None
    before = _peak()
    trained, extracted = _measure(network, height, width, device)
    batch = (_peak() - before) * method.config.batch_size // _BATCH
    pictures = int(data.train.n_frames.sum())
    others = sum(int(s.n_frames.sum()) for s in (data.query, data.gallery) if s is not None)
    epochs = method.epochs_first + (method.rounds - (method.epochs_first > 0)) * method.config.epochs
    pixels, free = (pictures + others) * 3 * height * width, free_memory()
    reads = 1 if pixels <= free // 2 else 1 + epochs + 2 * method.rounds
    # A round takes features twice of the training set (the memory's start, clusters) and once of the test set.
    passes = 2 * pictures + others
    seconds = (
        reads * (pictures + others) / decoded_per_second
        + epochs * pictures / trained
        + (method.rounds + 1) * passes / extracted
    )
    kept = 2 * (len(data.train) + others) * network.out_features * 4
    held = pixels if reads == 1 else 0
    return Estimate(
        weights=weights, device=str(device), seconds=seconds, memory_bytes=before + batch + kept + held,
        pixels_bytes=pixels, free_bytes=free, trained_per_second=trained, extracted_per_second=extracted,
        epochs=epochs, rounds=method.rounds,
    )  # fmt: skip


def _measure(network: Embedder, height: int, width: int, device: torch.device) -> tuple[float, float]:
    """Pictures a second of a training step and of feature extraction, the second of two tries each."""
    pixels = torch.zeros(_BATCH, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)
    network.train()
    for _ in range(2):
        begin = time.monotonic()
        network(pixels).square().sum().backward()
        _finish(device)
        training = time.monotonic() - begin
    with torch.inference_mode(), evaluation_mode(network):
        for _ in range(2):
            begin = time.monotonic()
            network(pixels)
            _finish(device)
            extraction = time.monotonic() - begin
    return _BATCH / max(training, 1e-6), _BATCH / max(extraction, 1e-6)


def _peak() -> int:
    """Most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
