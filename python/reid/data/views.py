"""From batches of samples to augmented pictures: frames are drawn, read one batch ahead, and given a view each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from reid.data.pictures import Pictures
from reid.data.samplers import draw_frames, draw_window
from reid.data.transforms import Augment

Int = NDArray[np.int64]


def draw_views(
    pictures: Pictures,
    batches: Iterable[Int],
    augment: Augment,
    rng: np.random.Generator,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
    frames: int = 1,
    window: bool = False,
) -> Iterator[tuple[Int, torch.Tensor]]:
    """Draw the views that a network is trained on.

    Parameters
    ----------
    pictures : Pictures
    batches : iterable of int64 arrays (B,)
        Samples of each batch; may be endless.
    augment : Augment
    rng : numpy.random.Generator
        Draws frames and views. `batches` may draw from it too: the order of draws is batch, frames, views, and so on,
        whether pixels are held in memory or decoded.
    mean, std : three floats
        See `reid.data.transforms.normalize`.
    device : torch.device
        Where views are made; pixels travel there as bytes.
    frames : int
        Frames T of each sample.
    window : bool
        Draw T consecutive frames (`draw_window`) instead of any T (`draw_frames`).

    Yields
    ------
    index : int64 array (B,)
    images : float32 tensor (B * T, 3, H, W)
        The frames of one sample follow each other; each has a view of its own.
    """
    draw = draw_window if window else draw_frames
    drawn = iter(batches)

    def ahead() -> tuple[Int, Callable[[], torch.Tensor]] | None:
        index = next(drawn, None)
        if index is None:
            return None
        return index, pictures.request(draw(pictures.first, index, frames, rng).reshape(-1))

    waiting = ahead()
    while waiting is not None:
        index, pixels = waiting
        images = augment(pixels().to(device), rng, mean=mean, std=std)
        waiting = ahead()  # is decoded while the network works on this batch
        yield index, images
