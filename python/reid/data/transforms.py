"""Augmentation and normalisation of whole batches of pictures, on any device.

All chance is drawn with a numpy generator first, so a seed gives the same pictures on every device; the rest
is a handful of vectorised tensor operations: crop, zoom, shift and flip are one resampling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.nn import functional

PIXEL_STATS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of the channels (red, green, blue) of pictures in [0, 1], by name."""

# ITU-R BT.601, the grey value that Pillow and torchvision use too.
_LUMA = (0.299, 0.587, 0.114)
# Random erasing (Zhong et al., AAAI 2020): height / width of the rectangle.
_ERASE_RATIO = (0.3, 1 / 0.3)


def normalize(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Turn bytes into what a network is fed: (image / 255 - mean) / std.

    Parameters
    ----------
    images : uint8 tensor (B, 3, H, W)
    mean, std : three floats
        Of the channels in [0, 1]; see `PIXEL_STATS`.

    Returns
    -------
    float32 tensor (B, 3, H, W)
        On the device of `images`.
    """
    return _standardise(_unit(images), mean, std)


@dataclass(frozen=True)
class Augment:
    """Random views of a batch of pictures, each with its own draws; the defaults are BUC's (AAAI 2019).

    Order: crop, shift and flip; saturation, gains, gamma; blur; noise; erasing.

    Parameters
    ----------
    flip : float
        Probability of a left-right mirror.
    area : (float, float)
        Share of the picture that the crop box covers, uniform in this range; the box is stretched to the
        whole size.
    ratio : (float, float) or None
        Height / width of the box in pixels, uniform; a box that does not fit is drawn again, 10 times, then
        the whole picture is taken. None keeps the picture's aspect. Boxes are not rounded to whole pixels.
    shift : float
        The box is moved by up to this share of each side; it may leave the picture, whose border is then
        repeated.
    pad : int
        The picture is framed by so many black pixels and cut back to its size at a random place; what `shift` moves in
        is then black too.
    gain, channel_gain : float
        Factor exp(U(-g, g)) on all channels, and on each channel.
    saturation : float
        Distance from grey times 1 + U(-s, s), in [0, 1].
    gamma : float
        Exponent exp(U(-g, g)).
    blur : float
        Probability of a 3x3 binomial blur.
    noise : float
        Standard deviation of normal noise, pixels being in [0, 1].
    erase : float
        Probability that a rectangle (height / width U(.3, 3.3), drawn as the crop box) is filled with the
        mean pixel.
    erase_area : (float, float)
        Share of the picture that it covers.

    Raises
    ------
    ValueError
        A value outside its range.

    References
    ----------
    Y. Lin et al., "A Bottom-Up Clustering Approach to Unsupervised Person Re-identification", AAAI 2019.
    Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.
    """

    flip: float = 0.5
    area: tuple[float, float] = (0.64, 1.0)
    ratio: tuple[float, float] | None = (2.0, 3.0)
    shift: float = 0.0
    pad: int = 0
    gain: float = 0.0
    channel_gain: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.03, 0.28)

    def __post_init__(self) -> None:
        for name, upper in (("area", 1.0), ("ratio", math.inf), ("erase_area", 1.0)):
            span = getattr(self, name)
            if span is not None and not (len(span) == 2 and 0 < span[0] <= span[1] <= upper and span[1] < math.inf):
                raise ValueError(f"{name}={span}: must be (low, high) with 0 < low <= high" + " <= 1" * (upper == 1))
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int):
                upper = 1.0 if field.name in ("flip", "blur", "erase", "saturation", "shift") else 10.0
                upper = math.inf if field.name == "pad" else upper
                if not 0 <= value <= upper:
                    raise ValueError(f"{field.name}={value}: must lie in [0, {upper:g}]")

    def __call__(
        self, images: torch.Tensor, rng: np.random.Generator, *, mean: Sequence[float], std: Sequence[float]
    ) -> torch.Tensor:
        """Draw a view of each picture and normalise it.

        Parameters
        ----------
        images : uint8 tensor (B, 3, H, W)
            Not changed.
        rng : numpy.random.Generator
        mean, std : three floats
            See `normalize`.

        Returns
        -------
        float32 tensor (B, 3, H, W)
            On the device of `images`.
        """
        pixels = _unit(images)  # (B, 3, H, W) in [0, 1]
        b, _, h, w = pixels.shape
        if self.flip or self.shift or self.pad or self.ratio is not None or self.area[0] < 1:
            pixels = self._resample(pixels, rng)
        pixels = self._colour(pixels, rng)
        if self.blur:
            chosen = torch.from_numpy(np.flatnonzero(rng.random(b) < self.blur)).to(pixels.device)
            pixels[chosen] = _binomial(pixels[chosen])
        if self.noise:
            drawn = rng.standard_normal(pixels.shape, dtype=np.float32)
            pixels.add_(torch.from_numpy(drawn).to(pixels.device), alpha=self.noise).clamp_(0, 1)
        pixels = _standardise(pixels, mean, std)
        if self.erase:
            chosen_np = rng.random(b) < self.erase
            box, fits = _draw_boxes(rng, b, h, w, self.erase_area, _ERASE_RATIO)
            # The mean pixel is zero once pictures are normalised.
            pixels.masked_fill_(_inside(box[chosen_np & fits], chosen_np & fits, h, w).to(pixels.device), 0.0)
        return pixels

    def _resample(self, pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        b, _, h, w = pixels.shape
        box = np.tile(np.array([0.0, 0.0, h, w]), (b, 1))  # (B, 4): top, left, height, width
        if self.ratio is not None or self.area[0] < 1:
            drawn, fits = _draw_boxes(rng, b, h, w, self.area, self.ratio)
            box[fits] = drawn[fits]
        if self.shift:
            box[:, :2] += rng.uniform(-self.shift, self.shift, (b, 2)) * (h, w)
        if self.pad:
            box[:, :2] += rng.integers(-self.pad, self.pad + 1, (b, 2))
        mirror = np.where(rng.random(b) < self.flip, -1.0, 1.0)
        theta = np.zeros((b, 2, 3), dtype=np.float32)
        theta[:, 0, 0] = mirror * box[:, 3] / w
        theta[:, 1, 1] = box[:, 2] / h
        theta[:, 0, 2] = (2 * box[:, 1] + box[:, 3]) / w - 1
        theta[:, 1, 2] = (2 * box[:, 0] + box[:, 2]) / h - 1
        grid = functional.affine_grid(
            torch.from_numpy(theta).to(pixels.device), list(pixels.shape), align_corners=False
        )
        padding = "zeros" if self.pad else "border"
        return functional.grid_sample(pixels, grid, mode="bilinear", padding_mode=padding, align_corners=False)

    def _colour(self, pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        b = len(pixels)

        def factor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32)).reshape(b, -1, 1, 1).to(pixels.device)

        if self.saturation:
            luma = torch.tensor(_LUMA, device=pixels.device).view(1, 3, 1, 1)
            grey = (pixels * luma).sum(1, keepdim=True)  # (B, 1, H, W)
            pixels = torch.lerp(grey, pixels, factor(1 + rng.uniform(-self.saturation, self.saturation, b)))
        if self.gain or self.channel_gain:
            log = rng.uniform(-self.gain, self.gain, (b, 1)) + rng.uniform(
                -self.channel_gain, self.channel_gain, (b, 3)
            )
            pixels = pixels * factor(np.exp(log))
        if self.saturation or self.gain or self.channel_gain:
            pixels = pixels.clamp_(0, 1)
        if self.gamma:
            pixels = pixels.pow_(factor(np.exp(rng.uniform(-self.gamma, self.gamma, b))))
        return pixels


def _draw_boxes(
    rng: np.random.Generator,
    b: int,
    h: int,
    w: int,
    area: tuple[float, float],
    ratio: tuple[float, float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw boxes (top, left, height, width) in h x w, float64 (b, 4), and whether one of ten tries fits."""
    size = rng.uniform(*area, (b, 10)) * (h * w)
    shape = np.full((b, 10), h / w) if ratio is None else rng.uniform(*ratio, (b, 10))
    sides = np.stack([np.sqrt(size * shape), np.sqrt(size / shape)], axis=-1)  # (b, 10, 2)
    if ratio is None:
        sides = np.minimum(sides, (h, w))  # whole pictures, but for rounding
    fitting: np.ndarray = np.all(sides <= (h, w), axis=-1)  # (b, 10)
    chosen = sides[np.arange(b), fitting.argmax(1)]  # (b, 2)
    corner = rng.random((b, 2)) * ((h, w) - chosen)
    return np.concatenate([corner, chosen], axis=1), np.any(fitting, axis=1)


def _inside(box: np.ndarray, rows: np.ndarray, h: int, w: int) -> torch.Tensor:
    """Return the pixels of the boxes of `rows`, bool (B, 1, H, W)."""
    mask = np.zeros((len(rows), 1, h, w), dtype=bool)
    top, left, height, width = (np.rint(side)[:, None] for side in box.T)
    y, x = np.arange(h), np.arange(w)
    down = (y >= top) & (y < top + height)  # (b, H)
    across = (x >= left) & (x < left + width)  # (b, W)
    mask[rows, 0] = down[:, :, None] & across[:, None, :]
    return torch.from_numpy(mask)


def _binomial(pixels: torch.Tensor) -> torch.Tensor:
    padded = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4


def _unit(images: torch.Tensor) -> torch.Tensor:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise TypeError(f"images are {images.dtype} {tuple(images.shape)}: must be torch.uint8 (B, 3, H, W)")
    return images.to(torch.float32).div_(255)


def _standardise(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
        raise ValueError(
            f"mean={tuple(mean)}, std={tuple(std)}: give three means and three standard deviations above 0"
        )
    center, scale = (torch.tensor(v, dtype=torch.float32, device=pixels.device).view(1, 3, 1, 1) for v in (mean, std))
    return pixels.sub_(center).div_(scale)


VIEWS = {
    "light": Augment(area=(0.8, 1.0), ratio=None, shift=0.05, erase=0.3),
    # Without changes of colour a network learns to tell cameras apart before it tells people apart.
    "color": Augment(
        ratio=None, shift=0.08, gain=0.35, channel_gain=0.35, saturation=0.5, gamma=0.5, blur=0.3, noise=0.03, erase=0.3
    ),
}
"""Views that the methods offer by name: light for pretrained networks, color for random weights."""
