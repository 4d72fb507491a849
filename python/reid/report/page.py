"""The report of a run: its sections in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from reid.files import write_text
from reid.report.advice import advice_list
from reid.report.album import Album
from reid.report.cameras import camera_section
from reid.report.compare import comparison
from reid.report.curves import cluster_sizes, curves, thinned
from reid.report.details import Details
from reid.report.folder import RunFolder, read
from reid.report.frame import section, whole_page
from reid.report.histograms import distances
from reid.report.markup import Markup, tag
from reid.report.mosaic import Partition, closest, mosaics, outliers
from reid.report.private import without_folders
from reid.report.ranked import ranked_lists
from reid.report.settings import ReportConfig
from reid.report.summary import key_figures, summary, title, warnings
from reid.report.tables import meanings, rounds_table, run_table, settings_table

__all__ = ["AROUND_PICTURES", "MAX_BYTES", "write", "write_report"]

MAX_BYTES = 6_000_000
"""Size of a page, about: thumbnails beyond it are left out."""

AROUND_PICTURES = 300_000
"""Bytes kept for names and boxes around the thumbnails."""

OLDER = "Ranked lists, distances and cameras are not shown: the run folder holds no report/details.npz."


def write_report(config: ReportConfig) -> Path:
    """Write the report of a run, or of several side by side.

    Parameters
    ----------
    config : ReportConfig
        For example ``ReportConfig((Path("runs/x"),), pictures=False)``.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        No run folder, or a broken file in one; names it.
    OSError
        The page can't be written; an older one stays.
    """
    if not config.runs:
        raise ValueError("runs: name at least one folder that reid-train wrote")
    most = int(config.max_megabytes * 1e6)
    if len(config.runs) == 1:
        return write(config.runs[0], pictures=config.pictures, output=config.output, max_bytes=most)
    found = [read(run) for run in config.runs]
    if not config.pictures:
        found = [without_folders(run) for run in found]
    path = config.output or Path("comparison.html")
    write_text(path, comparison(list(zip(_names(config.runs), found, strict=True))))
    return path


def write(run: Path, *, pictures: bool = True, output: Path | None = None, max_bytes: int | None = None) -> Path:
    """Make the report of one run from its folder, and from the pictures that it names.

    Parameters
    ----------
    run : Path
        Folder that `reid-train` wrote; of its files only metrics.jsonl must be there.
    pictures : bool, default True
        With False the page holds no picture, and names no folder above the data's root.
    output : Path, optional
        The page. Default: report.html in the folder.
    max_bytes : int, optional
        Size of the page, about. Default: `MAX_BYTES`.

    Returns
    -------
    Path
        The page: one file that loads nothing from anywhere.

    Raises
    ------
    ValueError
        The folder holds no rounds, or a broken file; names it.
    OSError
        The page can't be written; an older one stays.
    """
    run = Path(run)
    found = read(run)
    root = found.fact("data", "root")
    place = Path(root) if isinstance(root, str) else None
    shown = found if pictures else without_folders(found)
    room = MAX_BYTES if max_bytes is None else max_bytes
    without = _page(shown, found, Album(_aspect(found), 0, place, pictures=False))
    album = Album(_aspect(found), room - len(without.encode()) - AROUND_PICTURES, place, pictures=pictures)
    path = output or run / "report.html"
    write_text(path, _page(shown, found, album))
    return path


def _page(run: RunFolder, found: RunFolder, album: Album) -> Markup:
    """`run` is what is told, `found` where the pictures are."""
    parts: list[tuple[str, str, Callable[[], Markup | None]]] = [
        ("advice", "Advice", lambda: advice_list(run)),
        ("warnings", "Warnings and notes", lambda: warnings(run)),
        ("curves", "Curves", lambda: curves(run)),
        ("rounds", "All rounds", lambda: rounds_table(thinned(run), run.selected, len(run.rounds))),
        ("sizes", "Cluster sizes", lambda: cluster_sizes(run)),
        *_looks(run, found, album),
        ("settings", "Settings", lambda: settings_table(run.settings)),
        ("run", "The run", lambda: run_table(run)),
        ("words", "What the words mean", meanings),
    ]
    sections, links = [_head(run)], []
    for key, heading, make in parts:
        body = make()
        if body is not None:
            sections.append(section(key, heading, body))
            links.append((key, heading))
    return whole_page(f"Report: {title(run)}", sections, links)


def _looks(run: RunFolder, found: RunFolder, album: Album) -> list[tuple[str, str, Callable[[], Markup | None]]]:
    """Sections that show samples and distances."""
    parts: list[tuple[str, str, Callable[[], Markup | None]]] = []
    partition, details = _partition(found), found.details
    if partition is not None:
        p = partition  # not None in the calls below
        parts += [
            ("together", "What was put together", lambda: _together(p, album)),
            ("outliers", "Outliers", lambda: outliers(p, album)),
            ("closest", "About to merge", lambda: closest(p, album)),
        ]
    if details is not None:
        d = details
        parts += [
            ("searches", "Ranked lists", lambda: _searches(d, album)),
            ("distances", "Distances", lambda: distances(run, d)),
            ("cameras", "Camera by camera", lambda: camera_section(d)),
        ]
    elif partition is not None:
        parts.append(("details", "Not shown", lambda: tag("p", OLDER, class_="soft")))
    if parts:
        parts.append(("pictures", "Pictures", lambda: tag("p", said) if (said := album.note()) else None))
    return parts


def _together(partition: Partition, album: Album) -> Markup:
    middle = " Of a tracklet its middle frame is shown." if partition.unit == "tracklets" else ""
    told = f"Up to eight {partition.unit} of a cluster, over its cameras and tracklets, in the shape the network sees."
    shown = mosaics(partition, album) or tag("p", "No cluster holds two samples.")
    return tag("div", tag("p", told + middle, class_="soft"), shown)


def _searches(details: Details, album: Album) -> Markup | None:
    shown = ranked_lists(details, album)
    if shown is None:
        return None
    told = (
        "The ten nearest of the gallery under the network after the last round, the query first; pictures of the "
        "query's identity from its own camera are left out. Frames and words tell right from wrong where identities "
        "are known (they are used here to judge, not to train). Numbers are squared distances."
    )
    return tag("div", tag("p", told, class_="soft"), shown)


def _partition(run: RunFolder) -> Partition | None:
    if not run.rows:
        return None
    if run.details is not None:
        rows = [run.rows[i] for i in run.details.frame.tolist()]
        details = run.details
    elif run.unit == "tracklets":  # without details no one knows where pieces of a tracklet end
        rows, details = [(label, m) for label, members in run.members.items() for m in members], None
    else:
        rows, details = run.rows, None
    labels = np.array([label for label, _ in rows], np.int64)
    before = run.before if run.before is not None and len(run.before) == len(labels) else None
    if details is None and run.unit == "tracklets":
        before = None
    return Partition([member for _, member in rows], labels, before, details, run.unit)


def _head(run: RunFolder) -> Markup:
    started, device = run.fact("started"), run.fact("device")
    told = ", ".join(str(s) for s in (started and f"started {started}", device and f"on {device}") if s)
    when = tag("p", told[:1].upper() + told[1:], class_="when") if told else None
    return tag("header", tag("h1", title(run)), when, summary(run), key_figures(run))


def _aspect(run: RunFolder) -> float:
    """Width over height of the network's input; a person's when the settings don't tell."""
    height, width = run.settings.get("height"), run.settings.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return width / height
    return 0.5


def _names(runs: tuple[Path, ...]) -> list[str]:
    """Last names of the folders, with the folder above where two are alike."""
    names = [run.resolve().name or str(run) for run in runs]
    if len(set(names)) < len(names):
        names = ["/".join(run.resolve().parts[-2:]) for run in runs]
    return [f"{name} ({k})" if names.count(name) > 1 else name for k, name in enumerate(names, 1)]
