"""`reid.FeatureExtractor`: the network of a run, for pictures in memory or on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from reid import processes
from reid.data.decoding import cores, decode, reason, upright_rgb
from reid.data.pictures import Pictures
from reid.devices import choose_device
from reid.extraction.network import network_like, open_network
from reid.features import AMP_TYPES, extract

__all__ = ["FeatureExtractor"]

Picture = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]


class FeatureExtractor:
    """Computes features of pictures, as `reid-extract` does.

    Parameters
    ----------
    run : path
        Run folder of a trained network; picture size and normalisation come with it.
    model : {"last", "selected"}, default "last"
        Network of the run: after the last round, or of the best label-free score.
    device : str, default "auto"
        auto (a GPU when there is one), cpu, cuda, cuda:N.
    batch_size : int, default 64
        Pictures that the network takes at a time.
    flip : bool, default False
        Average over each picture and its mirror image.
    amp : {"off", "fp16", "bf16"}, default "off"
        Mixed precision of the network.
    workers : int, default 0
        Threads that decode files. 0: all cores.

    Attributes
    ----------
    height, width : int
        Size that pictures are resized to, pixels.
    n_features : int
        Size D of a feature.

    Raises
    ------
    ValueError, OSError
        No run there, no such device, or settings out of range.
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        model: Literal["last", "selected"] = "last",
        device: str = "auto",
        batch_size: int = 64,
        flip: bool = False,
        amp: Literal["off", "fp16", "bf16"] = "off",
        workers: int = 0,
    ) -> None:
        source = open_network(run=Path(run), model=model)
        assert source.size is not None
        self._start(source.network, source.size, device, batch_size, flip, amp, workers)

    @classmethod
    def like(
        cls, facts: Mapping[str, Any], *, device: str = "auto", batch_size: int = 64, workers: int = 0
    ) -> FeatureExtractor:
        """The extractor that makes features like those of a file: pass its `facts` (`FeatureTable.facts`).

        Raises
        ------
        ValueError
            The facts name no network, or its file has changed since.
        """
        self = cls.__new__(cls)
        network = network_like(facts).network
        size = (int(facts["height"]), int(facts["width"]))
        self._start(network, size, device, batch_size, bool(facts["flip"]), facts["amp"], workers)
        return self

    def _start(
        self, network: Any, size: tuple[int, int], device: str, batch_size: int, flip: bool, amp: Any, workers: int
    ) -> None:
        for name, value, low in (("batch_size", batch_size, 1), ("workers", workers, 0)):
            if value < low:
                raise ValueError(f"{name}={value}: must be at least {low}")
        if amp not in AMP_TYPES:
            raise ValueError(f"amp={amp!r}: must be one of {', '.join(AMP_TYPES)}")
        self._network, self._device = network, choose_device(device)
        self._batch_size, self._flip, self._amp = batch_size, flip, amp
        self._workers = workers or cores()
        self.height, self.width = size
        self.n_features: int = network.out_features

    def __call__(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """Compute the features of pictures.

        Parameters
        ----------
        pictures : sequence of N paths, PIL images, or uint8 arrays (H, W, 3), red, green, blue
            Of any sizes; files and PIL images are turned upright as their EXIF says.

        Returns
        -------
        float32 array (N, D)
            Rows of unit length, in the order of the pictures.

        Raises
        ------
        ValueError, TypeError
            A picture that can't be read, or is none; its name or place is said.
        """
        if isinstance(pictures, str | os.PathLike | Image.Image):
            raise TypeError(f"pictures is one {type(pictures).__name__}: give a list, [{pictures!r}]")
        rows = [np.empty((0, self.n_features), np.float32)]
        with ThreadPoolExecutor(self._workers) as pool, processes.alone():
            for pixels in self._batches(pictures, pool):
                batch = Pictures(torch.from_numpy(pixels), np.arange(len(pixels) + 1))
                rows.append(
                    extract(
                        self._network, batch, flip=self._flip, batch_size=self._batch_size, device=self._device,
                        amp=self._amp,
                    )
                )  # fmt: skip
        return np.concatenate(rows)

    def _batches(self, pictures: Sequence[Picture], pool: ThreadPoolExecutor) -> Iterator[NDArray[np.uint8]]:
        """Pixels (B, 3, H, W) of one batch after the other; the next is decoded while the last is worked on."""
        for place, picture in enumerate(pictures):
            if isinstance(picture, Image.Image):
                _load(picture, place)  # not in the threads: one image may be given twice
        waiting: list[Future[NDArray[np.uint8]]] = []
        for start in range(0, len(pictures), self._batch_size):
            stop = min(start + self._batch_size, len(pictures))
            ahead = [pool.submit(self._pixels, pictures[i], i) for i in range(start, stop)]
            if waiting:
                yield np.stack([future.result() for future in waiting])
            waiting = ahead
        if waiting:
            yield np.stack([future.result() for future in waiting])

    def _pixels(self, picture: Picture, place: int) -> NDArray[np.uint8]:
        """One picture as (3, height, width)."""
        if isinstance(picture, str | os.PathLike):
            return decode(picture, self.height, self.width)
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
                raise ValueError(
                    f"pictures[{place}] is an array {picture.dtype} {picture.shape}: must be uint8 (H, W, 3)"
                )
            picture = Image.fromarray(picture)
        if not isinstance(picture, Image.Image):
            raise TypeError(f"pictures[{place}] is a {type(picture).__name__}: give a path, a PIL image or an array")
        if picture.mode == "F":
            raise ValueError(f"pictures[{place}]: 32-bit float pixels have no agreed range: give 8 bits a channel")
        rgb = upright_rgb(picture).resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def _load(picture: Image.Image, place: int) -> None:
    try:
        picture.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises nearly any type on a broken file
        raise ValueError(f"pictures[{place}]: {reason(error)}") from error
