"""A folder of 50 pictures of many kinds, with some that can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFilter import GaussianBlur

HOSTILE = [
    "<img src=x onerror=alert(1)>.jpg",
    "quote\"s, and 's.jpg",
    "line\nbreak.jpg",
    "-rf.jpg",
    "=1+1.jpg",
    "@x.jpg",
]
BAD = {
    "empty.jpg": "empty file (0 bytes)",
    "text.jpg": "not a JPEG, PNG, BMP, WEBP, TIFF or GIF file",
    "cut.jpg": "image file is truncated",
    "cut.png": "",
    "float.tif": "32-bit float pixels have no agreed range",
}
"""Names and what is said of them."""


def scene(seed: int, size: tuple[int, int] = (60, 120)) -> Image.Image:
    """Shapes that differ from seed to seed, in RGB; size is width and height."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC).filter(GaussianBlur(1))


def draw_mixed(root: Path) -> Path:
    """50 files: 45 that can be read, 5 that can't (`BAD`)."""
    root.mkdir()
    for i in range(12):
        scene(i).save(root / f"portrait{i:02d}.jpg", quality=92)
        scene(100 + i, (120, 60)).save(root / f"landscape{i:02d}.png")
    for turn in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = turn
        scene(200 + turn).save(root / f"turned{turn}.jpg", exif=exif)
    for i in (0, 1):
        scene(300 + i).convert("CMYK").save(root / f"cmyk{i}.jpg")
        grey = np.asarray(scene(310 + i).convert("L"), dtype=np.uint16) * 257
        Image.fromarray(grey).save(root / f"deep{i}.png")
        transparent = scene(320 + i).convert("RGBA")
        transparent.putalpha(scene(330 + i).convert("L"))
        transparent.save(root / f"alpha{i}.png")
    scene(340).save(root / "moving.gif", save_all=True, append_images=[scene(341)])
    scene(350, (9, 40)).save(root / "tiny.png")
    (root / "same.jpg").write_bytes((root / "portrait03.jpg").read_bytes())
    scene(4).save(root / "recompressed.jpg", quality=50)
    scene(5).resize((30, 60)).save(root / "half.png")
    for k, name in enumerate(HOSTILE):
        scene(400 + k).save(root / name, format="JPEG")
    with open(os.fsencode(root) + b"/undecodable\xff.jpg", "wb") as file:
        scene(500).save(file, format="JPEG")
    (root / "empty.jpg").touch()
    (root / "text.jpg").write_text("this is no picture\n")
    whole = (root / "portrait00.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    whole = (root / "landscape00.png").read_bytes()
    (root / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((20, 20), np.float32)).save(root / "float.tif")
    return root
