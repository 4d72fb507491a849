"""The built-in pedestrians: splits, determinism, spread of the cameras, distinct persons, files."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.data import people, places, synthetic, walkers
from reid.data.synthetic import SyntheticConfig, draw, write_market

SMALL = SyntheticConfig(train_persons=6, test_persons=4)


@pytest.fixture(scope="module")
def full() -> synthetic.SyntheticSet:
    return draw(SyntheticConfig())


def views_of(persons: np.ndarray, n: int = 8) -> np.ndarray:
    """Each person from n sides on plain grey, (P, n, 3 * 64 * 32) in [0, 255]."""
    views = np.zeros(len(persons) * n, walkers.VIEW)
    views["yaw"] = np.tile(np.arange(n) * 2 * np.pi / n, len(persons))
    views["phase"] = np.tile(0.9 * np.arange(n), len(persons))
    views["foot"], views["scale"], views["tilt"] = 0.985, 0.97, 1
    canvas = np.full((3, len(views), 64, 32), 0.55, np.float32)
    walkers.draw_figures(canvas, np.repeat(persons, n), views)
    return 255 * np.clip(canvas, 0, 1).transpose(1, 0, 2, 3).reshape(len(persons), n, -1)


def test_same_seed_same_set_and_other_seed_another() -> None:
    drawn, again, other = draw(SMALL), draw(replace(SMALL)), draw(replace(SMALL, seed=1))
    for name in vars(drawn):
        assert np.array_equal(getattr(drawn, name), getattr(again, name)), name
    assert not np.array_equal(drawn.images, other.images)
    assert not np.array_equal(drawn.frame, other.frame)


def test_pictures_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = draw(SMALL).images
    monkeypatch.setattr(synthetic, "_BATCH_PASSES", 1)
    assert np.array_equal(images, draw(SMALL).images)


def test_train_persons_do_not_depend_on_the_number_of_others() -> None:
    few, many = draw(SMALL), draw(replace(SMALL, test_persons=9))
    n = int((few.split == "train").sum())
    for name in ("images", "pid", "camid", "frame", "tracklet", "split"):
        assert np.array_equal(getattr(few, name)[:n], getattr(many, name)[:n]), name
    persons, _ = people.draw_people(0, (6, 4), 0.15)
    more, _ = people.draw_people(0, (20, 4), 0.15)
    assert np.array_equal(persons[:6], more[:6])


@pytest.mark.parametrize("passes", [1, 2])
def test_split_rules(passes: int) -> None:
    config = SyntheticConfig(train_persons=5, test_persons=7, passes=passes)
    d = draw(config)
    assert d.images.shape == ((5 + 7) * 3 * passes * 4, 64, 32, 3)
    assert d.images.dtype == np.uint8
    assert set(d.pid[d.split == "train"]) == set(range(1, 6))
    assert set(d.pid[d.split != "train"]) == set(range(6, 13))
    for pid in range(6, 13):
        query, gallery = ((d.pid == pid) & (d.split == name) for name in ("query", "gallery"))
        cameras = np.unique(d.camid[gallery])
        assert len(cameras) == 3
        assert np.array_equal(np.sort(d.camid[query]), cameras)
        assert query.sum() + gallery.sum() == 3 * passes * 4
    assert d.camid.min() == 1
    assert d.camid.max() == 4
    numbers = np.unique(d.tracklet)
    assert np.array_equal(numbers, np.arange(12 * 3 * passes))
    for number in numbers:
        rows = d.tracklet == number
        assert len(set(zip(d.pid[rows], d.camid[rows], d.sequence[rows], strict=True))) == 1
        assert np.array_equal(np.diff(d.frame[rows]), [synthetic.FRAME_STEP] * 3)
    assert d.twin_of.shape == (12,)


def test_passes_overlap_in_a_camera_but_nobody_is_in_two_places(full: synthetic.SyntheticSet) -> None:
    first = np.flatnonzero(np.diff(full.tracklet, prepend=-1))
    start, pid, camid = full.frame[first], full.pid[first], full.camid[first]
    meet = np.abs(start[:, None] - start) < 4 * synthetic.FRAME_STEP
    np.fill_diagonal(meet, False)
    assert 1 <= (meet & (camid[:, None] == camid)).sum(axis=1).mean() <= 2
    assert not (meet & (pid[:, None] == pid)).any()
    assert full.frame.min() >= 1


@pytest.mark.parametrize("seed", range(3))
def test_persons_differ_in_attributes_and_in_pictures(seed: int) -> None:
    persons, twin_of = people.draw_people(seed, (72, 32), 0.15)
    twins = np.flatnonzero(twin_of >= 0)
    assert 6 <= len(twins) <= 10
    table = np.array([people.visible_differences(person, persons) for person in persons])
    np.fill_diagonal(table, 9)
    assert np.array_equal(table[twins, twin_of[twins]], np.ones(len(twins)))
    table[twins, twin_of[twins]] = table[twin_of[twins], twins] = 9
    assert table.min() >= 2
    seen = views_of(persons)
    for k in range(len(persons) - 1):
        # A pair of shoes, the smallest difference there is, covers about 1 % of a crop.
        best = np.abs(seen[k + 1 :] - seen[k]).mean(axis=2).max(axis=1)
        assert best.min() > 0.7, (k, k + 1 + best.argmin())


@pytest.mark.parametrize("name", ["hat", "bag"])
def test_what_a_person_has_shows_in_most_views(name: str) -> None:
    persons, _ = people.draw_people(0, (72, 32), 0.15)
    persons = persons[persons[name] > 0]
    without = persons.copy()
    without[name] = 0
    difference = np.abs(views_of(persons) - views_of(without)).mean(axis=2)  # (P, 8)
    assert ((difference > 0.4).mean(axis=1) > 0.5).all()


def test_neighbouring_colours_are_apart() -> None:
    persons, _ = people.draw_people(0, (300, 1), 0.15)

    def apart(a: str, b: str, where: np.ndarray) -> float:
        return float(np.abs(persons[a] - persons[b]).sum(axis=1)[where].min())

    assert apart("upper", "second", persons["pattern"] > 0) >= 0.6
    assert apart("hat_color", "hair", persons["hat"] > 0) >= 0.45
    assert apart("bag_color", "upper", persons["bag"] > 0) >= 0.45
    assert apart("bag_color", "lower", persons["bag"] > 1) >= 0.45
    assert apart("shoes", "lower", persons["bottoms"] == 0) >= 0.45


@pytest.mark.parametrize("level", ["mild", "hard"])
def test_cameras_have_a_fixed_spread(level: str) -> None:
    def spread(seed: int) -> list[float]:
        cameras = places.draw_cameras(np.random.default_rng(seed), 4, places.LEVELS[level])
        assert sorted(cameras["texture"]) == [0, 1, 2, 3]
        colors = [float(np.linalg.norm(np.std(cameras[name], axis=0))) for name in ("wall", "floor")]
        chroma = np.log(cameras["gain"]) - np.log(cameras["gain"]).mean(axis=1, keepdims=True)
        turn = np.abs(np.exp(2j * cameras["yaw"].astype(float)).mean())  # 0: evenly over half a turn
        assert turn < 0.15
        return [*colors, float(np.linalg.norm(chroma.std(axis=0))), float(cameras["gamma"].std())]

    figures = np.array([spread(seed) for seed in range(20)])
    assert (figures.std(axis=0) / figures.mean(axis=0) < 0.15).all()


def test_hard_cameras_differ_more_than_mild_ones(full: synthetic.SyntheticSet) -> None:
    hard = draw(SyntheticConfig(level="hard"))
    assert np.array_equal(hard.pid, full.pid)
    assert np.array_equal(hard.frame, full.frame)

    def between_cameras(d: synthetic.SyntheticSet) -> float:
        means = [d.images[d.camid == camid].mean(axis=(0, 1, 2)) for camid in range(1, 5)]
        return float(np.std(means, axis=0).sum())

    assert between_cameras(hard) > 1.5 * between_cameras(full)


@pytest.mark.parametrize("size", [(128, 64), (48, 48), (16, 8)])
def test_any_size(size: tuple[int, int]) -> None:
    def tiny(config: SyntheticConfig) -> np.ndarray:
        images = [Image.fromarray(image) for image in draw(config).images]
        return np.stack([np.asarray(image.resize((8, 16), Image.Resampling.BOX), float) for image in images])

    config = replace(SMALL, height=size[0], width=size[1])
    assert draw(config).images.shape[1:3] == size
    other, usual = tiny(config), tiny(SMALL)
    same = np.abs(other - usual).mean()
    # The same scenes, drawn at another size.
    assert same < 0.5 * np.abs(other - np.roll(usual, 12, axis=0)).mean()


def test_crops_show_something(full: synthetic.SyntheticSet) -> None:
    assert full.images.reshape(len(full.images), -1).std(axis=1).min() > 8
    assert np.isfinite(views_of(people.draw_people(3, (40,), 0.5)[0])).all()


def test_write_market(tmp_path: Path) -> None:
    root = write_market(SMALL, tmp_path / "a" / "walkers")
    d = draw(SMALL)
    with open(root / "samples.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "split", "pid", "camid", "frame", "time_start", "time_end", "tracklet"]
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert {row["path"] for row in rows} == {p.relative_to(root).as_posix() for p in root.rglob("*.jpg")}
    folders = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    for name, folder in folders.items():
        assert sum(row["split"] == name for row in rows) == (d.split == name).sum()
        assert len(list((root / folder).iterdir())) == (d.split == name).sum()
    for row in rows:
        found = re.fullmatch(r"(\w+)/(\d{4})_c(\d+)s1_(\d{6})_00\.jpg", row["path"])
        assert found is not None
        assert found[1] == folders[row["split"]]
        assert [int(g) for g in found.groups()[1:]] == [int(row[n]) for n in ("pid", "camid", "frame")]
        assert float(row["time_start"]) == float(row["time_end"]) == int(row["frame"]) / 25
        k = np.flatnonzero((d.tracklet == int(row["tracklet"])) & (d.frame == int(row["frame"])))
        assert len(k) == 1
        assert (d.pid[k[0]], d.camid[k[0]], d.split[k[0]]) == (
            int(row["pid"]),
            int(row["camid"]),
            row["split"],
        )
        with Image.open(root / row["path"]) as image:
            assert np.abs(np.asarray(image).astype(int) - d.images[k[0]]).mean() < 6
    assert "No real person" in (root / "README.txt").read_text()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["walkers"]


def test_write_market_wants_an_empty_place(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        write_market(SMALL, tmp_path)
    with pytest.raises(ValueError, match=r"kept\.txt"):
        write_market(SMALL, tmp_path / "kept.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
    (tmp_path / "empty").mkdir()
    assert (write_market(SMALL, tmp_path / "empty") / "samples.csv").is_file()


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_market(SMALL, tmp_path / "walkers")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "medium"}, "level='medium'"),
        ({"cameras": 1}, "cameras=1"),
        ({"cameras_per_person": 5}, "cameras_per_person=5"),
        ({"train_persons": 0}, "train_persons=0"),
        ({"seed": -1}, "seed=-1"),
        ({"frames": 1}, "frames=1"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticConfig(**settings)  # type: ignore[arg-type]
