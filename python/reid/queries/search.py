"""`reid-search` as a function: queries in, the nearest pictures out."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.clustering.toc import parse_exempt
from reid.data.records import Samples, printable, shortlist
from reid.feature_table import FeatureTable, read_features
from reid.groups.labels_file import write_table
from reid.groups.source import load_table, same_features, unique_rows, unit_rows
from reid.queries.calibration import Calibration, calibrate, kind_of_pairs
from reid.queries.config import SearchConfig
from reid.training.log import Log

__all__ = ["COLUMNS", "Query", "Result", "Search", "search"]

Floats = NDArray[np.float32]

COLUMNS = (
    "query", "rank", "distance", "reranked", "probability", "false_share", "kind", "path", "camid", "tracklet", "pid",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One picture that was found."""

    rank: int
    path: str
    """Relative to the table's root; of a tracklet its first frame."""
    row: int
    """Row of the searched table."""
    distance: float
    """Euclidean distance of unit features, 0 to 2."""
    reranked: float | None
    """Distance after re-ranking, 0 to 1."""
    kind: str
    """Of the pair of query and picture: see `reid.queries.calibration`."""
    probability: float | None
    """That it shows the query's identity; None where it cannot be told."""
    false_share: float | None
    """Upper bound (95 %) of the share of false ones among pairs of this kind at most as far apart; None: cannot be
    told."""
    camid: int
    tracklet: int
    pid: int


@dataclass(frozen=True)
class Query:
    """One query and what was found."""

    name: str
    row: int
    """Row of the searched table, -1 for a picture from elsewhere."""
    camid: int
    results: tuple[Result, ...]


@dataclass(frozen=True, eq=False)
class Search:
    """What `search` found."""

    queries: tuple[Query, ...]
    calibration: Calibration
    output: Path | None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "queries": [
                {"query": q.name, "camid": q.camid, "results": [vars(r) for r in q.results]} for q in self.queries
            ],
            "calibration": {
                "pairs": self.calibration.counts,
                "reliability_error": {kind: fit.error for kind, fit in self.calibration.fits.items()},
                "prior": {kind: fit.prior for kind, fit in self.calibration.fits.items()},
                "missing": list(self.calibration.reasons),
            },
        }


def search(config: SearchConfig, *, quiet: bool = False) -> Search:
    """Find the pictures nearest to queries, exactly.

    Parameters
    ----------
    config : SearchConfig
    quiet : bool, default False
        Print nothing.

    Raises
    ------
    ValueError, FileNotFoundError
        A setting, file or query that cannot be used; `max_false` where nothing tells what is false.
    """
    log = Log(quiet)
    exempt = _exempt(config.overlapping_views)
    if not config.path.lower().endswith((".npz", ".parquet")):
        raise ValueError(
            f"path={printable(config.path)}: must be a feature table (.npz, .parquet); reid-extract makes one"
        )
    table = unique_rows(load_table(config.path, SearchConfig(root=config.root)))
    x = unit_rows(table.features)
    names, rows, queries, cameras = _queries(table, x, config, log)
    if config.exclude_same_camera and (cameras < 0).any():
        name = printable(names[int(np.argmax(cameras < 0))])
        raise ValueError(f"exclude_same_camera: the camera of {name} is not known; give camera, or leave it out")
    told = calibrate(x, table.samples, exempt=exempt, seed=config.seed)
    if config.max_false is not None and not told.shares:
        raise ValueError(f"max_false={config.max_false:g}: {' '.join(told.reasons)} Leave max_false out")
    order, reranked = _ordered(x, queries, rows, cameras, table.samples.camid, config, log)
    found = tuple(
        Query(name, int(rows[q]), int(cameras[q]), _results(q, queries, cameras, order[q], reranked, table, x, told))
        for q, name in enumerate(names)
    )
    if config.max_false is not None:
        seen = {r.kind for query in found for r in query.results}
        told = dataclasses.replace(told, reasons=(*told.reasons, *_out_of_reach(told, seen, config.max_false)))
        found = tuple(_sure(query, config.max_false) for query in found)
    if config.output is not None:
        lines = ((q.name, *_cells(r)) for q in found for r in q.results)
        write_table(config.output, COLUMNS, lines)
    return Search(found, told, config.output)


def _out_of_reach(told: Calibration, seen: set[str], asked: float) -> list[str]:
    """Kinds of pairs in which no result can be shown to be as good as asked for."""
    return [
        f"{kind}: no result can be shown to be false with at most {asked:g}, only with {share[0]:.2g}; more tracklets "
        f"seen at one time would tell more."
        for kind, (_, share) in told.shares.items()
        if kind in seen and kind not in told.fits and share[0] > asked
    ]


def _exempt(text: str) -> list[tuple[int, int]]:
    try:
        return parse_exempt(text)
    except ValueError:
        raise ValueError(f"overlapping_views={text!r}: must be pairs of camera ids, such as 2-8,3-5") from None


def _queries(
    table: FeatureTable, x: Floats, config: SearchConfig, log: Log
) -> tuple[list[str], NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Name, row (-1: not in the table), features and camera of each query."""
    camera = -1 if config.camera is None else config.camera
    if config.query_features is not None:
        own = read_features(config.query_features)
        same_features(table, own)
        cameras = np.where(own.samples.camid >= 0, own.samples.camid, camera)
        if not len(own.samples):
            raise ValueError(f"query_features={printable(config.query_features)}: holds no rows")
        return own.names(), np.full(len(cameras), -1), unit_rows(own.features), cameras
    if not config.query:
        raise ValueError("query: is missing: name pictures to search for, or give query_features")
    known = _Names(table)
    rows = np.array([known.row(name) for name in config.query])
    new = np.flatnonzero(rows < 0)
    features = x[rows]
    if len(new):
        paths = [config.query[i] for i in new]
        absent = [path for path in paths if not os.path.isfile(path)]
        if absent:
            raise FileNotFoundError(
                f"query: neither rows of {printable(config.path)} nor files: {shortlist(absent)}: check the names"
            )
        made = _features(paths, table, config, log)
        if made.shape[1] != x.shape[1]:
            raise ValueError(
                f"query={printable(paths[0])}: the network makes features of {made.shape[1]} columns, "
                f"{printable(config.path)} has {x.shape[1]}; name the run that its features are from"
            )
        features[new] = unit_rows(made)
    cameras = np.where(rows >= 0, table.samples.camid[rows], camera)
    return list(config.query), rows, np.ascontiguousarray(features), cameras


def _features(paths: list[str], table: FeatureTable, config: SearchConfig, log: Log) -> Floats:
    """Features of pictures by the network of the settings, or by the one that made the table."""
    if config.run is None and config.weights is None:
        if "network" not in table.facts:
            raise ValueError(
                f"query={printable(paths[0])}: is not in {printable(config.path)}, which does not say what network its "
                "features are from; give run or weights"
            )
        from reid.extraction.extractor import FeatureExtractor

        return FeatureExtractor.like(table.facts, device=config.device, workers=config.workers)(paths)
    from reid.groups.pictures import features_of

    return features_of([Samples.from_paths(paths)], config, log.progress)[0]


class _Names:
    """Finds the row of a picture's name."""

    def __init__(self, table: FeatureTable) -> None:
        self.root = os.path.abspath(table.root)
        self.frames = table.samples.frames
        self.by_end: dict[str, list[tuple[str, int]]] = {}
        for i, frames in enumerate(self.frames):
            for frame in frames:
                self.by_end.setdefault(os.path.basename(frame), []).append((frame, i))

    def row(self, name: str) -> int:
        """The row of the file `name`, of that name in the table, or of the one that ends in it; -1: none."""
        wanted = os.path.normpath(name)
        near = [(os.path.abspath(frame), i) for frame, i in self.by_end.get(os.path.basename(wanted), [])]
        for exact in (os.path.abspath(name), os.path.join(self.root, wanted)):
            for frame, i in near:
                if frame == exact:
                    return i
        ends = sorted({i for frame, i in near if frame.endswith(os.sep + wanted)})
        if len(ends) > 1:
            listed = shortlist([os.path.relpath(self.frames[i][0], self.root) for i in ends])
            raise ValueError(f"query={printable(name)}: is the end of {len(ends)} names: {listed}: give more of it")
        return ends[0] if ends else -1


def _ordered(
    x: Floats, queries: Floats, rows: NDArray[np.int64], cameras: NDArray[np.int64], camid: NDArray[np.int64],
    config: SearchConfig, log: Log,
) -> tuple[list[NDArray[np.int64]], Floats | None]:  # fmt: skip
    """Rows found for each query, nearest first, and distances after re-ranking, (Q, N), where they are asked for."""
    jobs = config.workers or None
    order: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(queries)
    # A query that is a row of the table stands beside its own copy; that it counts twice there moves little.
    reranked = reid_cluster.rerank(queries, x, n_jobs=jobs, progress=log.progress) if config.rerank else None
    groups = np.unique(cameras) if config.exclude_same_camera else [None]
    for camera in groups:
        asked = np.arange(len(queries)) if camera is None else np.flatnonzero(cameras == camera)
        allowed = np.arange(len(x)) if camera is None else np.flatnonzero(camid != camera)
        if not len(allowed):
            continue
        if reranked is not None:
            for q in asked:
                ranked = allowed[np.argsort(reranked[q, allowed], kind="stable")]
                order[q] = ranked[ranked != rows[q]][: config.top]
            continue
        pool = x if len(allowed) == len(x) else x[allowed]
        k = min(config.top + 1, len(pool))
        found = reid_cluster.knn(pool, k, queries=queries[asked], n_jobs=jobs, progress=log.progress).indices
        for q, nearest in zip(asked, found, strict=True):
            ranked = allowed[nearest]
            order[q] = ranked[ranked != rows[q]][: config.top]
    return order, reranked


def _results(
    q: int, queries: Floats, cameras: NDArray[np.int64], order: NDArray[np.int64], reranked: Floats | None,
    table: FeatureTable, x: Floats, told: Calibration,
) -> tuple[Result, ...]:  # fmt: skip
    """The rows found for a query, with what is known of them."""
    s = table.samples
    d = np.sqrt(np.square(x[order] - queries[q]).sum(axis=1, dtype=np.float64))
    kinds = kind_of_pairs(np.full(len(order), cameras[q]), s.camid[order], told.kinds)
    results = []
    for k, i in enumerate(order.tolist()):
        at, kind = d[k : k + 1], str(kinds[k])
        result = Result(
            rank=k + 1,
            path=os.path.relpath(s.frames[i][0], table.root),
            row=i,
            distance=float(d[k]),
            reranked=None if reranked is None else float(reranked[q, i]),
            kind=kind,
            probability=_known(told.probability(kind, at)[0]),
            false_share=_known(told.false_share(kind, at)[0]),
            camid=int(s.camid[i]),
            tracklet=int(s.tracklet[i]),
            pid=int(s.pid[i]),
        )
        results.append(result)
    return tuple(results)


def _sure(query: Query, max_false: float) -> Query:
    """Results that are false with at most this probability, or up to which at most this share is."""

    def wrong(r: Result) -> float:
        if r.probability is not None:
            return 1 - r.probability
        return 1.0 if r.false_share is None else r.false_share

    return dataclasses.replace(query, results=tuple(r for r in query.results if wrong(r) <= max_false))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _cells(r: Result) -> tuple[Any, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    return (
        r.rank, number(r.distance), number(r.reranked), number(r.probability), number(r.false_share), r.kind,
        r.path, r.camid, r.tracklet, r.pid,
    )  # fmt: skip
