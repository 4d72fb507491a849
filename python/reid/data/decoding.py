"""One picture file and its pixels: the only way in which pixels enter the program."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reid.data.records import printable

__all__ = ["FORMATS", "MAX_PIXELS", "cores", "decode", "opened", "orientation", "read_pixels", "reason", "upright_rgb"]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
"""Formats that are opened, whatever a file is called; others are refused."""

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded: a few kilobytes of PNG can claim gigabytes."""

_BEHIND_ALPHA = 127
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(path: str | os.PathLike[str], height: int, width: int) -> NDArray[np.uint8]:
    """Read one picture: the only way in which pixels enter the program.

    The first frame of JPEG, PNG, BMP, WebP, TIFF and GIF files is decoded completely and turned upright as
    its EXIF says; transparent pixels are laid over grey (127), CMYK is converted to RGB, 16-bit grey is
    scaled to 8 bits; colour profiles are ignored. It is resized bilinearly, with antialiasing, without
    keeping the aspect.

    Parameters
    ----------
    path : str or path
    height, width : int

    Returns
    -------
    uint8 array (3, height, width)
        Red, green, blue.

    Raises
    ------
    ValueError
        Not a regular file, another format, broken, more than `MAX_PIXELS` pixels, or 32-bit pixels without a
        known range.
    """
    try:
        return read_pixels(path, height, width)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises nearly any type on a broken file
        raise ValueError(f"{printable(path)}: {reason(error)}") from error


def read_pixels(path: str | os.PathLike[str], height: int, width: int) -> NDArray[np.uint8]:
    """As `decode`, but raises what Pillow raises on a broken file: see `reason`."""
    with opened(path) as picture:
        rgb = upright_rgb(picture)
    rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """A picture of which only the head has been read. Raises nearly any type on a broken file: see `reason`."""
    # Opening a FIFO would wait for a writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError("empty file (0 bytes)")
        file.seek(0)
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,}: scale it down")
            if picture.mode == "F":
                raise ValueError("32-bit float pixels have no agreed range: save it with 8 bits a channel")
            yield picture


def upright_rgb(picture: Image.Image) -> Image.Image:
    """All pixels of an opened picture in RGB, turned upright (see `decode`)."""
    picture.load()
    rgb = _to_rgb(picture)
    # Pillow turns TIFF files itself while loading and drops the tag, so the tag is read after that.
    turn = _UPRIGHT.get(orientation(picture))
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return Image.fromarray(_grey_bytes(picture)).convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        behind = Image.new("RGBA", rgba.size, (_BEHIND_ALPHA, _BEHIND_ALPHA, _BEHIND_ALPHA, 255))
        return Image.alpha_composite(behind, rgba).convert("RGB")
    try:
        return picture.convert("RGB")
    except ValueError as error:
        raise ValueError(f"colour mode {picture.mode} can't be converted: save it as RGB") from error


def _grey_bytes(picture: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(picture)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError(f"32-bit grey values from {values.min()} to {values.max()} have no agreed range: save 16 bits")
    return np.rint(values.astype(np.float32) / 257).astype(np.uint8)


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none. From 5 on height and width change places."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def reason(error: Exception) -> str:
    """Why a picture could not be read, in a few words."""
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS:,} pixels: scale the picture down"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def cores() -> int:
    """Cores that this process may use: as many threads decode pictures."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
