"""What a check and a count say, in lines for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from reid.checking.check import Checked
from reid.data.inspection import REPAIR, TRAITS
from reid.data.possible import Possibility
from reid.data.records import printable

__all__ = ["check_lines", "stats_lines"]

_TITLES = {
    "unreadable": "can't be read",
    "leak": "in training and test",
    "two-identities": "equal, with two identities",
    "query-in-gallery": "queries that find themselves in the gallery",
    "near-leak": "nearly the same in training and test",
    "near-two-identities": "nearly the same, with two identities",
    "near-query-in-gallery": "nearly the same in query and gallery, in two cameras or unknown ones",
    "duplicate": "with the bytes of another",
    "near-duplicate": "nearly the same as another",
    "tiny": "tiny",
}
_SHOWN = 5
_CAMERAS = 8
"""Most cameras whose table of shared identities is printed."""


def stats_lines(counts: Mapping[str, Any]) -> list[str]:
    """The counts of `reid.stats`."""
    lines = [f"{counts['name']}: layout {counts['layout']}", *counts["notes"]]
    for split, n in counts["splits"].items():
        lines += ["", f"{split}: {_many(n['rows'], 'row')}, {_many(n['pictures'], 'picture')}"]
        lines.append(f"  identities  {_known(n['identities'], n['rows_without_identity'])}")
        lines += _quantiles("pictures an identity", n["pictures_of_identity"])
        lines += _quantiles("pictures an identity in a camera", n["pictures_of_identity_in_camera"])
        lines.append(f"  cameras     {_known(n['cameras'], n['rows_without_camera'])}")
        lines += _cameras(n)
        lines.append(f"  tracklets   {n['tracklets'] or 'none'}")
        lines += _quantiles("pictures a tracklet", n["pictures_of_tracklet"])
        lines.append(f"  times       {_times(n)}")
    if counts["identities_in_train_and_test"]:
        lines += ["", f"{counts['identities_in_train_and_test']} identities are in training and test."]
    return lines


def check_lines(checked: Checked, output: Path | None) -> list[str]:
    """A summary of what was found; the last lines say where the findings are and what to do next."""
    shapes, counts = checked.shapes, checked.counts
    lines = [f"{counts['name']}: layout {counts['layout']}", *counts["notes"]]
    lines += [f"  {split:<8} {_split(n)}" for split, n in counts["splits"].items()]
    both = counts["identities_in_train_and_test"]
    if both:
        lines.append(f"warning: {both} identities are in training and test: figures will be too good")
    lines += ["", f"Pictures: {shapes['readable']} can be read"]
    for name in ("height", "width", "aspect"):
        if shapes[name] is not None:
            unit = " (height / width)" if name == "aspect" else " pixels"
            lines.append(f"  {name:<8} {_five(shapes[name], 2 if name == 'aspect' else 0)}{unit}")
    lines.append(f"  {shapes['upright']} higher than wide, {shapes['lying']} wider than high")
    traits = [f"{number} {TRAITS[name]}" for name, number in shapes["traits"].items() if number]
    lines += [f"  {', '.join(traits)}"] if traits else []
    lines += ["", *_findings(checked)]
    lines += ["", "Evaluation protocols (reid-eval --protocol):", *_possible(checked.protocols)]
    lines += ["", "What training and retrieval can use:", *_possible(checked.constraints)]
    lines += ["", *_run(checked), ""]
    if output is not None:
        lines.append(f"results: {printable(output)}  ({_many(len(checked.findings), 'finding')})")
    elif checked.findings:
        lines.append("results: above; --output problems.csv writes every finding")
    path = shlex.quote(printable(checked.path))
    if checked.usable:
        lines.append(f"next: reid-train --method buc --data {path} --weights pip")
    else:
        lines.append(f"next: repair or remove what is marked with !, then reid-data check {path}")
    return lines


def _findings(checked: Checked) -> list[str]:
    if not checked.findings:
        lines = ["No problems found."]
    else:
        lines = ["Findings (! must be repaired first):"]
        for kind, group in groupby(checked.findings, key=lambda finding: finding.kind):
            found = list(group)
            lines.append(f"{'!' if REPAIR[kind] else ' '} {len(found)} {_TITLES[kind]} ({kind})")
            lines += [f"    {printable(f.path)}: {f.detail}" for f in found[:_SHOWN]]
            lines += [f"    and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    if checked.in_tracklets:
        lines.append(f"  {checked.in_tracklets} equal or resemble one of their own tracklet, as neighbours in time do")
    return lines


def _run(checked: Checked) -> list[str]:
    height, width = checked.size
    lines = [f"Size that training takes by itself: --height {height} --width {width}"]
    for e in checked.estimates:
        lines.append(
            f"A run with --weights {e.weights} on {e.device}: roughly {_duration(e.seconds)} and "
            f"{_gigabytes(e.memory_bytes)} of memory ({_gigabytes(e.free_bytes)} free)"
        )
        lines.append(
            f"  {e.rounds} rounds, {e.epochs} epochs; measured here: {e.trained_per_second:.0f} pictures/s trained, "
            f"{e.extracted_per_second:.0f} extracted"
        )
        if e.pixels_bytes > e.free_bytes // 2:
            lines.append(f"  pixels ({_gigabytes(e.pixels_bytes)}) do not fit and are decoded again in each pass")
    if checked.estimates:
        lines.append("  (method buc, default settings, by 8 pictures; with reading, without clustering)")
    else:
        lines.append("Too few training pictures for a run of method buc.")
    return lines


def _possible(rows: Sequence[Possibility]) -> list[str]:
    width = max(len(row.name) for row in rows)
    return [f"  {'yes' if row.possible else 'no ':<3}  {row.name:<{width}}  {row.why}" for row in rows]


def _split(n: Mapping[str, Any]) -> str:
    words = [
        _many(n[key], noun) for key, noun in (("pictures", "picture"), ("cameras", "camera"), ("tracklets", "tracklet"))
    ]
    words.insert(1, f"{n['identities'] or 'no'} identit{'y' if n['identities'] == 1 else 'ies'}")
    words.append(f"times {_times(n)}" if n["rows_with_time"] else "no times")
    return ", ".join(words)


def _times(n: Mapping[str, Any]) -> str:
    if not n["rows_with_time"]:
        return "none"
    return f"of {_many(n['rows_with_time'], 'row')} on {_many(n['clocks'], 'clock')}, up to {_duration(n['seconds'])}"


def _cameras(n: Mapping[str, Any]) -> list[str]:
    cameras = [row[0] for row in n["identities_of_camera"]]
    if not cameras or not n["identities"]:
        return []
    shared = {(a, b): k for a, b, k in n["shared_identities"]}
    if len(cameras) > _CAMERAS:
        pairs = len(cameras) * (len(cameras) - 1) // 2
        return [f"    {len(shared)} of {pairs} pairs of cameras share identities (all of them in --json)"]
    wide = max(6, *(len(str(camera)) + 1 for camera in cameras))
    lines = ["    identities of each camera (diagonal) and of each two:"]
    lines.append("    " + " " * wide + "".join(f"{camera:>{wide}}" for camera in cameras))
    own = {camera: identities for camera, _, identities in n["identities_of_camera"]}
    for a in cameras:
        cells = [own[a] if a == b else shared.get((min(a, b), max(a, b)), 0) for b in cameras]
        lines.append(f"    {a:>{wide}}" + "".join(f"{cell:>{wide}}" for cell in cells))
    return lines


def _known(number: int, without: int) -> str:
    return f"{number or 'none'}" + (f", {without} rows without" if number and without else "")


def _quantiles(name: str, five: Sequence[float] | None) -> list[str]:
    return [] if five is None else [f"    {name}: {_five(five)}"]


def _five(five: Sequence[float], digits: int = 1) -> str:
    low, quarter, median, three, high = (f"{value:.{digits}f}".removesuffix(".0") for value in five)
    return f"{low} to {high}, median {median}, middle half {quarter} to {three}"


def _many(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'s' * (number != 1)}"


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
