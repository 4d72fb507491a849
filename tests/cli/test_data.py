"""``reid-data synthetic`` writes a set that any program that knows Market-1501 can read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reid.cli.data", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_market_layout(tmp_path: Path) -> None:
    small = ("--train-persons", "4", "--test-persons", "3", "--height", "32", "--width", "16", "--level", "hard")
    done = _run("synthetic", "walkers", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "next: reid-train --method buc --data walkers"
    counts = {}
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        names = [p.name for p in (tmp_path / "walkers" / folder).iterdir()]
        assert all(re.fullmatch(r"\d{4}_c\ds\d+_\d{6}_\d\d\.jpg", name) for name in names)
        counts[folder] = len(names)
    assert counts == {"bounding_box_train": 4 * 3 * 4, "query": 3 * 3, "bounding_box_test": 3 * 3 * 3}
    with Image.open(next((tmp_path / "walkers" / "query").iterdir())) as picture:
        assert picture.size == (16, 32)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("precious")
    done = _run("synthetic", "mine", cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "mine" in done.stderr
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "a.txt"]


def test_a_level_that_is_not_there(tmp_path: Path) -> None:
    assert _run("synthetic", "x", "--level", "medium", cwd=tmp_path).returncode == 2


def test_actions_are_listed_and_misspelt_ones_named(tmp_path: Path) -> None:
    assert "synthetic FOLDER" in _run(cwd=tmp_path).stdout
    done = _run("syntetic", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'synthetic'" in done.stderr


def test_crops_of_mot(tmp_path: Path) -> None:
    root = tmp_path / "mot" / "cam1"
    for folder in ("img1", "gt"):
        (root / folder).mkdir(parents=True)
    for frame in (1, 2):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(root / "img1" / f"{frame:06d}.jpg")
    (root / "gt" / "gt.txt").write_text("1,5,1,1,10,20,1,1,1\n2,5,2,1,10,20,1,1,1\n2,6,9,9,10,8,1,1,1\n")
    done = _run("crops", "mot", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert "frame rate unknown: give --fps" in done.stderr
    done = _run("crops", "mot", "out", "--fps", "25", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "MOT ground truth, 1 sequence: 3 boxes, 2 tracks."
    assert lines[1] == "2 pictures of 1 tracks; 1 boxes below 16 pixels left out."
    assert lines[-1] == "next: reid-train --method spcl --data out --instances tracklet"
    table = (tmp_path / "out" / "samples.csv").read_text().splitlines()
    assert table == [
        "path,pid,camid,frame,time_start,time_end,tracklet,clock",
        "c01/000005_000001_00.jpg,5,1,1,0.0,0.0,0,0",
        "c01/000005_000002_00.jpg,5,1,2,0.04,0.04,0,0",
    ]
