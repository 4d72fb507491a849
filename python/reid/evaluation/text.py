"""An evaluation as lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["lines"]

_RETRIEVAL = {
    "rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10", "rank20": "rank-20", "mAP": "mAP",
    "mAP_trapezoid": "mAP (trapezoid)", "mINP": "mINP", "tpr_at_fpr_1e-2": "TPR at FPR 1e-2",
    "tpr_at_fpr_1e-3": "TPR at FPR 1e-3", "tpr_at_fpr_1e-4": "TPR at FPR 1e-4",
}  # fmt: skip
_CLUSTERS = {
    "ari": "ARI", "ami": "AMI",
    "v_measure": "V-measure", "homogeneity": "  homogeneity", "completeness": "  completeness",
    "pairwise_f": "pairwise F", "pairwise_precision": "  precision", "pairwise_recall": "  recall",
    "bcubed_f": "BCubed F", "bcubed_precision": "  precision", "bcubed_recall": "  recall",
    "purity": "purity",
}  # fmt: skip
_LISTED = 5
_CAMERAS = 8
"""Cameras whose table is printed; of more it stands in evaluation.json and --json."""


def lines(result: Mapping[str, Any]) -> list[str]:
    """Say what `reid.evaluate` found; shares in percent."""
    return _retrieval(result) if result["kind"] == "retrieval" else _clusters(result)


def _retrieval(result: Mapping[str, Any]) -> list[str]:
    queries = f"{result['n_queries']:,} queries in {result['n_gallery']:,} gallery pictures"
    out = [f"protocol {result['protocol']}: {queries}, {result['n_identities']:,} identities"]
    out += list(result["notes"])
    reranked = result["reranked"]
    head = f"{'':<18}{'':>8}  {'95 %':<14}" + (f"{'re-ranked':>11}  {'95 %':<14}" if reranked else "")
    out += ["", head.rstrip()]
    for name, title in _RETRIEVAL.items():
        line = f"{title:<18}"
        for part in (result, reranked) if reranked else (result,):
            ends = part["intervals"].get(name)
            between = f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]" if ends else ""
            line += f"{_percent(part['figures'][name]):>{8 if part is result else 11}}  {between:<14}"
        out.append(line.rstrip())
    out += ["", *_cameras(result["cameras"])]
    lost = result["without_match"]
    if lost:
        more = f" and {len(lost) - _LISTED} more" if len(lost) > _LISTED else ""
        out.append(f"{len(lost):,} pictures without a match, not counted: {', '.join(lost[:_LISTED])}{more}")
    else:
        out.append("Every query has a match.")
    return out


def _cameras(rows: list[dict[str, Any]]) -> list[str]:
    """Rank-1 / mAP of queries of one camera in the gallery items of another."""
    cameras = sorted({row[side] for row in rows for side in ("query", "gallery")})
    if len(cameras) < 2:
        return []
    if len(cameras) > _CAMERAS:
        return [f"{len(cameras)} cameras: figures by pairs of them stand in evaluation.json (--output) and --json", ""]
    cell = {(r["query"], r["gallery"]): f"{100 * r['rank1']:.1f} / {100 * r['mAP']:.1f}" for r in rows}
    out = ["rank-1 / mAP by camera (query: rows, gallery: columns)"]
    out.append(f"{'':>6}" + "".join(f"{c:>14}" for c in cameras))
    rows_of = sorted({row["query"] for row in rows})
    out += [f"{a:>6}" + "".join(f"{cell.get((a, b), '-'):>14}" for b in cameras) for a in rows_of]
    return [*out, ""]


def _clusters(result: Mapping[str, Any]) -> list[str]:
    f = result["figures"]
    out = [
        f"{f['n_samples']:,} pictures of {f['n_identities']:,} identities in {f['n_clusters']:,} clusters, "
        f"{f['n_outliers']:,} outliers"
    ]
    out += [*result["notes"], ""]
    return out + [f"{title:<18}{_percent(f[name]):>8}" for name, title in _CLUSTERS.items()]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
