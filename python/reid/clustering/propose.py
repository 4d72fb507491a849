"""Travel times that labels suggest, as rules for a user to look at. They are never applied unasked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid.data.records import Samples

__all__ = ["propose_rules"]


def propose_rules(
    labels: NDArray[np.int64], samples: Samples, *, quantile: float = 0.01, least: int = 20, slack: float = 0.8
) -> str:
    """Propose a minimum travel time for each pair of cameras.

    The sightings of each label are put in the order of their times; where two in a row come from different cameras, the
    time from the end of the one to the start of the other is a travel time of this pair of cameras.

    Parameters
    ----------
    labels : (N,) int64
        Pseudo labels (or identities); -1: left out. Wrong ones make short times, so the rule errs on the mild side.
    samples : Samples
        N samples with cameras and times; those without, and gaps between different clocks, are left out.
    quantile : float, default 0.01
        Share of a pair's travel times that may be shorter than what is proposed.
    least : int, default 20
        Travel times that a pair of cameras needs.
    slack : float, default 0.8
        Factor on the quantile: somebody may be faster than all who were seen.

    Returns
    -------
    str
        TOML for `--constraints`: a `min-travel-time` rule for each pair of cameras, with its counts in a comment; pairs
        for which nothing can be proposed are comments.

    Notes
    -----
    Time O(N log N), memory O(N).
    """
    if len(labels) != len(samples):
        raise ValueError(f"labels has {len(labels)} entries and samples {len(samples)}: both need the same")
    if not 0 <= quantile < 1:
        raise ValueError(f"quantile={quantile}: must be at least 0 and below 1")
    known = (labels >= 0) & (samples.camid >= 0) & (samples.clock >= 0)
    known &= ~np.isnan(samples.start) & ~np.isnan(samples.end)
    rows = np.flatnonzero(known)
    rows = rows[np.lexsort((rows, samples.start[rows], samples.clock[rows], labels[rows]))]
    a, b = rows[:-1], rows[1:]
    travels = (labels[a] == labels[b]) & (samples.clock[a] == samples.clock[b]) & (samples.camid[a] != samples.camid[b])
    a, b = a[travels], b[travels]
    gaps = samples.start[b] - samples.end[a]  # (G,) seconds, below 0 where both cameras see it at once
    cameras = np.sort(np.column_stack([samples.camid[a], samples.camid[b]]), axis=1)
    lines = [
        "# Proposed from labels: look at each rule before you use it (reid-train --constraints FILE).",
        f"# seconds = {slack:g} x the {quantile:g} quantile of the travel times between both cameras, either way.",
    ]
    if not len(gaps):
        lines.append("# Nothing to propose: no label was seen by two cameras with known times.")
    for pair in np.unique(cameras, axis=0):
        own = gaps[(cameras == pair).all(axis=1)]
        low, middle = np.quantile(own, [quantile, 0.5])
        name = f"cameras {pair[0]} and {pair[1]}: {len(own)} travel times, median {middle:.1f} s"
        seconds = round(slack * float(low), 1)
        if len(own) < least:
            lines += ["", f"# {name}: fewer than {least}, nothing is proposed."]
        elif seconds <= 0:
            lines += ["", f"# {name}, {quantile:g} quantile {low:.1f} s: no least time is seen."]
        else:
            lines += [
                "", f"# {name}, shortest {own.min():.1f} s; {int((own < seconds).sum())} would be forbidden.",
                "[[rule]]", 'kind = "min-travel-time"', f"cameras = [{pair[0]}, {pair[1]}]", f"seconds = {seconds}",
            ]  # fmt: skip
    return "\n".join(lines) + "\n"
