"""What can be said of a network at the end of a round."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from reid import processes
from reid.clustering.cameras import center_cameras
from reid.clustering.reliability import singletons
from reid.clustering.side import SideConfig, travel_times_of
from reid.evaluation.label_free import drift, mutual_share, reciprocity, silhouette, stability
from reid.evaluation.retrieval import evaluate_retrieval
from reid.evaluation.side import evaluate_side
from reid.training.job import Features, Job

__all__ = ["Before", "measure", "retrieval", "sizes"]


class Before(NamedTuple):
    """How things were before a round."""

    features: NDArray[np.float32]
    """(N, D) unit features of the training samples."""
    labels: NDArray[np.int64]
    """(N,) clusters."""


def measure(
    job: Job, features: Features, row: dict[str, Any], labels: NDArray[np.int64] | None, began: float, *,
    before: Before | None = None, search: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """`row` with what can be said of the network now, and the seconds since `began`."""
    row = _look(job, row, features(job.method.retrieval), labels, before)
    if search:
        row |= retrieval(job, features, labels)
    row["seconds"] = round(time.monotonic() - began, 3)
    return row


@processes.once
def _look(
    job: Job, row: dict[str, Any], now: NDArray[np.float32], labels: NDArray[np.int64] | None, before: Before | None
) -> dict[str, Any]:
    """`row` with what features of the training samples say."""
    threads = job.config.workers or None
    row["reciprocity"] = reciprocity(now, n_jobs=threads)
    if before is not None and labels is not None:
        if row["round"] > 1:  # before, nothing was clustered
            row["stability"] = stability(before.labels, labels)
        row["drift"] = drift(before.features, now)
        row["silhouette"] = silhouette(now, labels, n_jobs=threads)
    if len(np.unique(job.train.camid)) > 1:
        row["mutual_share"] = mutual_share(center_cameras(now, job.train.camid), job.train.camid)
    known = job.train.pid >= 0
    if labels is not None and known.any():
        # Outliers are strangers to each other, no cluster of their own.
        row["oracle_ari"] = float(adjusted_rand_score(job.train.pid[known], singletons(labels)[known]))
    return row


def retrieval(job: Job, features: Features, labels: NDArray[np.int64] | None) -> dict[str, float]:
    """mAP and CMC where there are a query and a gallery set with identities; else nothing.

    Also those with times and cameras of query and gallery, where settings ask for them; travel times come from
    `labels` of the training samples and say nothing yet where these are None.
    """
    if job.query is None or job.gallery is None:
        return {}
    (query, query_pictures), (gallery, gallery_pictures) = job.query, job.gallery

    threads = job.config.workers or None
    net = job.method.retrieval
    found = features(net, pictures=query_pictures), features(net, pictures=gallery_pictures), query, gallery
    figures = processes.once(evaluate_retrieval)(*found, n_jobs=threads)
    c = job.config
    if not (c.toc_test or c.scp_test or c.sts_test):
        return figures

    @processes.once
    def beside() -> dict[str, float]:
        side = c if isinstance(c, SideConfig) else SideConfig()
        known = c.sts_test and (labels is not None or side.sts_table)
        times = travel_times_of(c, job.train, np.empty(0, np.int64) if labels is None else labels) if known else None
        return evaluate_side(
            *found, toc=c.toc_test, scp=c.scp_test, times=times, strength=side.sts_lambda, decay=side.sts_gamma,
            n_jobs=threads,
        )  # fmt: skip

    return figures | beside()


def sizes(labels: NDArray[np.int64]) -> dict[str, int]:
    """Number of clusters and of outliers, and the size of the largest cluster."""
    counts = np.bincount(labels[labels >= 0])
    return {
        "n_clusters": int(np.count_nonzero(counts)),
        "n_outliers": int((labels < 0).sum()),
        "largest_cluster": int(counts.max(initial=0)),
    }
