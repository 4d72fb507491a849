"""``reid-data``: make data, and look at them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import tyro

from reid.checking.settings import CheckConfig, StatsConfig
from reid.cli.run import UsageError, parse, run, with_file
from reid.config import nearest

__all__ = ["main"]


@dataclass(frozen=True)
class Synthetic:
    """Draw synthetic walkers; write them in the layout of Market-1501 (and a table, samples.csv), or as MOT frames."""

    folder: tyro.conf.Positional[Path]
    """Folder to be made; must not hold anything yet."""
    layout: Literal["market1501", "mot"] = "market1501"
    """market1501: crops with identities; mot: frames of each camera with ground truth and a tracker's boxes."""
    level: Literal["mild", "hard"] = "mild"
    """mild: colours differ little between cameras; hard: casts, textures and look-alikes as in real life."""
    seed: int = 0
    """Seed; the same seed draws the same pictures."""
    height: int = 64
    """Picture height in pixels."""
    width: int = 32
    """Picture width in pixels."""
    train_persons: int = 72
    """Persons to train on."""
    test_persons: int = 32
    """Persons to evaluate with; none of them is in the training set."""
    debug: bool = False
    """Show where an error comes from."""


@dataclass(frozen=True)
class CropsOptions:
    """Cut the boxes of MOT sequences out of their frames; write them with a table, samples.csv, for --data."""

    mot: tyro.conf.Positional[Path]
    """A sequence folder (img1, and gt/gt.txt, one .txt of a tracker, or det/det.txt), or a folder of several."""
    folder: tyro.conf.Positional[Path]
    """Folder to be made; must not hold anything yet."""
    source: Literal["auto", "gt", "tracker", "det"] = "auto"
    """Which boxes: ground truth, tracker output, detections; auto: the first of them that is there."""
    every: int = 1
    """Take every so manieth frame, with all boxes in it."""
    min_height: int = 16
    """Leave out boxes of fewer pixels in height (inside the frame)."""
    fps: float | None = None
    """Frames a second. Default: frameRate in seqinfo.ini."""
    shared_ids: bool = True
    """Ground truth: one id is one identity in all sequences. With --no-shared-ids an id holds within its sequence."""
    common_clock: bool = False
    """All sequences begin at the same moment, so their times can be compared."""
    debug: bool = False
    """Show where an error comes from."""


@dataclass(frozen=True)
class Check(CheckConfig):
    """Look at every picture: unreadable ones, duplicates, leaks, sizes; what the data can be used for. Exit code 1 when
    something must be repaired first."""

    path: tyro.conf.Positional[Path]
    json: bool = False
    """Print one JSON object with everything, and nothing else."""
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


@dataclass(frozen=True)
class Stats(StatsConfig):
    """Count pictures, identities, cameras, tracklets and times; no picture is opened."""

    path: tyro.conf.Positional[Path]
    json: bool = False
    """Print one JSON object, and nothing else."""
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


Action = TypeVar("Action", Check, Stats)

ACTIONS = ("check", "stats", "synthetic", "crops")

USAGE = """usage: reid-data ACTION ...

Make data for re-identification, and look at them. Actions:

  check PATH         look at every picture: unreadable, doubled, leaked ones, and what the data can be used for
  stats PATH         count pictures, identities, cameras, tracklets and times
  synthetic FOLDER   draw synthetic walkers in the layout of Market-1501, or as MOT frames
  crops MOT FOLDER   cut the boxes of MOT sequences (ground truth, trackers) out of their frames

`reid-data ACTION --help` lists an action's flags.
"""


def main() -> None:
    """Entry point of ``reid-data``."""
    raise SystemExit(run("reid-data", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def _command(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
    elif argv[0] == "check":
        _check(_filled(Check, CheckConfig, argv))
    elif argv[0] == "stats":
        _stats(_filled(Stats, StatsConfig, argv))
    elif argv[0] == "synthetic":
        _synthetic(parse(Synthetic, argv[1:], program="reid-data synthetic", description=Synthetic.__doc__ or ""))
    elif argv[0] == "crops":
        _crops(parse(CropsOptions, argv[1:], program="reid-data crops", description=CropsOptions.__doc__ or ""))
    else:
        raise UsageError(f"action={argv[0]!r}: {nearest(argv[0], list(ACTIONS))}")


def _filled(kind: type[Action], settings: type, argv: list[str]) -> Action:
    """The action's settings: defaults, then the file of ``--config``, then flags."""
    default = with_file(settings, kind(tyro.MISSING), argv)
    description = " ".join((kind.__doc__ or "").split())
    return parse(kind, argv[1:], program=f"reid-data {argv[0]}", description=description, default=default)


def _check(asked: Check) -> None:
    from reid.checking.check import check
    from reid.checking.text import check_lines
    from reid.training.log import Log

    log = Log(quiet=asked.json)
    checked = check(asked, progress=log.progress)
    log.end_stage()
    if asked.json:
        print(json.dumps(checked.facts()))
    else:
        for line in check_lines(checked, asked.output):
            log.say(line)
    if not checked.usable:
        raise SystemExit(1)


def _stats(asked: Stats) -> None:
    from reid.checking.check import stats
    from reid.checking.text import stats_lines

    found = stats(asked)
    print(json.dumps(found) if asked.json else "\n".join(stats_lines(found)))


def _synthetic(asked: Synthetic) -> None:
    from reid.data.scenes import write_mot
    from reid.data.synthetic import SyntheticConfig, write_market

    config = SyntheticConfig(
        level=asked.level, seed=asked.seed, height=asked.height, width=asked.width,
        train_persons=asked.train_persons, test_persons=asked.test_persons,
    )  # fmt: skip
    if asked.layout == "mot":
        root = write_mot(config, asked.folder)
        print(f"results: {root}  (a folder a camera: img1, gt/gt.txt, tracks.txt, seqinfo.ini)")
        print(f"next: reid-data crops {root} CROPS --source tracker --common-clock")
        return
    root = write_market(config, asked.folder)
    print(f"results: {root}  (bounding_box_train, query, bounding_box_test, samples.csv)")
    print(f"next: reid-train --method buc --data {root}")


def _crops(asked: CropsOptions) -> None:
    from reid.data.crops import write_crops
    from reid.data.mot import read_mot

    data = read_mot(
        asked.mot, source=asked.source, fps=asked.fps, shared_ids=asked.shared_ids, common_clock=asked.common_clock
    )
    for note in data.describe():
        print(note)
    done = write_crops(data, asked.folder, every=asked.every, min_height=asked.min_height)
    print(
        f"{done.written} pictures of {done.tracks} tracks; {done.small} boxes below {asked.min_height} pixels left out."
    )
    if done.lost_tracks:
        print(f"{done.lost_tracks} tracks have no picture: lower --every or --min-height to keep them.")
    print(f"results: {asked.folder}  (a folder a camera, samples.csv)")
    print(f"next: reid-train --method spcl --data {asked.folder} --instances tracklet")


if __name__ == "__main__":
    main()
