"""The picture size that a run takes when none is given."""

from __future__ import annotations

import numpy as np

from reid.data.decoding import opened, orientation
from reid.data.records import Samples

__all__ = ["usual_size"]


def usual_size(samples: Samples) -> tuple[int, int]:
    """(256, 128) for upright pictures, (128, 256) for lying ones, else (128, 128).

    By the median shape of a hundred first frames, as they stand after EXIF has turned them. From 1.5 times as high as
    wide on a picture is upright.
    """
    shapes = []
    for i in np.linspace(0, len(samples) - 1, 100).astype(int):
        try:
            with opened(samples.frames[i][0]) as picture:
                width, height = picture.size
                if orientation(picture) >= 5:
                    width, height = height, width
        except Exception:  # all bad files are listed together when the pictures are read
            continue
        shapes.append(height / width)
    shape = float(np.median(shapes)) if shapes else 1.0
    return (256, 128) if shape >= 1.5 else (128, 256) if shape <= 1 / 1.5 else (128, 128)
