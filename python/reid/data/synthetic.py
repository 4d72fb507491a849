"""Built-in pedestrians, drawn by code: persons, look-alikes, cameras, passes, time stamps.

No real person is shown.

Small enough to train on in a minute and hard enough that colour alone fails: cameras differ in colour,
viewing direction, background and sharpness, crops are cut out badly, some persons are look-alikes, others
walk through. Figures are drawn in :mod:`reid.data.walkers`, places and camera response in
:mod:`reid.data.places`.

Every person, camera and pass has its own random stream, so a person does not change when others are added
behind it, and pictures do not depend on the batch they are drawn in. (Last bits of sin and exp may differ
between processors, which can move a pixel by one grey level.)
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reid.data import places, walkers
from reid.data.people import draw_people, draw_person, stream
from reid.files import new_folder

Level = Literal["mild", "hard"]

FRAMES_PER_SECOND = 25
FRAME_STEP = 8
"""Frames between two crops of a pass. Passes start on this grid, so simultaneous crops share a time."""

_OVERLAP = 1.5  # other passes that one meets in its camera, on average
_BATCH_PASSES = 32


@dataclass(frozen=True)
class SyntheticConfig:
    """What to draw.

    Parameters
    ----------
    level : {"mild", "hard"}, default "mild"
        How much the cameras differ: at "mild" methods that know nothing of cameras can learn, at "hard" the
        camera is the nearest neighbour's strongest trait.
    seed : int, default 0
        Everything follows from it; at least 0.
    height, width : int, default 64 and 32
        Size of a crop in pixels, at least 16 x 8. The figure is stretched to it.
    train_persons, test_persons : int, default 72 and 32
        Numbers of identities, at least 1 each; no identity is in both.
    cameras : int, default 4
        Number of cameras, at least 2.
    cameras_per_person : int, default 3
        By how many of them each person is seen, from 2 to `cameras`.
    frames : int, default 4
        Crops of one pass (tracklet).
    passes : int, default 1
        How often a person walks through each of its cameras. `frames * passes` is at least 2, so that
        something is left for the gallery beside the query.
    """

    level: Level = "mild"
    seed: int = 0
    height: int = 64
    width: int = 32
    train_persons: int = 72
    test_persons: int = 32
    cameras: int = 4
    cameras_per_person: int = 3
    frames: int = 4
    passes: int = 1

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise ValueError(f"level={self.level!r}: must be one of {', '.join(get_args(Level))}")
        least = {"seed": 0, "height": 16, "width": 8, "cameras": 2, "cameras_per_person": 2}
        for name, value in vars(self).items():
            if name != "level" and value < least.get(name, 1):
                raise ValueError(f"{name}={value}: must be at least {least.get(name, 1)}")
        if self.cameras_per_person > self.cameras:
            raise ValueError(f"cameras_per_person={self.cameras_per_person}: must be at most cameras={self.cameras}")
        if self.frames * self.passes < 2:
            raise ValueError("frames=1 with passes=1 leaves no crop for the gallery: raise one of them to 2")


@dataclass(frozen=True, eq=False)
class SyntheticSet:
    """A drawn set: one row a crop, ordered by person, camera, pass, time.

    Parameters
    ----------
    images : (N, H, W, 3) uint8
        The crops, RGB.
    pid : (N,) int64
        Identity from 1; those of the test follow those of the training.
    camid : (N,) int64
        Camera from 1.
    tracklet : (N,) int64
        Number of the pass, unique over the set, from 0.
    sequence : (N,) int64
        Which pass of this person through this camera, from 1.
    frame : (N,) int64
        Frame number on a clock that all cameras share, 25 a second.
    split : (N,) str
        "train", "query" (one crop per test person and camera) or "gallery" (all other crops of test persons).
    twin_of : (n_persons,) int64
        For the person with pid i + 1 the 0-based number of the person it is a look-alike of, -1 for none.
    """

    images: NDArray[np.uint8]
    pid: NDArray[np.int64]
    camid: NDArray[np.int64]
    tracklet: NDArray[np.int64]
    sequence: NDArray[np.int64]
    frame: NDArray[np.int64]
    split: NDArray[np.str_]
    twin_of: NDArray[np.int64]


_CAMERAS, _ROUTE, _PASS, _NOISE = range(2, 6)  # first numbers of the streams' keys; reid.data.people has 0 and 1


def _cameras(config: SyntheticConfig) -> NDArray[np.void]:
    return places.draw_cameras(stream(config.seed, _CAMERAS), config.cameras, places.LEVELS[config.level])


@dataclass(frozen=True)
class _Pass:
    """One walk through one camera: who, where, when, and all that was drawn for its crops."""

    person: int
    camera: int
    sequence: int
    frames: NDArray[np.int64]  # (T,)
    views: NDArray[np.void]  # (T,) of VIEW
    scenes: NDArray[np.void]  # (T,) of SCENE
    other: NDArray[np.void] | None  # somebody else in the picture
    other_views: NDArray[np.void]  # (T,)
    other_before: NDArray[np.bool_]  # (T,) nearer to the camera than the person
    other_behind: NDArray[np.bool_]  # (T,)
    noise: np.random.Generator


def _walk(rng: np.random.Generator, camera: NDArray[np.void], n: int, strength: places.Strength) -> NDArray[np.void]:
    """The n views of somebody who crosses the picture; crops are cut out inexactly."""
    box = strength.box
    near = np.clip(rng.normal(size=(4, n)), -2.2, 2.2)
    views = np.zeros(n, walkers.VIEW)
    turned = np.pi * rng.integers(2) + np.deg2rad(rng.normal(0, 17))
    views["yaw"] = camera["yaw"] + turned + np.deg2rad(6) * near[0]
    views["phase"] = rng.uniform(0, 2 * np.pi) + 0.9 * np.arange(n)
    views["x"] = 0.45 * box * near[1]
    views["foot"] = 0.985 + 0.35 * box * near[2]
    views["scale"] = 0.97 * np.exp(0.8 * box * near[3])
    views["tilt"], views["side_light"] = camera["tilt"], camera["side_light"]
    return views


def _circumstances(
    rng: np.random.Generator, camera: NDArray[np.void], n: int, strength: places.Strength
) -> tuple[NDArray[np.void], NDArray[np.void] | None, NDArray[np.void], NDArray[np.bool_], NDArray[np.bool_]]:
    """Scenes (n,); another person or None, its views, and in which crops it walks before or behind."""
    scenes = np.zeros(n, places.SCENE)
    scenes["light"] = 1 + strength.light * np.clip(rng.normal(), -2.2, 2.2)
    scenes["shift"] = rng.uniform(0, 8) + 0.12 * np.arange(n)
    hidden = rng.random(n) < 0.5
    kind = rng.integers(3) if rng.random() < 2 * strength.occlusion else -1
    scenes["occluder"] = np.where(hidden, max(0, kind), 0)
    scenes["occluder_x"] = rng.uniform(-0.13, 0.13, n)
    before = hidden & (kind == 0)
    behind = np.full(n, kind < 0 and rng.random() < 0.3 * strength.companion)
    other_views = _walk(rng, camera, n, strength)
    other_views["x"] += rng.choice((-1, 1)) * rng.uniform(0.1, 0.2)
    other_views["foot"] += np.where(before, 0.03, -0.03)
    other_views["scale"] *= np.where(before, 1.06, 0.94)
    return scenes, draw_person(rng) if (before | behind).any() else None, other_views, before, behind


def _passes(config: SyntheticConfig) -> list[_Pass]:
    """All passes, by person, camera, time."""
    strength, cameras = places.LEVELS[config.level], _cameras(config)
    visits = config.cameras_per_person * config.passes
    steps = config.frames  # a pass takes that many steps of the frame grid
    passes, begin, person = [], 0, 0
    for part, count in enumerate((config.train_persons, config.test_persons)):
        # A pass meets about 2 * steps * (passes in the camera) / length others. Each visit of a person has a
        # stretch of its own, so that nobody is in two places at a time.
        length = int(max(2 * steps * count * visits / config.cameras / _OVERLAP, 2 * steps * visits))
        for i in range(count):
            rng = stream(config.seed, _ROUTE, part, i)
            seen = np.sort(rng.permutation(config.cameras)[: config.cameras_per_person])
            stretch = rng.permutation(visits) * length // visits
            starts = begin + stretch + rng.integers(0, length // visits - steps + 1, visits)
            for j, start in enumerate(np.sort(starts.reshape(-1, config.passes), axis=1).ravel()):
                camera, number = int(seen[j // config.passes]), j % config.passes
                key = (part, i, camera, number)
                draws = stream(config.seed, _PASS, *key)
                passes.append(
                    _Pass(
                        person,
                        camera,
                        number + 1,
                        FRAME_STEP * (1 + start + np.arange(config.frames)),
                        _walk(draws, cameras[camera], config.frames, strength),
                        *_circumstances(draws, cameras[camera], config.frames, strength),
                        stream(config.seed, _NOISE, *key),
                    )
                )
            person += 1
        begin += length + steps
    return passes


def _render(
    passes: list[_Pass], people: NDArray[np.void], cameras: NDArray[np.void], height: int, width: int
) -> NDArray[np.uint8]:
    """The crops of some passes, (sum of T, height, width, 3)."""
    n = [len(p.frames) for p in passes]
    camera = cameras[np.repeat([p.camera for p in passes], n)]
    scenes, views, other_views = (
        np.concatenate([getattr(p, name) for p in passes]) for name in ("scenes", "views", "other_views")
    )
    others = np.concatenate(
        [np.repeat(people[:1] if p.other is None else p.other[None], len(p.frames)) for p in passes]
    )

    def add_others(name: str) -> None:
        on = np.flatnonzero(np.concatenate([getattr(p, name) for p in passes]))
        if on.size:
            part = canvas[:, on]
            walkers.draw_figures(part, others[on], other_views[on])
            canvas[:, on] = part

    canvas = places.draw_background(camera, scenes, height, width)  # (3, B, H, W)
    add_others("other_behind")
    walkers.draw_figures(canvas, people[np.repeat([p.person for p in passes], n)], views)
    add_others("other_before")
    places.draw_occluders(canvas, scenes)
    noise = [p.noise.standard_normal((len(p.frames), height, width, 3), np.float32) for p in passes]
    return places.expose(canvas, camera, scenes, np.concatenate(noise))


def draw(config: SyntheticConfig) -> SyntheticSet:
    """Draw a set in memory; under a second on one core for the default of 1,248 crops.

    Parameters
    ----------
    config : SyntheticConfig
        What to draw.

    Returns
    -------
    SyntheticSet
        The crops with identities, cameras, tracklets, frame numbers and split.
    """
    counts = (config.train_persons, config.test_persons)
    people, twin_of = draw_people(config.seed, counts, places.LEVELS[config.level].lookalikes)
    cameras, passes = _cameras(config), _passes(config)
    batches = [
        _render(passes[k : k + _BATCH_PASSES], people, cameras, config.height, config.width)
        for k in range(0, len(passes), _BATCH_PASSES)
    ]
    n = config.frames
    pid = np.repeat([p.person + 1 for p in passes], n).astype(np.int64)
    sequence = np.repeat([p.sequence for p in passes], n).astype(np.int64)
    middle = (np.arange(len(pid)) % n == n // 2) & (sequence == 1)
    return SyntheticSet(
        images=np.concatenate(batches),
        pid=pid,
        camid=np.repeat([p.camera + 1 for p in passes], n).astype(np.int64),
        tracklet=np.repeat(np.arange(len(passes)), n).astype(np.int64),
        sequence=sequence,
        frame=np.concatenate([p.frames for p in passes]).astype(np.int64),
        split=np.where(pid <= config.train_persons, "train", np.where(middle, "query", "gallery")),
        twin_of=twin_of,
    )


_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
_README = """Pedestrian crops drawn by code (reid.data.synthetic). No real person is shown.
level = {0.level}, seed = {0.seed}, {0.height} x {0.width} pixels, {0.cameras} cameras.
{0.train_persons} training and {0.test_persons} other test persons.
Layout and names of Market-1501: pid_c<camera>s<pass>_<frame>_00.jpg.
samples.csv adds times (seconds, {1} frames a second, one clock for all cameras) and tracklets.
"""


def write_market(config: SyntheticConfig, root: Path) -> Path:
    """Draw a set and write it as a folder in the layout of Market-1501, with `samples.csv` and `README.txt`.

    The folder is written beside `root` and renamed when it is complete.

    Parameters
    ----------
    config : SyntheticConfig
        What to draw.
    root : path
        The folder to make. It may exist if it is empty.

    Returns
    -------
    Path
        `root`.

    Raises
    ------
    ValueError
        `root` is a file, or a folder that is not empty.
    """
    with new_folder(root) as beside:
        _write(draw(config), beside)
        (beside / "README.txt").write_text(_README.format(config, FRAMES_PER_SECOND), encoding="utf-8")
    return Path(root)


def _write(drawn: SyntheticSet, root: Path) -> None:
    """Pictures and `samples.csv`."""
    for folder in _FOLDERS.values():
        (root / folder).mkdir()
    rows = []
    for k, image in enumerate(drawn.images):
        pid, camid, frame, split = (
            int(drawn.pid[k]),
            int(drawn.camid[k]),
            int(drawn.frame[k]),
            str(drawn.split[k]),
        )
        path = f"{_FOLDERS[split]}/{pid:04d}_c{camid}s{drawn.sequence[k]}_{frame:06d}_00.jpg"
        Image.fromarray(image).save(root / path, quality=95, subsampling=0)
        time = frame / FRAMES_PER_SECOND
        rows.append((path, split, pid, camid, frame, time, time, int(drawn.tracklet[k])))
    with open(root / "samples.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "split", "pid", "camid", "frame", "time_start", "time_end", "tracklet"))
        writer.writerows(sorted(rows))
