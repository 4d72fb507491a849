"""What a person can judge best: the pictures that the last round put together."""

from __future__ import annotations

import base64
import io
from pathlib import PurePath

import numpy as np
from PIL import Image

from reid.data.pictures import decode
from reid.report.folder import Member
from reid.report.markup import Markup, join, tag

__all__ = ["mosaics", "thumbnail"]

LARGEST, SMALLEST, PICTURES = 12, 6, 8
"""Clusters shown of each kind, and pictures shown of each."""

HEIGHT = 96
"""Height of a thumbnail, pixels."""


def mosaics(members: dict[int, list[Member]], aspect: float, room: int, unit: str = "pictures") -> Markup:
    """Show the largest clusters and the smallest that hold two members or more.

    Parameters
    ----------
    members : dict of int to list of Member
        Clusters; -1, the outliers, is not shown.
    aspect : float
        Width over height of a thumbnail: the shape in which the network sees a picture.
    room : int
        Bytes that thumbnails may take together; pictures beyond it are boxes with their names.
    unit : str
        What a member is.

    Returns
    -------
    Markup
        Empty when no cluster holds two members.
    """
    shared = [label for label in members if label >= 0 and len(members[label]) >= 2]
    largest = sorted(shared, key=lambda c: (-len(members[c]), c))[:LARGEST]
    smallest = sorted(set(shared) - set(largest), key=lambda c: (len(members[c]), c))[:SMALLEST]
    parts = []
    for heading, labels in (("Largest clusters", largest), ("Smallest clusters of two or more", smallest)):
        if not labels:
            continue
        figures = []
        for label in labels:
            figure, used = _cluster(label, members[label], aspect, room, unit)
            room -= used
            figures.append(figure)
        parts += [tag("h3", heading), tag("div", join(figures), class_="mosaics")]
    return join(parts)


def thumbnail(path: str, aspect: float) -> Markup | None:
    """Make a data URI of a small JPEG of the picture at `path`; None when it can't be read."""
    try:
        pixels = decode(path, HEIGHT, max(1, min(round(HEIGHT * aspect), 4 * HEIGHT)))  # (3, 96, W)
    except ValueError:
        return None
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "JPEG", quality=80)
    return Markup("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"))


def _cluster(label: int, rows: list[Member], aspect: float, room: int, unit: str) -> tuple[Markup, int]:
    """Return the figure of one cluster, and the bytes that its thumbnails take."""
    # Evenly spaced among members by camera and tracklet: frames of one tracklet look alike and prove little.
    ranked = sorted(rows)
    count = min(PICTURES, len(ranked))
    shown = [ranked[k * len(ranked) // count] for k in range(count)]
    cells, used = [], 0
    for member in shown:
        name = PurePath(member.path).name or member.path
        where = f"cam {member.camid}" if member.camid >= 0 else None
        source = thumbnail(member.path, aspect)
        if source is not None and used + len(source) <= room:
            used += len(source)
            told = name if where is None else f"{name}, {where}"
            picture = tag("img", src=source, alt=told, title=told, height=HEIGHT)
        else:
            picture = tag("span", name, class_="missing")
        cells.append(tag("li", picture, tag("small", where) if where else None))
    cameras = len({m.camid for m in rows if m.camid >= 0})
    facts = f"{len(rows):,} {unit}" + (f", {cameras} camera{'s' * (cameras > 1)}" if cameras else "")
    caption = tag("figcaption", tag("b", f"Cluster {label}"), f": {facts}")
    return tag("figure", caption, tag("ul", *cells, class_="pictures")), used
