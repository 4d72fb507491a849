"""Rules as users write them: each kind by hand and against all pairs, files that are wrong, proposals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.clustering.pairs_file import read_pairs
from reid.clustering.propose import propose_rules
from reid.clustering.rules import MinTravelTime, SameFrame, SameTracklet, TimeOverlap, compile_rules, read_rules
from reid.clustering.toc import TocConfig, parse_exempt, run_links
from reid.config import TrainConfig
from reid.data.records import Samples
from reid.files import csv_text

TEXT = """
[[rule]]
kind = "same-frame"

[[rule]]
kind = "time-overlap"
scope = "cross"
margin = -2
exempt = [[2, 8], [3, 5]]
relaxed = -1.0

[[rule]]
kind = "min-travel-time"
cameras = [1, 2]
seconds = 30

[[rule]]
kind = "same-tracklet"

[[rule]]
kind = "pairs"
file = "review.csv"
"""


def samples(n: int, **columns: Any) -> Samples:
    return Samples.from_paths([f"/data/{i % 2}/{i}.jpg" for i in range(n)], **{"clock": [0] * n, **columns})


def random_samples(n: int = 120) -> Samples:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 60, n).astype(float)
    start[::17] = np.nan
    end = start + rng.integers(0, 4, n)
    return samples(
        n,
        camid=rng.integers(-1, 4, n),
        clock=rng.integers(-1, 2, n),
        tracklet=rng.integers(-1, 40, n),
        start=start,
        end=end,
    )


def all_pairs(s: Samples) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(s)) for j in range(i + 1, len(s)) if s.clock[i] == s.clock[j] >= 0]


def linked(rule: Any, s: Samples) -> list[tuple[int, int]]:
    return [tuple(pair) for pair in compile_rules([rule], s).cannot.tolist()]


def test_a_file_holds_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(TEXT)
    rules = read_rules(file)
    assert [rule.kind for rule in rules] == ["same-frame", "time-overlap", "min-travel-time", "same-tracklet", "pairs"]
    assert rules[1] == TimeOverlap("cross", -2.0, ((2, 8), (3, 5)), -1.0)
    assert rules[2] == MinTravelTime((1, 2), 30.0)
    assert rules[4].file == tmp_path / "review.csv"


def test_same_frame() -> None:
    s = random_samples()
    wanted = [
        (i, j) for i, j in all_pairs(s)
        if s.camid[i] == s.camid[j] >= 0 and s.start[i] <= s.end[j] and s.start[j] <= s.end[i]
    ]  # fmt: skip
    assert linked(SameFrame(), s) == wanted
    assert wanted


def test_time_overlap() -> None:
    s = random_samples()
    for scope in ("all", "cross", "same"):
        for margin in (-1.0, 0.0, 2.5):
            rule = TimeOverlap(scope, margin)
            known = [(i, j) for i, j in all_pairs(s) if scope == "all" or min(s.camid[i], s.camid[j]) >= 0]
            wanted = [
                (i, j) for i, j in known
                if (scope == "all" or (s.camid[i] == s.camid[j]) == (scope == "same"))
                and s.start[i] <= s.end[j] + margin and s.start[j] <= s.end[i] + margin
            ]  # fmt: skip
            assert linked(rule, s) == wanted


def test_min_travel_time_forbids_what_is_faster_and_nothing_else() -> None:
    s = random_samples()
    wanted = [
        (i, j) for i, j in all_pairs(s)
        if {s.camid[i], s.camid[j]} == {1, 3} and max(s.start[i] - s.end[j], s.start[j] - s.end[i]) < 7
    ]  # fmt: skip
    assert linked(MinTravelTime((1, 3), 7.0), s) == wanted
    exact = samples(3, camid=[1, 3, 3], start=[0.0, 7.0, 6.9])
    assert linked(MinTravelTime((3, 1), 7.0), exact) == [(0, 2)]


def test_pairs_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    s = random_samples()
    for rule in (TimeOverlap(), TimeOverlap(margin=2.5), TimeOverlap("same", -1.0), SameFrame()):
        margin = max(getattr(rule, "margin", 0.0), 0.0)
        scope = getattr(rule, "scope", "same")
        count = len(linked(TimeOverlap(scope, margin), s))
        with monkeypatch.context() as patch:
            patch.setattr("reid.clustering.rules.MOST_PAIRS", count)
            linked(rule, s)
            patch.setattr("reid.clustering.rules.MOST_PAIRS", count - 1)
            with pytest.raises(MemoryError, match=f"compares {count} pairs that overlap"):
                linked(rule, s)


def test_same_tracklet_and_same_frame() -> None:
    s = samples(5, camid=[0] * 5, tracklet=[3, -1, 3, 3, -1], start=[0.0, 0.0, 1.0, 2.0, 2.0])
    links = compile_rules([SameFrame(), SameTracklet()], s)
    assert links.cannot.tolist() == [[0, 1], [3, 4]]
    assert links.groups.tolist() == [0, 1, 0, 0, 2]


def test_rules_that_link_nothing_or_nearly_all_are_said_so() -> None:
    plain = samples(8)
    notes = [p.note for p in compile_rules([SameFrame(), SameTracklet(), MinTravelTime((1, 2), 3.0)], plain).parts]
    assert ["no times of a known clock" in notes[0], "no tracklets" in notes[1], "camera 1 or 2" in notes[2]] == [
        True
    ] * 3
    unknown = samples(8, start=[1.0] * 8, clock=[-1] * 8)
    assert "no times of a known clock" in compile_rules([TimeOverlap()], unknown).parts[0].note
    same = samples(8, start=[1.0] * 8)
    assert "nearly all pairs that it compares (100 %)" in compile_rules([TimeOverlap()], same).parts[0].note
    apart = samples(8, start=np.arange(8.0))
    assert "no times meet" in compile_rules([TimeOverlap()], apart).parts[0].note
    assert not compile_rules([TimeOverlap(margin=1.0)], apart).parts[0].note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no rule"),
        ("rule = 3", "holds no rule"),
        ("[[rules]]\nkind = 'same-frame'", "unknown key 'rules'"),
        ("[[rule]]\nkind = 'same-fram'", "rule 1: kind='same-fram': did you mean 'same-frame'"),
        ("[[rule]]\nscope = 'all'", "no kind"),
        ("[[rule]]\nkind = 'time-overlap'\nmargins = 3", "unknown key 'margins': did you mean 'margin'"),
        ("[[rule]]\nkind = 'same-frame'\nmargin = 3", "unknown key 'margin': none is known"),
        ("[[rule]]\nkind = 'time-overlap'\nscope = 'crss'", "scope='crss': did you mean 'cross'"),
        ("[[rule]]\nkind = 'time-overlap'\nrelaxed = 3", "relaxed=3.0: must be from -1 to 1"),
        ("[[rule]]\nkind = 'time-overlap'\nmargin = nan", "margin=nan: must be a number of seconds"),
        ("[[rule]]\nkind = 'time-overlap'\nexempt = [[1, 2, 3]]", "must be pairs of camera ids"),
        ("[[rule]]\nkind = 'min-travel-time'\ncameras = [1, 2]", "seconds is missing"),
        ("[[rule]]\nkind = 'min-travel-time'\ncameras = [1, 1]\nseconds = 3", "must be two"),
        ("[[rule]]\nkind = 'min-travel-time'\ncameras = [1, 2]\nseconds = -3", "seconds=-3.0: must be above 0"),
        ("[[rule]]\nkind = ", "not a TOML file"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(file))) as error:
        read_rules(file)
    assert words in str(error.value)


def test_files_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_rules(tmp_path / "a.toml")
    (tmp_path / "a.yaml").write_text("")
    with pytest.raises(ValueError, match=r"must be a \.toml file of rules or a \.csv"):
        read_rules(tmp_path / "a.yaml")


def test_pairs_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "review.csv"
    file.write_text(
        "path_a,path_b,relation\n0/0.jpg,1/1.jpg,same\n\n/data/0/2.jpg,1/3.jpg,different\n1.jpg,0.jpg,same\n"
    )
    links = compile_rules(read_rules(file), samples(4))
    assert (links.cannot.tolist(), links.must.tolist()) == ([[2, 3]], [[0, 1]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line must be path_a,path_b,relation"),
        ("0/0.jpg,1/1.jpg,same", "the first line must be"),
        ("path_a,path_b,relation\n0/0.jpg,1/1.jpg", "line 2: has 2 cells"),
        ("path_a,path_b,relation\n0/0.jpg,1/1.jpg,diferent", "line 2: relation 'diferent': did you mean 'different'"),
        (
            "path_a,path_b,relation\n0/0.jpg,9.jpg,same\nx,y,same",
            "3 names, each is no training picture of these data: 9.jpg",
        ),
        ("path_a,path_b,relation\n0/0.jpg,0.jpg,different", "are one sample"),
    ],
)
def test_wrong_pairs(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "review.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(str(file))) as error:
        read_pairs(file, samples(4))
    assert words in str(error.value)


def test_names_as_our_tables_write_them(tmp_path: Path) -> None:
    samples = Samples.from_paths(["/data/=1.jpg", "/data/-2.jpg", "/data/3.jpg"])
    file = tmp_path / "pairs.csv"
    rows = [("=1.jpg", "3.jpg", "same"), ("-2.jpg", "3.jpg", "different")]
    file.write_text(csv_text(["path_a", "path_b", "relation"], rows))
    assert "'=1.jpg" in file.read_text()
    cannot, must = read_pairs(file, samples)
    assert (cannot.tolist(), must.tolist()) == ([[1, 2]], [[0, 2]])


def test_a_name_of_two_pictures_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "review.csv"
    file.write_text("path_a,path_b,relation\na.jpg,b.jpg,same\n")
    two = Samples.from_paths(["/d/1/a.jpg", "/d/2/a.jpg", "/d/1/b.jpg"])
    with pytest.raises(ValueError, match=r"the end of several paths of these data: a\.jpg \(line 2\)"):
        read_pairs(file, two)


def test_a_run_stops_on_contradictions_and_names_pictures(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nkind = "same-frame"\n[[rule]]\nkind = "same-tracklet"\n')
    s = samples(3, camid=[0] * 3, tracklet=[1] * 3, start=[0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="must differ and must be one") as error:
        run_links(TrainConfig(constraints=str(tmp_path / "rules.toml")), s, graph=True)
    assert "/data/1/1.jpg and /data/0/2.jpg must differ (same-frame), but /data/1/1.jpg = " in str(error.value)


@pytest.mark.parametrize("camera_pairs", [True, False])
def test_the_camera_rule_contradicts_tracklets(tmp_path: Path, camera_pairs: bool) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\nkind = "same-tracklet"\n')
    s = samples(3, camid=[0] * 3, tracklet=[1, 1, -1])
    config = TrainConfig(constraints=str(tmp_path / "rules.toml"), same_camera="forbid")
    with pytest.raises(ValueError, match=r"must differ \(same_camera=forbid\)"):
        run_links(config, s, graph=True, camera_pairs=camera_pairs)


def test_toc_settings() -> None:
    s = samples(4, camid=[2, 8, 3, 5], start=[0.0, 0.5, 9.0, 9.0])
    assert run_links(TocConfig(toc=True), s, graph=True).cannot.tolist() == [[2, 3]]
    assert run_links(TocConfig(toc=True, toc_margin=1.0), s, graph=True).cannot.tolist() == [[0, 1], [2, 3]]
    exempt = TocConfig(toc=True, toc_margin=1.0, toc_exempt="5-3")
    assert run_links(exempt, s, graph=True).cannot.tolist() == [[0, 1]]
    assert not len(run_links(TocConfig(toc=True, toc_scope="same"), s, graph=True).cannot)
    assert (TocConfig(toc=True).uses_cameras, exempt.uses_cameras) == (False, True)
    relaxed = run_links(TocConfig(toc=True, toc_relaxed=-1.0), s, graph=True)
    assert (len(relaxed.cannot), relaxed.relaxable[0].relaxed) == (0, -1.0)
    with pytest.raises(ValueError, match="toc_relaxed: needs Jaccard distances"):
        run_links(TocConfig(toc=True, toc_relaxed=-1.0), s, graph=False)
    with pytest.raises(ValueError, match="toc=True: needs times"):
        run_links(TocConfig(toc=True), samples(3), graph=True)
    with pytest.raises(ValueError, match=r"toc_margin=1\.0: does nothing without toc"):
        TocConfig(toc_margin=1.0)
    with pytest.raises(ValueError, match="toc_exempt='2,8'"):
        TocConfig(toc=True, toc_exempt="2,8")
    assert parse_exempt(" 2-8, 3 - 5") == [(2, 8), (3, 5)]


def test_proposed_travel_times(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60  # identities: camera 1, then camera 2 after 30 s or more; camera 3 sees some of them at once
    first = rng.uniform(0, 1000, n)
    second = first + 30 + rng.exponential(10, n)
    s = samples(
        2 * n + 25, camid=[1] * n + [2] * n + [3] * 25, start=np.concatenate([first, second, second[:25] + 0.5]),
        end=np.concatenate([first, second + 1, second[:25] + 0.5]),
    )  # fmt: skip
    labels = np.concatenate([np.arange(n), np.arange(n), np.arange(25)])
    file = tmp_path / "proposed.toml"
    file.write_text(propose_rules(labels, s))
    (rule,) = read_rules(file)
    assert isinstance(rule, MinTravelTime)
    assert rule.cameras == (1, 2)
    assert 23 < rule.seconds <= 0.8 * 31
    assert "cameras 2 and 3: 25 travel times" in file.read_text()
    same = labels[:, None] == labels
    assert not same[tuple(compile_rules([rule], s).cannot.T)].any()
    assert "Nothing to propose" in propose_rules(labels, samples(len(s)))
