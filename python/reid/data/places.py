"""Cameras of the built-in pedestrians: what they look at (walls, floors, occluders) and what they make of it.

Lengths are in picture heights as in :mod:`reid.data.walkers`: y runs from 0 (top) to 1, x from -1/4 to 1/4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

WALLS = ("bricks", "stripes", "waves", "windows")
OCCLUDERS = ("none", "pillar", "low wall")

_RGB = ("f4", (3,))
CAMERA = np.dtype(
    [
        *((name, *_RGB) for name in ("gain", "wall", "wall2", "floor")),
        *((name, "f4") for name in ("gamma", "saturation", "offset", "blur", "noise", "side_light", "yaw", "tilt")),
        *((name, "f4") for name in ("horizon", "contrast")),
        ("texture", "i1"),
    ]
)
"""A camera: colour response, sharpness, noise, viewing direction (radians) and the place it looks at."""

SCENE = np.dtype([("light", "f4"), ("shift", "f4"), ("occluder", "i1"), ("occluder_x", "f4")])
"""What else differs from crop to crop: light, sideways shift of the place, occluder and where it stands."""


@dataclass(frozen=True)
class Strength:
    """How hard a set is.

    Parameters
    ----------
    cast, gamma, saturation : float
        How much the colour response of cameras differs: logarithm of gain and of gamma, loss of saturation.
    texture : float
        Contrast of walls and floors, and how much their colours differ, 0 to 1.
    lookalikes : float, default 0.15
        Share of the persons with an even pid that copy the one before in all but one attribute.
    blur, noise : float
        Blur and loss of resolution of the worst camera (share), standard deviation of its noise (of 1).
    occlusion, companion : float
        Half the probability that something hides the person in half the crops of a pass; three times less
        than `companion` is the probability of somebody behind it.
    box, light : float
        Inexactness of the crops and of the exposure (standard deviations, relative).
    """

    cast: float
    gamma: float
    saturation: float
    texture: float
    lookalikes: float = 0.15
    blur: float = 0.5
    noise: float = 0.03
    occlusion: float = 0.06
    box: float = 0.06
    light: float = 0.08
    companion: float = 0.1


LEVELS = {"mild": Strength(0.05, 0.1, 0.15, 0.25), "hard": Strength(0.15, 0.2, 0.3, 0.9)}
"""The levels of :class:`reid.data.synthetic.SyntheticConfig`."""


def draw_cameras(rng: np.random.Generator, n: int, strength: Strength) -> NDArray[np.void]:
    """Cameras with a fixed spread: the seed shuffles which camera has which trait and jitters it a little.

    Parameters
    ----------
    rng : numpy.random.Generator
        Advanced.
    n : int
        Number of cameras.
    strength : Strength
        How much they differ.

    Returns
    -------
    (n,) of `CAMERA`
        Colour casts and wall hues lie evenly on a circle, viewing directions evenly over half a turn,
        everything else evenly on a line.
    """

    def spread(low: float, high: float) -> NDArray[np.float64]:
        """n even steps with a jitter of a tenth of a step, shuffled."""
        return low + (high - low) * (rng.permutation(n) + 0.5 + rng.uniform(-0.1, 0.1, n)) / n

    def circle(turn: float) -> NDArray[np.float64]:
        """(n, 3) points of an even circle about the grey axis, at random"""
        angle = 2 * np.pi * (spread(0, 1) + turn)
        return np.sqrt(2 / 3) * np.cos(angle[:, None] - 2 * np.pi / 3 * np.arange(3))

    cameras = np.zeros(n, CAMERA)
    cast = 0.82 * strength.cast * circle(rng.uniform()) + 0.6 * strength.cast * spread(-1, 1)[:, None]
    cameras["gain"] = np.exp(cast)
    cameras["gamma"] = np.exp(strength.gamma * spread(-1, 1))
    cameras["saturation"] = 1 - strength.saturation * spread(0, 1)
    cameras["offset"] = spread(0, 0.06)
    cameras["blur"] = strength.blur * spread(0, 1)
    cameras["noise"] = strength.noise * spread(0.4, 1)
    cameras["side_light"] = spread(0.05, 0.35) * np.where(rng.permutation(n) % 2, 1, -1)
    cameras["yaw"] = np.deg2rad(spread(0, 180))
    cameras["tilt"] = spread(0.92, 1.02)
    cameras["horizon"] = spread(0.3, 0.6)
    cameras["texture"] = rng.permutation(n) % len(WALLS)
    cameras["contrast"] = strength.texture
    # The hue of a place fades with its texture: at texture 0 all places are nearly the same grey.
    tint = 0.17 * (0.25 + 0.75 * strength.texture)
    hue = circle(rng.uniform())
    bright = 0.56 + (0.25 + 0.75 * strength.texture) * spread(-0.14, 0.14)[:, None]
    cameras["wall"] = bright + tint * hue
    cameras["wall2"] = 0.62 * bright + 0.9 * tint * np.roll(hue, 1, axis=1)
    cameras["floor"] = 0.5 + 0.5 * (bright - 0.56) + 0.45 * tint * circle(rng.uniform())
    return cameras


def _wall(kind: int, u: Array, v: Array) -> Array:
    """Texture number `kind` in [0, 1] at u (b, 1, W), v (b, H, 1)."""
    if kind == 0:
        row = np.floor(v * 16)
        joint = np.minimum(np.abs(v * 16 - row - 0.5), np.abs((u * 9 + row / 2) % 1 - 0.5) * 1.8)
        return np.clip(5 * (joint - 0.28) + 0.5, 0, 1) + 0 * u
    if kind == 1:
        return np.clip(0.5 + 2.5 * np.sin(52 * u), 0, 1) + 0 * v
    if kind == 2:
        return np.clip(0.5 + 1.5 * np.sin(60 * v + 2.2 * np.sin(22 * u)), 0, 1)
    pane = np.maximum(np.abs((u * 4.2) % 1 - 0.5), np.abs((v * 5.5) % 1 - 0.5))
    return np.clip(9 * (0.3 - pane) + 0.5, 0, 1)


def draw_background(cameras: NDArray[np.void], scenes: NDArray[np.void], height: int, width: int) -> Array:
    """The place each camera looks at: a textured wall above the horizon, a chequered floor below.

    Parameters
    ----------
    cameras, scenes : (B,) of `CAMERA`, (B,) of `SCENE`
        Camera and circumstances of each crop.
    height, width : int
        Size of the crops in pixels.

    Returns
    -------
    (3, B, H, W) float32
        Pictures in [0, 1].
    """
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5) * 0.5
    v = ((np.arange(height, dtype=np.float32) + 0.5) / height)[None, :, None]
    u = x[None, None, :] + scenes["shift"][:, None, None]
    horizon = cameras["horizon"][:, None, None]
    texture = np.empty((len(cameras), height, width), np.float32)
    for kind in range(len(WALLS)):
        on = np.flatnonzero(cameras["texture"] == kind)
        if on.size:
            texture[on] = _wall(kind, u[on], v)
    depth = np.maximum(v - horizon, 0) / (1 - horizon)  # (B, H, 1), 0 at the horizon
    across = x / (0.35 + depth) + 2.5 * scenes["shift"][:, None, None]  # towards a vanishing point in the middle
    tiles = np.sin(11 * across) * np.sin(6 / (0.3 + depth))
    contrast = cameras["contrast"][:, None, None]
    ground = (1 - 0.3 * contrast * np.clip(0.5 + 2 * tiles, 0, 1)) * (0.9 + 0.15 * depth)
    below = np.clip(0.5 + (v - horizon) * height, 0, 1)
    picture = np.empty((3, len(cameras), height, width), np.float32)
    for channel in range(3):
        wall, wall2, floor = (cameras[name][:, channel, None, None] for name in ("wall", "wall2", "floor"))
        painted = wall + contrast * texture * (wall2 - wall)
        picture[channel] = painted + below * (floor * ground - painted)
    return picture


def draw_occluders(canvas: Array, scenes: NDArray[np.void]) -> None:
    """Paint the banded pillar or the low wall that stands before a figure, in place.

    Parameters
    ----------
    canvas : (3, B, H, W) float32
        Pictures in [0, 1].
    scenes : (B,) of `SCENE`
        Which occluder and where.
    """
    height, width = canvas.shape[2:]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5) * 0.5
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[None, :, None]
    on = np.flatnonzero(scenes["occluder"] == 1)
    if on.size:
        across = x[None, None, :] - scenes["occluder_x"][on, None, None]
        alpha = np.clip(0.5 + (0.055 - np.abs(across)) * height, 0, 1)
        bands = np.clip(0.5 + 3 * np.sin(34 * y + 30 * across), 0, 1)
        tone = (0.34 + 0.24 * bands) * (1 - 5 * np.clip(across, -0.06, 0.06))
        for channel, tint in enumerate((1.05, 1.0, 0.85)):
            target = canvas[channel, on]
            canvas[channel, on] = target + alpha * (tint * tone - target)
    on = np.flatnonzero(scenes["occluder"] == 2)
    if on.size:
        across = x[None, None, :] + scenes["occluder_x"][on, None, None]
        alpha = np.clip(0.5 + (y - 0.74) * height, 0, 1)
        panels = np.minimum(np.abs((across * 7) % 1 - 0.5) * 2, np.clip((y - 0.77) * 20, 0, 1))
        tone = 0.4 + 0.22 * np.clip(4 * panels, 0, 1)
        for channel, tint in enumerate((0.95, 1.0, 0.9)):
            target = canvas[channel, on]
            canvas[channel, on] = target + alpha * (tint * tone - target)


def expose(canvas: Array, cameras: NDArray[np.void], scenes: NDArray[np.void], noise: Array) -> NDArray[np.uint8]:
    """What the camera makes of a picture: light, saturation, gain, gamma, haze, resolution, blur, noise.

    Parameters
    ----------
    canvas : (3, B, H, W) float32
        Pictures in [0, 1]; overwritten.
    cameras, scenes : (B,) of `CAMERA`, (B,) of `SCENE`
        Camera and circumstances of each crop.
    noise : (B, H, W, 3) float32
        Standard normal numbers.

    Returns
    -------
    (B, H, W, 3) uint8
        The crops.
    """
    height, width = canvas.shape[2:]
    canvas *= scenes["light"][:, None, None]
    grey = 0.3 * canvas[0] + 0.59 * canvas[1] + 0.11 * canvas[2]  # (B, H, W)
    saturation, gamma = (cameras[name][:, None, None] for name in ("saturation", "gamma"))
    offset, blur, sd = (cameras[name][:, None, None] for name in ("offset", "blur", "noise"))
    coarse = 1 + cameras["blur"][:, None]
    down, right = (
        np.minimum((np.floor(np.arange(n) / coarse) + 0.5) * coarse, n - 1).astype(np.intp) for n in (height, width)
    )  # (B, H), (B, W): the nearest sample of a sensor with fewer pixels
    crop = np.arange(len(cameras))[:, None, None]
    reach = max(1, round(height / 64))
    above, below = np.maximum(np.arange(height) - reach, 0), np.minimum(np.arange(height) + reach, height - 1)
    before, after = np.maximum(np.arange(width) - reach, 0), np.minimum(np.arange(width) + reach, width - 1)
    picture = np.empty((len(cameras), height, width, 3), np.uint8)
    for channel in range(3):
        value = (grey + saturation * (canvas[channel] - grey)) * cameras["gain"][:, channel, None, None]
        value = offset + (1 - offset) * np.clip(value, 0, 1) ** gamma
        value = value[crop, down[:, :, None], right[:, None, :]]
        around = value[:, above] + value[:, below] + value[:, :, before] + value[:, :, after]
        value = value + 0.5 * blur * (0.25 * around - value) + sd * noise[..., channel]
        picture[..., channel] = np.clip(value * 255 + 0.5, 0, 255)
    return picture
