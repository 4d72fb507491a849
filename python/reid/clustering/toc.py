"""Links of a run: the rules of `--constraints`, the time-overlapping constraint (TOC), and the camera rule.

TOC (Xu et al., arXiv 2205.03124, 2022): nobody is in two places at once, and two tracks that one camera sees at once
are two people. Samples whose times overlap are kept apart, by default over all cameras.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reid.clustering.cameras import same_camera_pairs
from reid.clustering.links import Links, Part
from reid.clustering.rules import Rule, check_relaxed, overlap_part, read_rules
from reid.config import TrainConfig
from reid.data.records import Samples, printable

__all__ = ["TocConfig", "describe_links", "reads_cameras", "run_links"]


@dataclass(frozen=True)
class TocConfig(TrainConfig):
    """Settings of the time-overlapping constraint."""

    toc: bool = False
    """Keep samples apart that are seen at the same time. Needs times on a common clock."""
    toc_scope: Literal["all", "cross", "same"] = "all"
    """Compare all samples, only those of different cameras (cross), or only those of one camera (same)."""
    toc_margin: float = 0.0
    """Seconds by which times may miss each other. Below 0: seconds by which they must overlap, against clocks that are
    a little wrong."""
    toc_exempt: str = ""
    """Pairs of cameras whose views overlap and that are not compared, such as 2-8,3-5."""
    toc_relaxed: float | None = None
    """Which links are believed. From 0 to 1: not those of samples at most this share of eps apart, which look too
    alike. From -1 to 0: not those of samples more than this share of eps apart (-1: only direct neighbours count).
    Default: all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_relaxed("toc_relaxed", self.toc_relaxed)
        if not np.isfinite(self.toc_margin):
            raise ValueError(f"toc_margin={self.toc_margin}: must be a number of seconds")
        parse_exempt(self.toc_exempt)
        changed = [n for n in ("scope", "margin", "exempt", "relaxed") if getattr(self, f"toc_{n}") != _UNSET[n]]
        if changed and not self.toc:
            raise ValueError(f"toc_{changed[0]}={getattr(self, f'toc_{changed[0]}')!r}: does nothing without toc")

    @property
    def uses_cameras(self) -> bool:
        """Whether a run reads camera ids."""
        return super().uses_cameras or (self.toc and (self.toc_scope != "all" or bool(self.toc_exempt)))


_UNSET: dict[str, Any] = {"scope": "all", "margin": 0.0, "exempt": "", "relaxed": None}


def parse_exempt(text: str) -> list[tuple[int, int]]:
    """Camera pairs of a text such as 2-8,3-5."""
    if not re.fullmatch(r"(\s*\d+\s*-\s*\d+\s*(,|$))*", text):
        raise ValueError(f"toc_exempt={text!r}: must be pairs of camera ids, such as 2-8,3-5")
    found = re.findall(r"(\d+)\s*-\s*(\d+)", text)
    return [(int(a), int(b)) for a, b in found]


def run_links(config: TrainConfig, samples: Samples, *, graph: bool, camera_pairs: bool = True) -> Links:
    """All links that the settings of a run ask for, checked.

    Parameters
    ----------
    config : TrainConfig
        `constraints`, `same_camera` and, where the method has it, `toc`.
    samples : Samples
    graph : bool
        Whether clusters are sought on a graph of distances, as relaxed links need it.
    camera_pairs : bool, default True
        Hold the pairs of each camera under ``same_camera="forbid"``; False for a method that knows the rule itself:
        then only those inside must-groups, as contradictions.

    Raises
    ------
    ValueError
        Rules that cannot be read or contradict each other (the first five chains are shown), relaxed links without a
        graph, or TOC without times.
    MemoryError
        More pairs than fit.
    """
    parts = [rule.part(samples) for rule in _rules(config)]
    if isinstance(config, TocConfig) and config.toc:
        if not (~np.isnan(samples.start) & (samples.clock >= 0)).any():
            raise ValueError("toc=True: needs times of a known clock; these data have none")
        exempt = parse_exempt(config.toc_exempt)
        parts.append(overlap_part("toc", samples, config.toc_scope, config.toc_margin, exempt, config.toc_relaxed))
    relaxed = [p.rule for p in parts if p.relaxed is not None]
    if relaxed and not graph:
        name = "toc_relaxed" if relaxed[0] == "toc" else f"relaxed (rule {relaxed[0]})"
        raise ValueError(f"{name}: needs Jaccard distances of DBSCAN, which this run does not have; leave it out")
    links = Links.of(parts, len(samples))
    if config.same_camera == "forbid":
        known = samples.camid
        if camera_pairs:
            links = Links.of([*parts, Part("same_camera=forbid", same_camera_pairs(known))], len(samples))
        elif len(links.must):
            _refuse_camera_twice(links, parts, samples)
    links.check(lambda i: printable(samples.frames[i][0]))
    return links


def describe_links(links: Links, config: TrainConfig) -> dict[str, Any]:
    """Counts of each rule and a fingerprint of all pairs, for run.json."""
    digest = hashlib.sha256()
    for pairs in (links.cannot, links.must, *(r.cannot for r in links.relaxable)):
        digest.update(np.ascontiguousarray(pairs).tobytes() + b"|")
    return {
        "file": config.constraints,
        "rules": [
            {"rule": p.rule, "cannot": len(p.cannot), "must": len(p.must), **({"note": p.note} if p.note else {})}
            for p in links.parts
        ],
        "fingerprint": digest.hexdigest(),
    }


def reads_cameras(config: TrainConfig) -> bool:
    """Whether the rules of `constraints` read camera ids."""
    return any(rule.uses_cameras for rule in _rules(config))


def _rules(config: TrainConfig) -> tuple[Rule, ...]:
    return read_rules(Path(config.constraints).expanduser()) if config.constraints else ()


def _refuse_camera_twice(links: Links, parts: list[Part], samples: Samples) -> None:
    """Contradictions of must-links and the camera rule, without all pairs of a camera."""
    order = np.lexsort((samples.camid, links.groups))
    group, camera = links.groups[order], samples.camid[order]
    twice = np.flatnonzero((group[1:] == group[:-1]) & (camera[1:] == camera[:-1]))
    pairs = np.column_stack([order[twice], order[twice + 1]]).astype(np.int32)
    Links.of([*parts, Part("same_camera=forbid", pairs)], len(samples)).check(lambda i: printable(samples.frames[i][0]))
