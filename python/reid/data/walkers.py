"""Walking figures, drawn with numpy for :mod:`reid.data.synthetic`.

Every shape is a signed distance d (negative inside) turned into an opacity clip(1/2 - d, 0, 1) with d in
pixels, which is a one-pixel anti-aliased edge, and painted over what is there for a whole batch of crops at
once.

Lengths are in picture heights. Picture: y runs from 0 (top) to 1, x from -1/4 to 1/4. Body: `side` points to
the person's left, `forward` where the person looks; at yaw 0 the person faces the camera, at 90 degrees walks
to the right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

PATTERNS = ("plain", "hoops", "stripes", "checks", "lower half", "chest band", "sash", "logo", "halves")
BOTTOMS = ("trousers", "shorts", "skirt")
BAGS = ("none", "backpack", "shoulder bag", "handbag")
HATS = ("none", "cap", "beanie")

_RGB = ("f4", (3,))
PERSON = np.dtype(
    [
        *((name, "f4") for name in ("height", "width", "legs", "head", "swing")),
        *((name, *_RGB) for name in ("skin", "hair", "upper", "second", "lower", "shoes", "bag_color", "hat_color")),
        *((name, "i1") for name in ("pattern", "n_stripes", "bottoms", "bag", "bag_side", "hat")),
        *((name, "?") for name in ("long_hair", "long_sleeves", "leg_stripe")),
    ]
)
"""What makes an identity. Colours are RGB in [0, 1]; pattern, bottoms, bag, hat count the names above."""

VIEW = np.dtype([(name, "f4") for name in ("yaw", "phase", "x", "foot", "scale", "tilt", "side_light")])
"""How a figure stands in a crop: yaw and phase of the stride in radians, x of the body, y of the feet, size,
vertical foreshortening, strength of the light from the side."""


def _column(value: Array | float, on: NDArray[np.intp] | None) -> Array:
    """(B,) or a scalar -> (b, 1, 1) for the crops `on`."""
    array = np.asarray(value, np.float32)
    if array.ndim == 0:
        return array
    return (array if on is None else array[on])[:, None, None]


class _Painter:
    """The figures of one batch while they are painted: pixel grid, pose, canvas (3, B, H, W)."""

    def __init__(self, canvas: Array, people: NDArray[np.void], views: NDArray[np.void]) -> None:
        height, width = canvas.shape[2:]
        size = views["scale"][:, None, None]
        x = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5) * 0.5
        y = (np.arange(height, dtype=np.float32) + 0.5) / height
        stretch = size * (views["tilt"] * people["height"])[:, None, None]
        self.canvas = canvas
        self.x = (x[None, None, :] - views["x"][:, None, None]) / size  # (B, 1, W)
        self.y = 0.975 - (views["foot"][:, None, None] - y[None, :, None]) / stretch  # (B, H, 1)
        self.pixels = height * size  # (B, 1, 1) pixels in a unit
        self.cos, self.sin = np.cos(views["yaw"]), np.sin(views["yaw"])
        self.light = 1 + views["side_light"][:, None, None] * np.clip(self.x / 0.12, -1, 1)  # (B, 1, W)

    def across(self, side: Array | float, forward: Array | float) -> Array:
        """Picture x of a point of the body."""
        return side * self.cos + forward * self.sin

    def rows(self, top: Array | float, bottom: Array | float, on: NDArray[np.intp] | None) -> slice:
        """Rows that hold a shape in at least one crop; the others need no work."""
        y = self.y if on is None else self.y[on]
        margin = 1.5 / self.pixels.min()
        inside = (y > _column(top, on) - margin) & (y < _column(bottom, on) + margin)
        hit = np.flatnonzero(inside.any(axis=(0, 2)))
        return slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0)

    def grid(self, rows: slice, on: NDArray[np.intp] | None) -> tuple[Array, Array]:
        """x (b, 1, W) and y (b, h, 1) of those rows and crops."""
        return (self.x, self.y[:, rows]) if on is None else (self.x[on], self.y[on, rows])

    def paint(
        self,
        distance: Array,
        color: Array,
        rows: slice,
        on: NDArray[np.intp] | None,
        shade: Array | float = 1.0,
    ) -> None:
        """Lay `color`, (B, 3) or (3, b, h, W), over the canvas where `distance` (b, h, W) says."""
        light = self.light * _column(shade, None)
        pixels = self.pixels
        if on is not None:
            light, pixels = light[on], pixels[on]
        alpha = np.clip(0.5 - distance * pixels, 0, 1)  # (b, h, W)
        for channel in range(3):
            value = _column(color[:, channel], on) if color.ndim == 2 else color[channel]
            if on is None:
                target = self.canvas[channel, :, rows]
                target += alpha * (value * light - target)
            else:
                target = self.canvas[channel, on, rows]
                self.canvas[channel, on, rows] = target + alpha * (value * light - target)

    def limb(
        self,
        start: tuple[Array | float, Array | float],
        end: tuple[Array | float, Array | float],
        radii: tuple[Array | float, Array | float],
        color: Array,
        where: NDArray[np.bool_] | None = None,
        shade: Array | float = 1.0,
    ) -> None:
        """A capsule whose radius changes from start to end."""
        on = None if where is None or where.all() else np.flatnonzero(where)
        if on is not None and not on.size:
            return
        reach = np.maximum(*radii)
        rows = self.rows(np.minimum(start[1], end[1]) - reach, np.maximum(start[1], end[1]) + reach, on)
        x, y = self.grid(rows, on)
        x0, y0, x1, y1 = (_column(v, on) for v in (*start, *end))
        r0, r1 = (_column(r, on) for r in radii)
        dx, dy = x1 - x0, y1 - y0
        x, y = x - x0, y - y0
        along = np.clip((x * dx + y * dy) / (dx * dx + dy * dy + np.float32(1e-9)), 0, 1)
        distance = np.sqrt((x - along * dx) ** 2 + (y - along * dy) ** 2) - (r0 + along * (r1 - r0))
        self.paint(distance, color, rows, on, shade)

    def box(
        self,
        center: tuple[Array | float, Array | float],
        half: tuple[Array | float, Array | float],
        corner: float,
        color: Array,
        where: NDArray[np.bool_] | None = None,
        flare: float = 0.0,
        shade: Array | float = 1.0,
    ) -> None:
        """A box with round corners; `flare` widens its foot, and narrows its top, by that share."""
        on = None if where is None or where.all() else np.flatnonzero(where)
        if on is not None and not on.size:
            return
        rows = self.rows(center[1] - half[1], center[1] + half[1], on)
        x, y = self.grid(rows, on)
        x, y = x - _column(center[0], on), y - _column(center[1], on)
        height, width = _column(half[1], on), _column(half[0], on)
        distance = _rounded(x, y, width * (1 + flare * np.clip(y / height, -1, 1)), height, corner)
        self.paint(distance, color, rows, on, shade)


def _rounded(x: Array, y: Array, half_width: Array, half_height: Array, corner: float) -> Array:
    """Distance to a box with round corners about the origin."""
    qx = np.abs(x) - half_width + np.float32(corner)
    qy = np.abs(y) - half_height + np.float32(corner)
    outside = np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
    return outside + np.minimum(np.maximum(qx, qy), 0) - np.float32(corner)


# Where the second colour shows (positive): v runs down the torso from 0 to 1, a is the angle round it, 0 the
# chest. Logo and stripes repeat on the back, so that no pattern looks plain from behind.
_PATTERN: tuple[Callable[[Array, Array, Array], Array], ...] = (
    lambda v, a, n: np.full(np.broadcast_shapes(v.shape, a.shape), -1, np.float32),
    lambda v, a, n: 2 * np.sin(2 * np.pi * n * v),
    lambda v, a, n: 2 * np.sin(2 * n * a + 0.8),
    lambda v, a, n: 4 * np.sin(2 * np.pi * (n - 1) * v) * np.sin(2 * (n - 1) * a + 0.8),
    lambda v, a, n: 14 * (v - 0.52),
    lambda v, a, n: 14 * (0.14 - np.abs(v - 0.36)),
    lambda v, a, n: 14 * (0.13 - np.abs(v - 0.45 - 0.36 * np.sin(a))),
    lambda v, a, n: 14 * (0.24 - np.sqrt((0.5 * np.sin(a)) ** 2 + (0.8 * (v - 0.4)) ** 2)),
    lambda v, a, n: 6 * np.sin(a),
)


def _torso(f: _Painter, p: NDArray[np.void], views: NDArray[np.void], hip: Array) -> None:
    """Trunk with round shoulders and the pattern of the upper garment, in coordinates of the body."""
    top, bottom = 0.178, hip + 0.035
    rows = f.rows(top, bottom, None)
    x, y = f.grid(rows, None)
    v = (y - top) / _column(bottom - top, None)  # (B, h, 1)
    half = _column((0.098 * np.abs(f.cos) + 0.066 * np.abs(f.sin)) * p["width"], None)
    half = half * (1 - 0.16 * np.clip(v, 0, 1))
    middle, height = _column((bottom + top) / 2, None), _column((bottom - top) / 2, None)
    slope = 0.3 * np.abs(x) * (1 - np.clip(v, 0, 1))  # shoulders fall off to the sides
    distance = _rounded(x, y - middle - slope, half, height, 0.055)
    angle = np.arcsin(np.clip(x / half, -1, 1)) - views["yaw"][:, None, None]  # (B, h, W)
    mix = np.zeros_like(angle)
    for k in range(1, len(PATTERNS)):
        on = np.flatnonzero(p["pattern"] == k)
        if on.size:
            mix[on] = np.clip(0.5 + _PATTERN[k](v[on], angle[on], _column(p["n_stripes"], on)), 0, 1)
    first, second = p["upper"].T[:, :, None, None], p["second"].T[:, :, None, None]
    f.paint(distance, first + mix * (second - first), rows, None)


def _leg(f: _Painter, p: NDArray[np.void], side: Array, phase: Array, hip: Array, shade: float) -> None:
    """Thigh, shin and shoe of one side (+-1, (B,)); trousers, shorts or the bare leg below a skirt."""
    width = p["width"]
    stride = side * np.sin(phase) * p["swing"]
    lift = np.maximum(side * np.cos(phase), 0) * np.float32(0.03)
    forward, lateral = 0.105 * stride - 0.6 * lift, side * 0.045 * width
    # A camera looks down: what is nearer to it stands lower in the picture.
    foot = 0.95 - lift + 0.12 * forward * f.cos
    knee = hip + 0.52 * (foot - hip)
    hip_x, knee_x = f.across(lateral, 0.0), f.across(lateral, 0.55 * forward + 0.012 + 0.9 * lift)
    ankle_x, toe_x = f.across(lateral, forward), f.across(lateral * 1.15, forward + 0.045)
    bare = p["bottoms"] > 0
    shin = np.where(bare[:, None], p["skin"], p["lower"])
    f.limb((knee_x, knee), (ankle_x, foot - 0.015), (0.029 * width, 0.022 * width), shin, shade=shade)
    thigh = np.where(p["bottoms"][:, None] == 2, p["skin"], p["lower"])
    f.limb((hip_x, hip), (knee_x, knee), (0.043 * width, 0.032 * width), thigh, shade=shade)
    f.limb(
        (ankle_x, foot),
        (toe_x, foot + 0.012 + 0.012 * np.maximum(f.cos, 0)),
        (0.025, 0.022),
        p["shoes"],
        shade=shade,
    )
    striped = p["leg_stripe"] & ~bare & (side * f.sin < 0.35)
    outer = side * 0.028 * width * f.cos
    white = np.where(p["lower"].sum(axis=1, keepdims=True) < 1.5, 0.95, 0.08).astype(np.float32).repeat(3, axis=1)
    f.limb((hip_x + outer, hip + 0.03), (knee_x + outer, knee), (0.009, 0.009), white, striped)
    f.limb((knee_x + outer, knee), (ankle_x + outer, foot - 0.03), (0.009, 0.008), white, striped)


def _arm(f: _Painter, p: NDArray[np.void], side: Array, phase: Array, hip: Array, shade: float) -> None:
    """Upper arm, forearm, hand of one side, swinging against the leg; a handbag hangs from the hand."""
    width = p["width"]
    forward = -side * np.sin(phase) * p["swing"] * np.float32(0.085)
    shoulder_x = f.across(side * 0.083 * width, 0.0)
    elbow_x = f.across(side * 0.112 * width, 0.4 * forward - 0.012)
    hand_x = f.across(side * 0.115 * width, forward + 0.01)
    shoulder, elbow, hand = 0.223, 0.5 * (hip + 0.18), hip - 0.005
    sleeve = np.where(p["long_sleeves"][:, None], p["upper"], p["skin"])
    f.limb((hand_x, hand), (hand_x, hand + 0.012), (0.02, 0.018), p["skin"], shade=shade)
    f.limb((elbow_x, elbow), (hand_x, hand - 0.015), (0.026, 0.021), sleeve, shade=shade)
    f.limb((shoulder_x, shoulder), (elbow_x, elbow), (0.035, 0.027), sleeve, shade=shade)
    short = ~p["long_sleeves"]
    middle = 0.5 * (shoulder_x + elbow_x), 0.5 * (shoulder + elbow)
    f.limb((shoulder_x, shoulder), middle, (0.037, 0.036), p["upper"], short, shade)
    held = (p["bag"] == 3) & (p["bag_side"] == side)
    f.limb((hand_x, hand), (hand_x, hand + 0.05), (0.012, 0.012), p["bag_color"], held)
    half = 0.066 * np.abs(f.sin) + 0.042 * np.abs(f.cos)
    f.box((hand_x + 0.012 * side * f.cos, hand + 0.09), (half, 0.05), 0.014, p["bag_color"], held, flare=0.12)


def _shoulder_bag(f: _Painter, p: NDArray[np.void], where: NDArray[np.bool_], hip: Array) -> None:
    x = f.across(p["bag_side"] * 0.105 * p["width"], 0.0)
    half = 0.068 * np.abs(f.sin) + 0.036 * np.abs(f.cos)
    f.box((x, hip + 0.02), (half, 0.055), 0.016, p["bag_color"], where & (p["bag"] == 2))


def _backpack(f: _Painter, p: NDArray[np.void], where: NDArray[np.bool_]) -> None:
    half = 0.078 * np.abs(f.cos) + 0.042 * np.abs(f.sin)
    center = f.across(0.0, -0.088), 0.315
    f.box(center, (half, 0.108), 0.03, p["bag_color"], where & (p["bag"] == 1), flare=0.1)


def _straps(f: _Painter, p: NDArray[np.void], hip: Array) -> None:
    """Two straps of a backpack, seen from the front; the strap of a shoulder bag, seen from everywhere."""
    front = (p["bag"] == 1) & (f.cos > -0.3)
    for strap in (-1.0, 1.0):
        top, low = f.across(strap * 0.058, 0.03), f.across(strap * 0.064, 0.05)
        f.limb((top, 0.19), (low, 0.36), (0.016, 0.016), p["bag_color"], front)
    side = p["bag_side"].astype(np.float32)
    start, end = f.across(-side * 0.06 * p["width"], 0.0), f.across(side * 0.095 * p["width"], 0.0)
    f.limb((start, 0.185), (end, hip), (0.014, 0.014), p["bag_color"], p["bag"] == 2)


def _long_hair(f: _Painter, p: NDArray[np.void], where: NDArray[np.bool_]) -> None:
    start, end = (f.across(0.0, -0.02), 0.115), (f.across(0.0, -0.035), 0.235)
    f.limb(start, end, (0.05 * p["head"], 0.05), p["hair"], p["long_hair"] & where)


def _head(f: _Painter, p: NDArray[np.void]) -> None:
    """Neck, head, hair (the whole head from behind), hat."""
    size = p["head"]
    x, y = f.across(0.0, 0.008), 0.112
    f.limb((f.across(0.0, 0.0), 0.15), (f.across(0.0, 0.0), 0.19), (0.026, 0.032), p["skin"], shade=0.9)
    f.limb((x, y - 0.01), (x, y + 0.014), (0.047 * size, 0.042 * size), p["skin"])
    rows = f.rows(0.0, 0.2, None)
    gx, gy = f.grid(rows, None)
    gx, gy = gx - _column(x, None), gy - y
    skull = np.sqrt(gx**2 + (gy + 0.008) ** 2) - 0.05 * size[:, None, None]
    fringe = gy + _column(0.026 * f.cos + 0.004, None) + 1.1 * gx * _column(f.sin, None)
    f.paint(np.maximum(skull, fringe), p["hair"], rows, None)
    _long_hair(f, p, f.cos <= -0.5)
    hat = p["hat"] > 0
    on = np.flatnonzero(hat)
    if on.size:
        dome = np.sqrt(gx[on] ** 2 + (gy[on] + 0.014) ** 2) - 0.056 * size[on, None, None]
        edge = gy[on] + _column(np.where(p["hat"] == 1, 0.018, 0.006), on)
        f.paint(np.maximum(dome, edge), p["hat_color"], rows, on)
    cap = (p["hat"] == 1) & (f.cos > -0.75)
    back, tip = f.across(0.0, 0.02), f.across(0.0, 0.085)
    low = y - 0.024 + 0.016 * np.maximum(f.cos, 0)
    f.limb((back, y - 0.024), (tip, low), (0.03, 0.012), p["hat_color"], cap, 0.9)


def _shadow(f: _Painter) -> None:
    """A soft dark patch on the floor."""
    rows = f.rows(0.94, 1.0, None)
    x, y = f.grid(rows, None)
    f.canvas[:, :, rows] *= 1 - 0.45 * np.clip(1.2 - np.sqrt((x / 0.1) ** 2 + ((y - 0.97) / 0.022) ** 2), 0, 1)


def draw_figures(canvas: Array, people: NDArray[np.void], views: NDArray[np.void]) -> None:
    """Paint one figure on each crop, in place.

    Parameters
    ----------
    canvas : (3, B, H, W) float32
        Pictures in [0, 1], channels first of all.
    people : (B,) of `PERSON`
        Who is drawn.
    views : (B,) of `VIEW`
        How the figure stands.
    """
    f = _Painter(canvas, people, views)
    p, phase = people, views["phase"]
    hip = 0.975 - 0.445 * p["legs"]
    far = np.where(f.sin > 0, 1, -1).astype(np.float32)  # the side away from the camera
    behind, before = f.cos > 0, f.cos <= 0
    bag_far = p["bag_side"] * f.sin > 0.25
    _shadow(f)
    _long_hair(f, p, f.cos > 0.3)
    _arm(f, p, far, phase, hip, 0.82)
    _shoulder_bag(f, p, bag_far, hip)
    _backpack(f, p, behind)
    _leg(f, p, far, phase, hip, 0.84)
    _leg(f, p, -far, phase, hip, 1.0)
    skirt = p["bottoms"] == 2
    half = (0.092 * np.abs(f.cos) + 0.078 * np.abs(f.sin)) * p["width"]
    f.box((0.0, hip + 0.095), (half, 0.11), 0.012, p["lower"], skirt, flare=0.28)
    _torso(f, p, views, hip)
    _straps(f, p, hip)
    _backpack(f, p, before)
    _shoulder_bag(f, p, ~bag_far, hip)
    _arm(f, p, -far, phase, hip, 0.93)
    _long_hair(f, p, (f.cos <= 0.3) & (f.cos > -0.5))
    _head(f, p)
