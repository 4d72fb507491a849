"""All figures of a retrieval: CMC, mAP, mINP, ROC, intervals, cameras, with and without re-ranking."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import reid_cluster
from reid.data.records import printable
from reid.evaluation.intervals import intervals
from reid.evaluation.protocols import Plan, make_plan
from reid.evaluation.ranked import CameraCells, Lists, Progress, rank
from reid.evaluation.roc import FPR, PairCounts
from reid.evaluation.settings import EvalConfig
from reid.feature_table import FeatureTable
from reid.files import csv_text

__all__ = ["RANKS", "Retrieval", "evaluate_table", "queries_csv"]

RANKS = (1, 5, 10, 20)


class Retrieval(NamedTuple):
    """What `evaluate_table` finds."""

    result: dict[str, Any]
    """Plain JSON values; a figure that is not defined is None."""
    plan: Plan
    lists: list[Lists]
    """Of each trial, the figures of each query."""
    reranked: list[Lists] | None


def evaluate_table(table: FeatureTable, config: EvalConfig, *, progress: Progress | None = None) -> Retrieval:
    """Evaluate features with identities by `config.protocol`.

    Parameters
    ----------
    table : FeatureTable
        Rows of query and gallery; without both, all rows search each other.
    config : EvalConfig
        Protocol, re-ranking, intervals; where the features come from is not looked at.
    progress : callable, optional
        Called with (done, total, stage).

    Returns
    -------
    Retrieval
        `result` has figures (rank1, rank5, rank10, rank20, mAP, mAP_trapezoid, mINP, tpr_at_fpr_1e-2, -3, -4),
        intervals (the same keys but tpr, each [low, high]), reranked (the same again, or None), cameras (a row for
        each pair), n_queries, n_valid, n_gallery, n_identities, without_match, protocol, notes.

    Raises
    ------
    ValueError
        The protocol cannot be applied to these data, or no query has a match.
    MemoryError
        Distances of re-ranking do not fit.
    """
    plan = make_plan(table, config)
    lists, pairs, cells = _run(plan, config, rerank=False, progress=progress)
    q = np.concatenate([trial.query for trial in plan.trials])
    valid = np.isfinite(np.concatenate([part.ap for part in lists]))
    if not valid.any():
        hint = "any-camera" if plan.protocol in ("cross-camera", "tracklet") else "leave-one-out"
        raise ValueError(
            f"protocol={plan.protocol}: none of {len(q):,} queries has a match in the gallery; check identities"
            + (f", or try {hint}" if plan.protocol != hint else "")
        )
    lost = sorted({plan.names[i] for i in q[~valid]})
    result: dict[str, Any] = {
        "protocol": plan.protocol,
        "n_queries": len(plan.trials[0].query),
        "n_gallery": len(plan.trials[0].gallery),
        "n_valid": int(valid.sum()) // len(plan.trials),
        "n_identities": len(np.unique(plan.samples.pid[q[valid]])),
        "draws": len(plan.trials),
        **_summary(plan, lists, pairs, config),
        "reranked": None,
        "cameras": _table(cells),
        "without_match": [printable(name) for name in lost],
        "notes": list(plan.notes),
    }
    reranked = None
    if config.rerank:
        reranked, pairs, _ = _run(plan, config, rerank=True, progress=progress)
        settings = {"k1": config.k1, "k2": config.k2, "lambda_value": config.lambda_value}
        result["reranked"] = settings | _summary(plan, reranked, pairs, config)
    return Retrieval(result, plan, lists, reranked)


def _run(
    plan: Plan, config: EvalConfig, *, rerank: bool, progress: Progress | None
) -> tuple[list[Lists], PairCounts, CameraCells]:
    jobs = config.workers or None
    pairs, cells = PairCounts(), CameraCells.of(plan.samples.camid)
    lists = []
    for trial in plan.trials:
        distances = None
        if rerank:
            if len(np.intersect1d(trial.query, trial.gallery)):
                raise ValueError(
                    "rerank: query and gallery share pictures, whose own neighbourhoods would count twice; "
                    "use a protocol with two sets, such as cross-camera or vehicleid"
                )
            distances = reid_cluster.rerank(
                plan.features[trial.query], plan.features[trial.gallery],
                config.k1, config.k2, config.lambda_value, n_jobs=jobs, progress=progress,
            )  # fmt: skip
        lists.append(rank(plan, trial, pairs, cells, distances=distances, n_jobs=jobs, progress=progress))
    return lists, pairs, cells


def _summary(plan: Plan, lists: list[Lists], pairs: PairCounts, config: EvalConfig) -> dict[str, Any]:
    """Means over queries with a match, their intervals, and the rates of pairs."""
    joined = Lists(*(np.concatenate(columns) for columns in zip(*lists, strict=True)))
    valid = np.isfinite(joined.ap)
    names = [f"rank{r}" for r in RANKS] + ["mAP", "mAP_trapezoid", "mINP"]
    columns = [joined.first <= r for r in RANKS] + [joined.ap, joined.ap_trapezoid, joined.inp]
    values = np.column_stack(columns).astype(np.float64)[valid]  # (Q, 7)
    figures: dict[str, float | None] = dict(zip(names, values.mean(axis=0).tolist(), strict=True))
    for fpr in FPR:
        rate = pairs.tpr(fpr)
        figures[f"tpr_at_fpr_1e-{round(-np.log10(fpr))}"] = None if np.isnan(rate) else rate
    found: dict[str, list[float]] = {}
    if config.resamples:
        pid = plan.samples.pid[np.concatenate([trial.query for trial in plan.trials])][valid]
        ends = intervals(values, pid, resamples=config.resamples, seed=config.seed)
        found = dict(zip(names, ends.tolist(), strict=True))
    counts = {"n_same_pairs": int(pairs.same.sum()), "n_different_pairs": int(pairs.different.sum())}
    return {"figures": figures, "intervals": found, **counts}


def _table(cells: CameraCells) -> list[dict[str, Any]]:
    """A row for each pair of cameras with a query that has a match there."""
    rows = []
    for i, j in zip(*np.nonzero(cells.n), strict=True):
        n = cells.n[i, j]
        pair = {"query": int(cells.cameras[i]), "gallery": int(cells.cameras[j]), "n_queries": int(n)}
        rows.append(pair | {"rank1": float(cells.hits[i, j] / n), "mAP": float(cells.ap[i, j] / n)})
    return rows


def queries_csv(found: Retrieval) -> str:
    """One line a query (of vehicleid, a query and draw): its average precision, first match, INP; empty without one."""
    header = ["path", "pid", "camid", "draw", "ap", "first_match", "inp"]
    extra = ["reranked_ap", "reranked_first_match", "reranked_inp"] if found.reranked is not None else []
    rows: list[list[Any]] = []
    for draw, trial in enumerate(found.plan.trials):
        sets = [found.lists[draw]] + ([found.reranked[draw]] if found.reranked is not None else [])
        for b, i in enumerate(trial.query.tolist()):
            samples = found.plan.samples
            row: list[Any] = [found.plan.names[i], samples.pid[i], samples.camid[i], draw]
            for lists in sets:
                row += _figures(lists.ap[b], lists.first[b], lists.inp[b])
            rows.append(row)
    return csv_text(header + extra, rows)


def _figures(ap: np.float64, first: np.float64, inp: np.float64) -> list[Any]:
    return ["", "", ""] if np.isnan(ap) else [f"{ap:.6f}", int(first), f"{inp:.6f}"]
