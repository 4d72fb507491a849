"""Frames of the built-in pedestrians, with MOT files: what a camera and a tracker would leave on a disk.

A frame shows, side by side, the crops that `reid.data.synthetic` draws for that camera and moment. Each sequence folder
(``cam1``, ``cam2``, ...) holds ``img1`` with the frames, ``seqinfo.ini``, ``gt/gt.txt`` with identities that all
cameras share, and ``tracks.txt``, the same boxes with numbers that mean something within their camera only, as a
tracker gives them. All cameras begin at the same moment.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reid.data.synthetic import FRAME_STEP, FRAMES_PER_SECOND, SyntheticConfig, SyntheticSet, draw
from reid.files import new_folder

_MARGIN = 8
_GREY = 127
_INFO = "[Sequence]\nname=cam{}\nimDir=img1\nframeRate={}\nseqLength={}\nimWidth={}\nimHeight={}\nimExt=.jpg\n"


def write_mot(config: SyntheticConfig, root: Path) -> Path:
    """Draw pedestrians and write them as MOT sequences, a folder a camera.

    Parameters
    ----------
    config : SyntheticConfig
        What to draw; its test persons walk among the others.
    root : path
        The folder to make. It may exist if it is empty.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    ValueError
        `root` is a file, or a folder that is not empty.
    """
    with new_folder(root) as beside:
        drawn = draw(config)
        for camera in np.unique(drawn.camid):
            _write_camera(drawn, np.flatnonzero(drawn.camid == camera), beside / f"cam{camera}")
    return Path(root)


def _write_camera(drawn: SyntheticSet, rows: NDArray[np.int64], folder: Path) -> None:
    """Frames and boxes of one camera; `rows` are its crops."""
    frame = drawn.frame[rows] // FRAME_STEP
    _, number = np.unique(drawn.tracklet[rows], return_inverse=True)
    place = _places(frame, number)
    height, width = drawn.images.shape[1:3]
    canvas = (height + 2 * _MARGIN, int(place.max() + 1) * (width + _MARGIN) + _MARGIN, 3)
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    truth, tracks = [], []
    for now in np.unique(frame):
        picture = np.full(canvas, _GREY, np.uint8)
        for k in np.flatnonzero(frame == now):
            left = _MARGIN + int(place[k]) * (width + _MARGIN)
            picture[_MARGIN : _MARGIN + height, left : left + width] = drawn.images[rows[k]]
            box = f"{left + 1},{_MARGIN + 1},{width},{height},1"
            truth.append(f"{now},{drawn.pid[rows[k]]},{box},1,1\n")
            tracks.append(f"{now},{number[k] + 1},{box},-1,-1,-1\n")
        Image.fromarray(picture).save(folder / "img1" / f"{now:06d}.jpg", quality=95, subsampling=0)
    (folder / "gt" / "gt.txt").write_text("".join(truth), encoding="utf-8")
    (folder / "tracks.txt").write_text("".join(tracks), encoding="utf-8")
    rate, name = FRAMES_PER_SECOND / FRAME_STEP, folder.name.removeprefix("cam")
    info = _INFO.format(name, rate, frame.max(), canvas[1], canvas[0])
    (folder / "seqinfo.ini").write_text(info, encoding="utf-8")


def _places(frame: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Column of the frame in which each crop stands: the first that is free as long as its track lasts."""
    place = np.zeros(number.max() + 1, dtype=np.int64)
    busy: dict[int, set[int]] = defaultdict(set)  # frame -> columns that are taken
    for track in range(number.max() + 1):
        moments = frame[number == track]
        taken = set().union(*(busy[int(now)] for now in moments))
        place[track] = next(k for k in range(len(taken) + 1) if k not in taken)
        for now in moments:
            busy[int(now)].add(int(place[track]))
    return place[number]
