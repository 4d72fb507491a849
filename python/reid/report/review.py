"""The page on which a person marks pairs of pictures as same or different."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from reid.data.decoding import opened, orientation
from reid.data.records import Samples
from reid.files import write_text
from reid.report.album import Album, thumbnail
from reid.report.frame import whole_page
from reid.report.markup import Markup, join, tag
from reid.report.names import PairNames
from reid.report.pairs import Pair, choose_pairs
from reid.report.settings import ReviewConfig
from reid.report.source import read_source

__all__ = ["review"]

_AROUND = 60_000
_SIDEWAYS = range(5, 9)
"""EXIF orientations that swap height and width."""


def review(config: ReviewConfig, progress: Callable[[int, int, str], None] | None = None) -> Path:
    """Write a page with the pairs whose relation tells most about where clusters end.

    The page downloads `review.csv` (path_a, path_b, relation), which ``--constraints review.csv`` of training and
    clustering obeys.

    Parameters
    ----------
    config : ReviewConfig
        For example ``ReviewConfig(Path("runs/x"))``.
    progress : callable, optional
        Called with (done, total, stage).

    Returns
    -------
    Path
        The page: one file that loads nothing from anywhere.

    Raises
    ------
    ValueError
        No run and no features, labels of other pictures, or no pair to show.
    """
    found = read_source(config, progress)
    threads = config.workers or None
    # More than are needed, as some have pictures or names that cannot be used.
    pairs = choose_pairs(
        found.features, found.samples.camid, found.labels, config.pairs + 20, seed=config.seed, n_jobs=threads
    )
    names = PairNames(found.samples, found.root)
    room = int(config.max_megabytes * 1e6) - _AROUND
    tasks: list[Markup] = []
    digest = hashlib.sha256()
    for pair in pairs:
        line = names.line(pair.a, pair.b)
        sources = [_picture(found.samples, i, config.height) for i in (pair.a, pair.b)]
        size = sum(len(source or "") for source in sources) + 3000
        if line is None or None in sources or size > room or len(tasks) == config.pairs:
            continue
        room -= size
        digest.update(line + b"\n")
        album = Album(1.0, 0, found.root, pictures=False)
        tasks.append(_task(len(tasks) + 1, pair, found.samples, album, [s for s in sources if s is not None], line))
    if not tasks:
        raise ValueError(
            f"source={config.source}: no pair to review: no two samples are close enough, or their pictures "
            "cannot be read"
        )
    heading = f"Review of {found.name}"
    body = tag(
        "div", join(tasks), id="tasks", data_key=digest.hexdigest()[:24], data_head="path_a,path_b,relation",
    )  # fmt: skip
    write_text(config.output, whole_page(heading, [_head(heading, len(tasks)), body], script="review.js"))
    return config.output


def _head(heading: str, count: int) -> Markup:
    keys = [("S", "same identity"), ("D", "different"), ("U", "unsure"), ("\u2190 \u2192", "back and on")]
    listed = [part for key, what in keys for part in (tag("kbd", key), f" {what}  ")]
    return tag(
        "header",
        tag("h1", heading),
        tag("p", f"{count} pairs of pictures: do both show the same one? ", *listed, class_="keys"),
        tag("p", "Marks are kept in this browser. When you are done, download the CSV file and give it to "
                 "training or clustering: ", tag("code", "--constraints review.csv"), ". Unsure pairs are left out."),
        tag("noscript", tag("p", "Marking takes JavaScript; the pairs are shown below.", class_="box alarm")),
    )  # fmt: skip


def _task(number: int, pair: Pair, samples: Samples, album: Album, sources: list[Markup], line: bytes) -> Markup:
    figures = []
    for i, source in zip((pair.a, pair.b), sources, strict=True):
        frames = samples.frames[i]
        name = album.name(frames[len(frames) // 2])
        camera = f", cam {samples.camid[i]}" if samples.camid[i] >= 0 else ""
        figures.append(tag("figure", tag("img", src=source, alt=name + camera), tag("figcaption", name + camera)))
    return tag(
        "article",
        tag("h2", f"Pair {number}", id=f"pair-{number}"),
        tag("p", pair.why, class_="soft"),
        tag("div", *figures, class_="two"),
        class_="task", data_line=base64.b64encode(line).decode("ascii"), aria_labelledby=f"pair-{number}",
    )  # fmt: skip


def _picture(samples: Samples, i: int, height: int) -> Markup | None:
    """The middle frame in its own shape; None when it can't be read."""
    frames = samples.frames[i]
    path = frames[len(frames) // 2]
    try:
        with opened(path) as picture:
            wide, high = picture.size
            if orientation(picture) in _SIDEWAYS:
                wide, high = high, wide
    except Exception:  # Pillow raises nearly any type on a broken file
        return None
    return thumbnail(path, min(4.0, max(0.1, wide / high)), height)
