"""Plain sentences, and several runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_report_page import FACTS, ROUNDS, Page, assert_inert, make_run

import reid
from reid.report.advice import advice
from reid.report.folder import Member, Round, RunFolder


def _run(rounds: list[dict[str, Any]], sizes: dict[int, int], cameras: int = 0) -> RunFolder:
    members = {
        c: [Member(c % cameras if cameras else -1, -1, f"{c}-{k}.jpg") for k in range(n)] for c, n in sizes.items()
    }
    return RunFolder({}, {}, [Round(r["round"], r) for r in rounds], members, sizes)


SOUND = [{"round": 0, "selected": False}, {"round": 1, "selected": True}]


@pytest.mark.parametrize(
    ("rounds", "sizes", "alarm", "words"),
    [
        (SOUND, {0: 9}, True, "The clusters have collapsed: 1 cluster among 9 pictures"),
        (SOUND, {-1: 9}, True, "The clusters have collapsed: 0 clusters among 9"),
        (SOUND, {0: 60, 1: 20, 2: 20}, True, "One giant cluster holds 60 of 100 pictures"),
        (SOUND, {-1: 60, 0: 20, 1: 20}, False, "60 of 100 pictures (60 %) are outliers"),
        (SOUND, {0: 1, 1: 1, 2: 2}, False, "2 of 3 clusters hold one sample only"),
        ([{"round": 0, "selected": True}, {"round": 1}], {}, True, "the untrained network is the best"),
        ([{"round": 1, "selected": True}, {"round": 9}], {}, False, "round (1) lies far from the last (9)"),
        ([{"round": 1}, {"round": 2, "stability": 0.3}], {}, False, "(stability 30)"),
        ([{"round": r, "stability": 0.99} for r in range(1, 6)], {}, False, "hardly changed in the last three"),
        ([{"round": 0, "mAP": 0.5}, {"round": 1, "mAP": 0.4}], {}, True, "mAP is lower than before training"),
        (
            [{"round": r, "oracle_ari": v} for r, v in enumerate((0.2, 0.9, 0.5), 1)], {}, False,
            "best in round 2 (oracle ARI 0.90, at the end 0.50)",
        ),
    ],
)  # fmt: skip
def test_what_is_said(rounds: list[dict[str, Any]], sizes: dict[int, int], alarm: bool, words: str) -> None:
    found = advice(_run(rounds, sizes))
    assert [(a.alarm, words in a.text) for a in found] == [(alarm, True)]


def test_cameras_dominate() -> None:
    assert "Cameras dominate clusters: 4 of 4" in advice(_run(SOUND, dict.fromkeys(range(4), 3), cameras=2))[0].text


def test_nothing_stands_out() -> None:
    assert advice(_run(SOUND, dict.fromkeys(range(4), 3))) == []


def test_runs_side_by_side(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    a = make_run(tmp_path / "a", settings=f"lr = 0.1\nseed = 1\nname = '{evil}'\noutput = '/secret/a'\n")
    b = make_run(tmp_path / "b", settings="lr = 0.2\nseed = 1\n", rounds=ROUNDS[:3])
    path = reid.write_report(reid.ReportConfig((a, b), output=tmp_path / "both.html"))
    page = Page(path)
    assert_inert(page)
    differing = page.text[page.text.index("Settings that differ", 200) :]
    assert {"lr", "0.1", "0.2", "name", evil} <= set(page.texts)
    assert "seed" not in page.texts
    assert "secret" not in page.raw
    assert "Curves" in differing
    assert "these runs have different data" not in page.text.lower()
    other = make_run(tmp_path / "c", facts={**FACTS, "data": {**FACTS["data"], "fingerprint": "x"}})
    page = Page(reid.write_report(reid.ReportConfig((a, other), output=path)))
    assert "These runs have different data" in page.text


def test_runs_of_one_name_and_many_runs(tmp_path: Path) -> None:
    runs = []
    for k in range(10):
        (tmp_path / str(k)).mkdir()
        runs.append(make_run(tmp_path / str(k) / "run"))
    page = Page(reid.write_report(reid.ReportConfig(tuple(runs), output=tmp_path / "all.html")))
    assert {"0/run", "9/run"} <= set(page.texts)
    assert "The first 8 of 10 runs are drawn." in page.text
    assert "None: the runs have the same settings." in page.text


@pytest.mark.parametrize("bad", [0.1, 1000.0, float("nan")])
def test_size_out_of_range(bad: float) -> None:
    with pytest.raises(ValueError, match=r"max_megabytes=.*must be from 0\.5 to 100"):
        reid.ReportConfig((), max_megabytes=bad)


def test_no_run() -> None:
    with pytest.raises(ValueError, match="runs: name at least one folder"):
        reid.write_report(reid.ReportConfig())
