"""What a person can judge best: the pictures that the last round put together, apart, or nearly together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.report.album import Album
from reid.report.details import Details
from reid.report.folder import Member
from reid.report.markup import Markup, join, tag

__all__ = ["Partition", "closest", "mosaics", "outliers"]

Ints = NDArray[np.int64]

LARGEST, OTHERS, PICTURES = 12, 6, 8
"""Clusters shown: of the largest, of each other kind; and pictures shown of each."""
OUTLIERS = 16


@dataclass(frozen=True)
class Partition:
    """N samples, in the clusters of the last round."""

    samples: list[Member]
    labels: Ints
    """(N,), -1 for outliers."""
    before: Ints | None
    """(N,) those of the round before, or None."""
    details: Details | None
    unit: str
    """What a sample is: pictures or tracklets."""

    def rows(self) -> dict[int, Ints]:
        """Rows of each cluster, without outliers."""
        order = np.argsort(self.labels, kind="stable")
        clusters, first = np.unique(self.labels[order], return_index=True)
        parts = np.split(order, first[1:])
        return {int(c): rows for c, rows in zip(clusters, parts, strict=True) if c >= 0}


def mosaics(found: Partition, album: Album) -> Markup:
    """Show the largest clusters, the loosest, those of most cameras, those that changed most, and the smallest.

    Empty when no cluster holds two members.
    """
    clusters = {c: rows for c, rows in found.rows().items() if len(rows) > 1}
    size = {c: len(rows) for c, rows in clusters.items()}
    largest = sorted(clusters, key=lambda c: (-size[c], c))[:LARGEST]
    smallest = sorted(set(clusters) - set(largest), key=lambda c: (size[c], c))[:OTHERS]
    kinds: list[tuple[str, str, list[int], dict[int, str]]] = [("Largest clusters", "", largest, {})]
    if found.details is not None:
        wide = {c: float(np.nanmean(found.details.to_center[rows])) for c, rows in clusters.items()}
        loosest = sorted(clusters, key=lambda c: (-wide[c], c))[:OTHERS]
        told = {c: f"mean squared distance to the middle {wide[c]:.3f}" for c in loosest}
        kinds.append(("Loosest clusters", "Members lie far from their middle: look for strangers.", loosest, told))
    cameras = {c: len(_cameras(found, rows)) for c, rows in clusters.items()}
    most = [c for c in sorted(clusters, key=lambda c: (-cameras[c], -size[c], c)) if cameras[c] > 1][:OTHERS]
    if most and max(cameras.values()) > min(cameras.values()):
        kinds.append(("Clusters of most cameras", "Right ones are what training gains from.", most, {}))
    if found.before is not None:
        changed = {c: _change(found.labels, found.before, c, rows) for c, rows in clusters.items()}
        moved = [c for c in sorted(clusters, key=lambda c: (-changed[c][0], c)) if changed[c][0]][:OTHERS]
        told = {c: changed[c][1] for c in moved}
        kinds.append(("Changed most since the round before", "", moved, told))
    kinds.append(("Smallest clusters of two or more", "", smallest, {}))
    parts = []
    for heading, note, labels, told in kinds:
        if labels:
            figures = [figure(found, label, clusters[label], album, told.get(label, "")) for label in labels]
            parts += [tag("h3", heading), tag("p", note, class_="soft") if note else Markup("")]
            parts.append(tag("div", join(figures), class_="mosaics"))
    return join([part for part in parts if part])


def outliers(found: Partition, album: Album) -> Markup | None:
    """Show samples that no cluster took: those nearest to another sample, and those farthest from all."""
    rows = np.flatnonzero(found.labels < 0)
    if not len(rows):
        return None
    if found.details is None:
        count = min(OUTLIERS, len(rows))
        chosen = [("", rows[[k * len(rows) // count for k in range(count)]])]
    else:
        distance = found.details.near_distance
        order = rows[np.argsort(distance[rows], kind="stable")]
        half = OUTLIERS // 2
        chosen = [("Nearly taken: nearest to another sample", order[:half])]
        if len(order) > half:
            chosen.append(("Farthest from all", order[half:][-half:][::-1]))
    parts = []
    for heading, picked in chosen:
        cells = []
        for i in picked:
            note = _where(found.samples[i])
            if found.details is not None:
                note = [*note, f"nearest {found.details.near_distance[i]:.3f}"]
            cells.append(album.cell(found.samples[i].path, *note))
        parts += [tag("h3", heading)] if heading else []
        parts.append(tag("figure", tag("ul", *cells, class_="pictures")))
    return join(parts)


def closest(found: Partition, album: Album) -> Markup | None:
    """Show pairs of clusters whose middles are closest: about to merge, and perhaps one identity."""
    if found.details is None or not len(found.details.cluster_pairs):
        return None
    clusters = found.rows()
    parts = []
    for (a, b), gap in zip(found.details.cluster_pairs.tolist(), found.details.cluster_gap.tolist(), strict=True):
        if a not in clusters or b not in clusters:
            continue
        caption = tag("figcaption", tag("b", f"Clusters {a} and {b}"), f": squared distance of the middles {gap:.3f}")
        sides = [
            tag("div", tag("p", f"Cluster {c}, {_size(found, clusters[c])}", class_="soft"),
                tag("ul", *_cells(found, clusters[c], album, 4), class_="pictures"))
            for c in (a, b)
        ]  # fmt: skip
        parts.append(tag("figure", caption, tag("div", *sides, class_="pair")))
    return tag("div", join(parts), class_="mosaics")


def figure(found: Partition, label: int, rows: Ints, album: Album, told: str = "") -> Markup:
    """One cluster with some of its members."""
    facts = ": " + "; ".join(filter(None, [_size(found, rows), told]))
    caption = tag("figcaption", tag("b", f"Cluster {label}"), facts)
    return tag("figure", caption, tag("ul", *_cells(found, rows, album, PICTURES), class_="pictures"))


def _cells(found: Partition, rows: Sequence[int] | Ints, album: Album, count: int) -> list[Markup]:
    # Evenly spaced among members by camera and tracklet: frames of one tracklet look alike and prove little.
    ranked = sorted(found.samples[i] for i in rows)
    count = min(count, len(ranked))
    shown = [ranked[k * len(ranked) // count] for k in range(count)]
    return [album.cell(member.path, *_where(member)) for member in shown]


def _size(found: Partition, rows: Ints) -> str:
    cameras = len(_cameras(found, rows))
    return f"{len(rows):,} {found.unit}" + (f", {cameras} camera{'s' * (cameras > 1)}" if cameras else "")


def _cameras(found: Partition, rows: Ints) -> set[int]:
    return {found.samples[i].camid for i in rows if found.samples[i].camid >= 0}


def _where(member: Member) -> list[str]:
    return [f"cam {member.camid}"] if member.camid >= 0 else []


def _change(labels: Ints, before: Ints, label: int, rows: Ints) -> tuple[int, str]:
    """How many members are new beside the largest part that was together before or have gone from it; and words."""
    old, counts = np.unique(before[rows], return_counts=True)
    old, counts = old[old >= 0], counts[old >= 0]
    if not len(old):
        return len(rows), "new: none of them was in a cluster"
    most = int(np.argmax(counts))
    gone = int((before == old[most]).sum()) - int(counts[most])
    came = len(rows) - int(counts[most])
    said = [f"{came} joined" if came else "", f"{gone} left" if gone else ""]
    said += [f"parts of {len(old)} clusters"] if len(old) > 1 else []
    return came + gone, ", ".join(filter(None, said))
