"""A page with the pictures of clusters, to be looked at: one file that loads nothing from anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid.data.sizes import usual_size
from reid.feature_table import FeatureTable
from reid.files import write_text
from reid.report.album import Album
from reid.report.folder import Member
from reid.report.frame import section, whole_page
from reid.report.markup import Markup, tag
from reid.report.mosaic import Partition, mosaics, outliers

__all__ = ["write_page"]

ROOM = 4_000_000
"""Bytes that pictures may take together; those beyond are boxes with names."""


def write_page(
    path: Path, table: FeatureTable, labels: NDArray[np.int64], before: NDArray[np.int64] | None, facts: list[str]
) -> Path:
    """Show the clusters that are worth a look, and outliers; `facts` are told above. Of a tracklet its middle frame."""
    s = table.samples
    shown = [
        Member(int(camera), int(tracklet), frames[len(frames) // 2])
        for camera, tracklet, frames in zip(s.camid, s.tracklet, s.frames, strict=True)
    ]
    unit = "tracklets" if (s.n_frames > 1).any() else "pictures"
    found = Partition(shown, labels, before, None, unit)
    height, width = usual_size(s)
    album = Album(width / height, ROOM, table.root)
    parts = [
        ("clusters", "Clusters", mosaics(found, album) or tag("p", "No cluster holds two samples.")),
        ("outliers", "Outliers", outliers(found, album) or tag("p", "None.")),
    ]
    head = tag("header", tag("h1", "Clusters"), *(tag("p", text) for text in [*facts, album.note()] if text))
    sections: list[Markup] = [head, *(section(*part) for part in parts)]
    write_text(path, whole_page("Clusters", sections, [part[:2] for part in parts]))
    return path
