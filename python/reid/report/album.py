"""Small pictures inside a page, as long as there is room; boxes with names where there is none, or no file."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from reid.data.decoding import decode
from reid.report.markup import Markup, tag

__all__ = ["Album", "thumbnail"]

HEIGHT = 96
"""Height of a thumbnail, pixels."""


class Album:
    """Gives pictures as elements and keeps count of their bytes.

    Parameters
    ----------
    aspect : float
        Width over height of a thumbnail: the shape in which the network sees a picture.
    room : int
        Bytes that all pictures may take together.
    root : Path, optional
        Folder that names are shown relative to.
    pictures : bool, default True
        With False no file is opened and every picture is a box.
    """

    def __init__(self, aspect: float, room: int, root: Path | None = None, *, pictures: bool = True) -> None:
        self.aspect, self.room, self.root, self.pictures = aspect, room, root, pictures
        self.shown, self.gone, self.left_out = 0, 0, 0
        self._made: dict[str, Markup | None] = {}

    def name(self, path: str) -> str:
        """A picture's name as a page tells it: relative to the data's root, or without folders."""
        if self.root is not None:
            relative = os.path.relpath(path, self.root)
            if not relative.startswith(os.pardir + os.sep):
                return relative
        return PurePath(path).name or path

    def cell(self, path: str, *notes: str, kind: str | None = None) -> Markup:
        """One entry of a list of pictures: the picture, notes below it, and a class of the entry."""
        name = self.name(path)
        told = ", ".join([name, *notes])
        small = [tag("small", note) for note in notes]
        return tag("li", self.picture(path, told, PurePath(name).name or name), *small, class_=kind)

    def picture(self, path: str, told: str, box: str) -> Markup:
        """The picture with its words, or a box with the name `box`."""
        source = self._source(path)
        if source is None:
            return tag("span", box, class_="missing", title=told)
        return tag("img", src=source, alt=told, title=told, height=HEIGHT)

    def note(self) -> str:
        """What pictures are missing and why, as a sentence; empty when none are."""
        said = []
        if not self.pictures:
            said.append("The page was made without pictures: boxes show their names.")
        if self.gone:
            said.append(
                f"{self.gone} pictures can no longer be read where they were; boxes show their names. "
                "Write the report again where the data are."
            )
        if self.left_out:
            said.append(f"{self.left_out} pictures were left out to keep the page small.")
        return " ".join(said)

    def _source(self, path: str) -> Markup | None:
        if not self.pictures:
            return None
        if path not in self._made:
            self._made[path] = thumbnail(path, self.aspect)
        source = self._made[path]
        if source is None:
            self.gone += 1
        elif len(source) > self.room:
            self.left_out += 1
            return None
        else:
            self.room -= len(source)
            self.shown += 1
        return source


def thumbnail(path: str, aspect: float, height: int = HEIGHT) -> Markup | None:
    """Make a data URI of a JPEG of the picture at `path`, `height` pixels high; None when it can't be read."""
    try:
        pixels = decode(path, height, max(1, min(round(height * aspect), 4 * height)))  # (3, height, W)
    except ValueError:
        return None
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "JPEG", quality=80)
    return Markup("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii"))
