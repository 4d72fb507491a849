"""What the figures of a run say, in plain sentences, and what to try."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reid.report.cameras import own_camera_share
from reid.report.folder import RunFolder
from reid.report.markup import Markup, join, tag

__all__ = ["Advice", "advice", "advice_list"]

GIANT, MANY_OUTLIERS = 0.5, 0.5
UNSTABLE, SETTLED = 0.5, 0.98
ONE_CAMERA = 0.5


class Advice(NamedTuple):
    """A sentence or two; `alarm`: figures of this run should not be trusted before it is looked into."""

    alarm: bool
    text: str


def advice(run: RunFolder) -> list[Advice]:
    """Say what is odd or good to know, alarms first. Identities are used by what is marked (oracle) alone."""
    found = [*_clusters(run), *_rounds(run), *_cameras(run), *_oracle(run)]
    return sorted(found, key=lambda a: not a.alarm)


def advice_list(run: RunFolder) -> Markup:
    """The same as a list."""
    found = advice(run)
    if not found:
        return tag("p", "Nothing stands out.", class_="soft")
    items = [tag("li", tag("b", "Look into it: ") if a.alarm else None, a.text) for a in found]
    return tag("div", tag("ul", join(items)), class_="box alarm" if any(a.alarm for a in found) else "box")


def _clusters(run: RunFolder) -> list[Advice]:
    sizes = {label: n for label, n in run.sizes.items() if label >= 0}
    outliers, n = run.sizes.get(-1, 0), sum(run.sizes.values())
    if not n or run.last is None:
        return []
    found = []
    if len(sizes) < 2:
        found.append(Advice(True, f"The clusters have collapsed: {len(sizes)} cluster{'s' * (len(sizes) != 1)} among "
                                  f"{n:,} {run.unit}. A smaller eps, or more clusters, brings them back."))  # fmt: skip
    elif max(sizes.values()) > GIANT * n:
        found.append(Advice(True, f"One giant cluster holds {max(sizes.values()):,} of {n:,} {run.unit}: too much was "
                                  "merged. Try a smaller eps, a larger min_samples, or fewer merges."))  # fmt: skip
    if outliers > MANY_OUTLIERS * n and len(sizes) > 1:
        found.append(Advice(False, f"{outliers:,} of {n:,} {run.unit} ({100 * outliers / n:.0f} %) are outliers and "
                                   "teach little or nothing. Try a larger eps, or a smaller min_samples."))  # fmt: skip
    single = sum(size == 1 for size in sizes.values())
    if sizes and single > 0.5 * len(sizes) and max(sizes.values()) > 1:
        found.append(Advice(False, f"{single:,} of {len(sizes):,} clusters hold one sample only."))
    return found


def _rounds(run: RunFolder) -> list[Advice]:
    chosen, last, found = run.selected, run.last, []
    if chosen is not None and last is not None:
        if chosen.number == 0:
            found.append(Advice(True, "By its label-free score the untrained network is the best: training made the "
                                      "space worse. Look at the clusters, and try milder settings."))  # fmt: skip
        elif last.number - chosen.number > max(2, 0.3 * last.number):
            found.append(Advice(False, f"The selected round ({chosen.number}) lies far from the last ({last.number}): "
                   "training went on past its best. Use selected.safetensors or fewer rounds."))  # fmt: skip
    values = [v for r in run.rounds if (v := r.get("stability")) is not None]
    if values and values[-1] < UNSTABLE:
        found.append(Advice(False, f"Clusters change much from round to round (stability {100 * values[-1]:.0f}): "
                                   "more rounds, or a lower learning rate, let them settle."))  # fmt: skip
    if len(values) >= 4 and min(values[-3:]) > SETTLED:
        found.append(Advice(False, "Clusters have hardly changed in the last three rounds: fewer would have done."))
    return found


def _cameras(run: RunFolder) -> list[Advice]:
    found: list[Advice] = []
    shared = {c: rows for c, rows in run.members.items() if c >= 0 and len(rows) > 1}
    seen = {m.camid for rows in run.members.values() for m in rows if m.camid >= 0}
    remedy = "Try --center-cameras, or --same-camera forbid where an identity passes a camera once."
    if len(seen) > 1 and shared:
        one = sum(len({m.camid for m in rows}) == 1 for rows in shared.values())
        if one > ONE_CAMERA * len(shared):
            found.append(Advice(False,
                f"Cameras dominate clusters: {one:,} of {len(shared):,} clusters of two or more see one camera only: "
                f"little is learnt across cameras. {remedy}"))  # fmt: skip
    if run.details is not None and len(run.details.cameras) > 1:
        own, expected = own_camera_share(run.details, run.details.camera_neighbors)
        if own > max(2 * expected, 0.5 + expected / 2):
            found.append(Advice(False,
                f"{100 * own:.0f} % of the nearest neighbours are of the same camera, about {100 * expected:.0f} % "
                f"would be if cameras left no trace. {remedy}"))  # fmt: skip
    return found


def _oracle(run: RunFolder) -> list[Advice]:
    start, last = run.untrained, run.last
    before, after = (r.get("mAP") if r is not None else None for r in (start, last))
    found = []
    if before is not None and after is not None and after < before:
        found.append(Advice(True, f"After the last round mAP is lower than before training ({100 * after:.1f} against "
                                  f"{100 * before:.1f}; uses identities)."))  # fmt: skip
    ari = [(r.number, v) for r in run.rounds if (v := r.get("oracle_ari")) is not None]
    if len(ari) >= 3 and ari[-1][1] < 0.8 * max(v for _, v in ari):
        best = int(np.argmax([v for _, v in ari]))
        found.append(Advice(False, f"Clusters agreed with identities best in round {ari[best][0]} (oracle ARI "
                                   f"{ari[best][1]:.2f}, at the end {ari[-1][1]:.2f})."))  # fmt: skip
    return found
