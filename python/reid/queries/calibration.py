"""How far to believe a distance, learned without identities.

    P(same | d) = 1 / (1 + exp(-(a + b d + log(pi / (1 - pi)))))

a, b: logistic regression (Platt, Probabilistic outputs for support vector machines, 1999) on pairs of one tracklet
against pairs seen at one time, both weighing the same. pi, the share of pairs of one identity among all that are
searched, is found by expectation maximisation on the distances of all pairs (Saerens, Latinne, Decaestecker, Adjusting
the outputs of a classifier to new a priori probabilities, Neural Computation 2002).

Tracklets lie in one camera, so nothing says how far apart pictures of one identity in two cameras are: across cameras
there is no such probability. What holds there as well is the share of false results,

    false(d) = F0(d) / F(d)

F0 and F the shares of pairs at most d apart among those seen at one time and among all (Benjamini, Hochberg,
Controlling the false discovery rate, 1995; Efron, Large-scale inference, 2010). It needs no pair of one identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaincinv, logit
from sklearn.linear_model import LogisticRegression

from reid.data.records import Samples
from reid.queries.pairs import KnownPairs, known_pairs

__all__ = [
    "ACROSS",
    "ALL",
    "LEAST_PAIRS",
    "LEAST_TRACKS",
    "UNKNOWN",
    "WITHIN",
    "Calibration",
    "Fit",
    "calibrate",
    "kind_of_pairs",
]

Floats = NDArray[np.float64]

WITHIN, ACROSS, ALL, UNKNOWN = "within a camera", "across cameras", "all pairs", "camera unknown"
"""Kinds of pairs; all pairs are of one kind where no camera is known."""

LEAST_PAIRS, LEAST_TRACKS = 100, 10
"""Pairs of each sort, and tracks (or pairs of tracks) that they come from, below which nothing is fitted."""

SEARCHED = 4_000_000
"""Distances of all pairs that are looked at, about."""
FOLDS, BINS = 5, 10
CONFIDENCE = 0.95
POINTS = 4000


class Fit(NamedTuple):
    """A logistic curve."""

    intercept: float
    slope: float
    prior: float
    """Share of pairs of one identity among all."""
    error: float
    """Mean distance between probability and outcome over ten bins, on pairs of tracks that the curve had not seen; at
    equal odds."""

    def probability(self, distances: Floats) -> Floats:
        """Probability that a pair that far apart shows one identity."""
        return expit(self.intercept + self.slope * distances + logit(self.prior))


@dataclass(frozen=True, eq=False)
class Calibration:
    """What distances of each kind of pair say."""

    kinds: tuple[str, ...]
    fits: dict[str, Fit]
    shares: dict[str, tuple[Floats, Floats]]
    """Distances, rising, and the share of false pairs up to each."""
    counts: dict[str, int]
    """Pairs seen at one time, of each kind; of one tracklet as `same`."""
    reasons: tuple[str, ...] = field(default=())
    """Why what is missing is missing, a sentence each."""

    def probability(self, kind: str, distances: Floats) -> Floats:
        """Probability of one identity; NaN where it cannot be told."""
        fit = self.fits.get(kind)
        return np.full(len(distances), np.nan) if fit is None else fit.probability(distances)

    def false_share(self, kind: str, distances: Floats) -> Floats:
        """Share of false pairs among those at most as far apart, an upper bound; NaN where it cannot be told."""
        if kind not in self.shares:
            return np.full(len(distances), np.nan)
        at, share = self.shares[kind]
        return share[np.minimum(np.searchsorted(at, distances), len(at) - 1)]


def calibrate(
    features: NDArray[np.float32], samples: Samples, *, exempt: list[tuple[int, int]] | None = None, seed: int = 0
) -> Calibration:
    """Learn from tracklets and times what Euclidean distances of unit rows mean.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows.
    samples : Samples
        Their tracklets, times, clocks and cameras.
    exempt : list of pairs of int, optional
        Cameras that see one place.
    seed : int, default 0
        Pairs are drawn, at most 20,000 and 200,000, and some 4 million distances of all pairs.

    Returns
    -------
    Calibration
        With reasons for what is missing.
    """
    try:
        pairs = known_pairs(samples, exempt or [], seed)
    except ValueError as error:
        return Calibration((), {}, {}, {}, (f"no probabilities: {error}.",))
    kinds = _kinds_of(samples.camid)
    same = _distances(features, pairs.same)
    different = _distances(features, pairs.different)
    kind_of = kind_of_pairs(samples.camid[pairs.different[:, 0]], samples.camid[pairs.different[:, 1]], kinds)
    everything = _everything(features, samples.camid, kinds, seed)
    fits, shares, reasons = {}, {}, []
    counts = {"same": len(same)}
    n_tracks = len(np.unique(pairs.track[pairs.same[:, 0]]))
    for kind in kinds:
        own = kind_of == kind
        counts[kind] = int(own.sum())
        met = len(np.unique(np.sort(pairs.track[pairs.different[own]], axis=1), axis=0))
        lacking = _lacking("seen at one time", counts[kind], met, "pairs of tracks")
        if not lacking and len(everything[kind]):
            shares[kind] = _false_shares(different[own], everything[kind], counts[kind] / met)
        if kind == ACROSS:
            if not lacking:
                reasons.append(
                    "across cameras there is no probability: no tracklet shows how far apart two cameras put one "
                    "identity; the share of false results holds there"
                )
        else:
            lacking = lacking or _lacking("of one tracklet", len(same), n_tracks, "tracklets")
        if lacking:
            reasons.append(f"{kind}: nothing can be said of distances: {lacking}")
        elif kind != ACROSS:
            fit = _fit(same, different[own], pairs, own, everything[kind])
            if fit is None:
                reasons.append(f"{kind}: no probability: pairs of one tracklet are not nearer than others")
            else:
                fits[kind] = fit
    if WITHIN in shares and ACROSS in shares:
        shares[UNKNOWN] = _worse(shares)
    return Calibration(kinds, fits, shares, counts, tuple(f"{text}." for text in reasons))


def _kinds_of(camid: NDArray[np.int64]) -> tuple[str, ...]:
    return (WITHIN, ACROSS) if (camid >= 0).any() else (ALL,)


def kind_of_pairs(a: NDArray[np.int64], b: NDArray[np.int64], kinds: tuple[str, ...]) -> NDArray[np.str_]:
    """Kind of pairs of rows from cameras `a` and `b`."""
    if kinds == (ALL,):
        return np.full(np.broadcast(a, b).shape, ALL)
    return np.where((a < 0) | (b < 0), UNKNOWN, np.where(a == b, WITHIN, ACROSS))


def _lacking(what: str, pairs: int, tracks: int, of: str) -> str:
    if pairs >= LEAST_PAIRS and tracks >= LEAST_TRACKS:
        return ""
    return f"{pairs:,} pairs {what} (of {tracks:,} {of}); {LEAST_PAIRS} are needed, of {LEAST_TRACKS} {of}"


def _distances(x: NDArray[np.float32], pairs: NDArray[np.int64]) -> Floats:
    parts = [
        np.sqrt(np.square(x[i] - x[j]).sum(axis=1, dtype=np.float64))
        for i, j in (part.T for part in np.array_split(pairs, len(pairs) // 20_000 + 1))
    ]
    return np.concatenate(parts)


def _everything(
    x: NDArray[np.float32], camid: NDArray[np.int64], kinds: tuple[str, ...], seed: int
) -> dict[str, Floats]:
    """Sorted distances of some rows to all others, of each kind."""
    n = len(x)
    rows = np.sort(np.random.default_rng(seed).choice(n, min(n, max(1, SEARCHED // n)), replace=False))
    found: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in kinds}
    squares = np.einsum("nd,nd->n", x, x)
    for row in rows:
        d = np.sqrt(np.maximum(squares[row] + squares - 2 * (x @ x[row]), 0))
        others = np.arange(n) != row
        same = camid == camid[row]
        known = (camid >= 0) & (camid[row] >= 0)
        of_kind = {ALL: others, WITHIN: others & known & same, ACROSS: known & ~same}
        for name in kinds:
            found[name].append(d[of_kind[name]])
    return {name: np.sort(np.concatenate(parts)).astype(np.float64) for name, parts in found.items()}


def _fit(same: Floats, different: Floats, pairs: KnownPairs, own: NDArray[np.bool_], everything: Floats) -> Fit | None:
    """The curve on all pairs, its error on pairs of tracks left out, and the share of pairs of one identity."""
    ends = np.concatenate([pairs.track[pairs.same], pairs.track[pairs.different[own]]])  # (M, 2)
    d = np.concatenate([same, different])
    y = np.repeat([1, 0], [len(same), len(different)])
    intercept, slope = _logistic(d, y)
    if slope >= 0:
        return None
    fold = np.random.default_rng(0).integers(FOLDS, size=pairs.track.max() + 1)[ends]
    probabilities, outcomes = [], []
    for k in range(FOLDS):
        held = (fold == k).any(axis=1)
        if len(np.unique(y[held])) < 2 or len(np.unique(y[~held])) < 2:
            continue
        a, b = _logistic(d[~held], y[~held])
        probabilities.append(expit(a + b * d[held]))
        outcomes.append(y[held])
    error = _reliability(np.concatenate(probabilities), np.concatenate(outcomes)) if outcomes else float("nan")
    return Fit(intercept, slope, _prior(intercept + slope * everything), error)


def _logistic(d: Floats, y: NDArray[np.int64]) -> tuple[float, float]:
    model = LogisticRegression(C=1e6, class_weight="balanced").fit(d[:, None], y)
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def _reliability(p: Floats, y: NDArray[np.int64]) -> float:
    """Expected calibration error, one and the other outcome weighing the same."""
    weight = 1 / np.bincount(y, minlength=2)[y] / 2
    at = np.minimum((p * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(at, weight * (p - y), BINS)).sum())


def _prior(evidence: Floats) -> float:
    """Share of pairs of one identity, by expectation maximisation on their log likelihood ratios."""
    count, edges = np.histogram(evidence, POINTS)
    middle = (edges[1:] + edges[:-1]) / 2
    prior = 0.01
    for _ in range(1000):
        after = float(np.average(expit(middle + logit(prior)), weights=count))
        after = min(max(after, 1e-9), 0.999)
        if abs(after - prior) < 1e-9:
            break
        prior = after
    return prior


def _false_shares(different: Floats, everything: Floats, together: float) -> tuple[Floats, Floats]:
    """Distances and the upper bound of the share of false pairs up to each.

    Pairs of one pair of tracks say the same: `together` of them count once. The bound is that of a Poisson count at
    95 %; without a pair so near it is 3.
    """
    ranks = np.unique(np.geomspace(1, len(everything), POINTS).astype(np.int64)) - 1
    at = everything[ranks]
    below = np.searchsorted(np.sort(different), at, side="right")
    upper = gammaincinv(below / together + 1, CONFIDENCE) / (len(different) / together)
    share = np.minimum(upper / ((ranks + 1) / len(everything)), 1.0)
    return at, np.minimum.accumulate(share[::-1])[::-1]


def _worse(shares: dict[str, tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """For pairs of either kind: the worse of the two."""
    at = np.union1d(shares[WITHIN][0], shares[ACROSS][0])
    both = [share[np.minimum(np.searchsorted(d, at), len(d) - 1)] for d, share in (shares[WITHIN], shares[ACROSS])]
    return at, np.maximum(*both)
