"""``reid-cluster`` and ``reid-search`` as commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def _run(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"reid.cli.{program}", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with features of others: nothing but the rows and their names."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 16))[np.arange(60) % 10] + 0.2 * rng.normal(size=(60, 16))
    np.savez(tmp_path / "f.npz", features=x.astype(np.float32), path=[f"{i}.jpg" for i in range(60)])
    return tmp_path


@pytest.mark.parametrize("program", ["cluster", "search"])
def test_help_loads_no_torch(program: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--help']; import reid.cli.{program} as c\n"
        "try: c.main()\nexcept SystemExit as stop: assert stop.code == 0\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "default" in done.stdout


def test_clusters_to_a_file(folder: Path) -> None:
    (folder / "c.toml").write_text('k1 = 6\nmin-samples = 3\noutput = "a.csv"\n')
    done = _run("cluster", "f.npz", "--config", "c.toml", "--k2", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "clusters: 10, of 6 to 6 rows" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("results: a.csv")
    assert lines[-1].startswith("next: ")
    again = _run(
        "cluster", "f.npz", "-o", "b.csv", "--config", "c.toml", "--k2", "2", "--previous", "a.csv", cwd=folder
    )
    assert "10 kept, 0 grown, 0 new, 0 merged, 0 split; 0 names given up" in again.stdout
    assert (folder / "a.csv").read_text() == (folder / "b.csv").read_text()


def test_search_prints_and_is_read(folder: Path) -> None:
    done = _run("search", "f.npz", "--query", "3.jpg", "13.jpg", "--top", "4", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("query: ") == 2
    assert "note: all pairs: nothing can be said of distances: 0 pairs seen at one time" in done.stdout
    read = json.loads(_run("search", "f.npz", "--query", "3.jpg", "--top", "4", "--json", cwd=folder).stdout)
    assert [int(r["path"][:-4]) % 10 for r in read["queries"][0]["results"]] == [3] * 4


@pytest.mark.parametrize(
    ("program", "arguments", "code", "message"),
    [
        ("cluster", ("f.npz", "--eps", "3"), 2, "eps=3"),
        ("cluster", ("f.npz", "--config", "bad.toml"), 2, "did you mean 'min_samples'"),
        ("cluster", ("none.npz",), 1, "none.npz: no such file"),
        ("cluster", ("f.npz", "-o", "labels.txt"), 2, "must end in .csv"),
        ("cluster", ("f.npz", "--same-camera", "forbid"), 1, "needs a camera id"),
        ("search", ("f.npz",), 2, "query: is missing"),
        ("search", ("f.npz", "--query", "99.jpg"), 1, "check the names"),
        ("search", ("f.npz", "--query", "3.jpg", "--max-false", "0.1"), 1, "100 are needed"),
        ("search", ("f.npz", "--query", "3.jpg", "--exclude-same-camera"), 1, "camera of 3.jpg is not known"),
    ],
)
def test_one_line_says_what_is_wrong(
    program: str, arguments: tuple[str, ...], code: int, message: str, folder: Path
) -> None:
    (folder / "bad.toml").write_text("min_sample = 3\n")
    done = _run(program, *arguments, cwd=folder)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(folder.glob("*.csv"))
