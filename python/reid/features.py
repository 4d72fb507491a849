"""Feature extraction: an embedder and pictures in, one float32 row a sample out, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reid import processes
from reid.data import transforms
from reid.models.embedder import Embedder, evaluation_mode
from reid.models.neck import EmbeddingHead

if TYPE_CHECKING:
    from reid.data.pictures import Pictures

AMP_TYPES = {"off": None, "fp16": torch.float16, "bf16": torch.bfloat16}

Progress = Callable[[int, int, str], None]
"""Called with (done, total, stage)."""


def extract(
    embedder: Embedder,
    pictures: Pictures,
    *,
    feature: Literal["pooled", "embedding"] = "pooled",
    normalize: bool = True,
    flip: bool = False,
    head: EmbeddingHead | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    amp: Literal["off", "fp16", "bf16"] = "off",
    progress: Progress | None = None,
) -> np.ndarray:
    """Compute the feature of every sample, in evaluation mode and without gradients.

    The feature of a sample with several frames is the mean over all its frames, before any normalisation;
    frames are read in chunks, so a tracklet may be of any length.

    Parameters
    ----------
    embedder : Embedder
        The network. Training flags, of ``head`` too, are as before afterwards.
    pictures : reid.data.pictures.Pictures
        The frames of N samples, in memory or decoded chunk by chunk. They are normalised with the embedder's mean and
        std.
    feature : {"pooled", "embedding"}, default "pooled"
        The embedder's output, or what ``head.embed`` makes of it (without dropout).
    normalize : bool, default True
        Divide each row by max(norm, 1e-12).
    flip : bool, default False
        The feature of a frame is the mean over it and its mirror image: twice the work.
    head : EmbeddingHead, optional
        Needed for "embedding" only.
    batch_size : int, default 256
        Frames a forward pass. Changes the result by float rounding at most.
    device : torch.device or str, optional
        Where to compute; the networks are moved there and stay. None: where the embedder is.
    amp : {"off", "fp16", "bf16"}, default "off"
        Precision of the backbone; the rest is float32.
    progress : callable, optional
        Called with (frames done, all frames, "features") after each batch, from this thread; of several processes
        each counts its own share.

    Returns
    -------
    float32 array of shape (N, D)
        Row i belongs to sample i.

    Raises
    ------
    ValueError
        For arguments that do not fit, a sample without frames, or a feature that is not finite (its row is
        named).
    """
    if feature not in ("pooled", "embedding"):
        raise ValueError(f"feature={feature!r}: must be 'pooled' or 'embedding'")
    if amp not in AMP_TYPES:
        raise ValueError(f"amp={amp!r}: must be one of {', '.join(AMP_TYPES)}")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be at least 1")
    if feature == "embedding" and head is None:
        raise ValueError("feature='embedding' needs head=, the head that makes the embedding")
    used_head = head if feature == "embedding" else None
    where = torch.device(device) if device is not None else next(embedder.parameters()).device
    for network in (embedder, used_head):
        if network is not None:
            network.to(where)

    with torch.inference_mode(), evaluation_mode(embedder, used_head):
        rows = _pooled(embedder, pictures, batch_size, where, AMP_TYPES[amp], flip, progress)  # (N, D) on the CPU
        if used_head is not None:
            rows = torch.cat([used_head.embed(chunk.to(where)).float().cpu() for chunk in rows.split(batch_size)])
        if normalize:
            rows = functional.normalize(rows, dim=1, eps=1e-12)
    finite = torch.isfinite(rows).all(dim=1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        name = pictures.name(row)
        raise ValueError(
            f"the feature of sample row {row}{f' ({name})' if name else ''} is not finite: look at its pictures or "
            "weights, try amp='off'"
        )
    return rows.numpy()


def _pooled(
    embedder: Embedder,
    pictures: Pictures,
    batch_size: int,
    device: torch.device,
    amp: torch.dtype | None,
    flip: bool,
    progress: Progress | None,
) -> Tensor:
    """Mean of the embedder's output over the frames of each sample: float32 (N, D)."""
    n_frames = pictures.n_frames
    first = np.asarray(pictures.first, dtype=np.int64)  # (N + 1,)
    counts = np.diff(first)  # (N,)
    if (counts < 1).any():
        raise ValueError(f"sample row {int(np.argmax(counts < 1))} has no frames: leave it out")
    owner = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))  # (F,)
    sums = torch.zeros(len(counts), embedder.out_features)  # (N, D)
    spec = embedder.spec
    starts = range(0, n_frames, batch_size)
    # Each process takes a block of the batches that one process would make.
    begin, end = (len(starts) * r // processes.size() for r in (processes.rank(), processes.rank() + 1))
    own = starts[begin:end]
    chunks = pictures.stream(np.arange(start, min(start + batch_size, n_frames)) for start in own)
    for done, (start, pixels) in enumerate(zip(own, chunks, strict=True), start=1):
        batch = transforms.normalize(pixels.to(device), spec.mean, spec.std)
        # Only the pictures, not the weights: the network is the caller's and must train on as it was.
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, dtype=amp, enabled=amp is not None):
            pooled = embedder(batch).float()  # (b, D)
            if flip:
                pooled = (pooled + embedder(batch.flip(-1)).float()) / 2
        sums.index_add_(0, owner[start : start + batch_size], pooled.cpu())
        if progress is not None:
            last = min(n_frames, end * batch_size) - begin * batch_size
            progress(min(done * batch_size, last), last, "features")
    return processes.add_up(sums) / torch.from_numpy(counts)[:, None]
