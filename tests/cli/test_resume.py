"""A run that is killed anywhere and resumed ends with the same bytes as one that is not."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def _start(arguments: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    """A run in a process of its own; what it says goes to `log.txt` in `cwd`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(cwd / "log.txt", "ab") as log:
        command = [sys.executable, "-u", "-m", "reid.cli.train", *arguments]
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT, preexec_fn=_hear_interrupts
        )


def _hear_interrupts() -> None:
    """Shells make background jobs, and so what they start, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _finish(process: subprocess.Popen[bytes], cwd: Path, code: int = 0) -> str:
    process.wait(timeout=300)
    text = (cwd / "log.txt").read_text()
    assert process.returncode == code, text
    return text


def _wait_for(words: str, process: subprocess.Popen[bytes], cwd: Path) -> None:
    deadline = time.monotonic() + 120
    while words not in (cwd / "log.txt").read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def _flags(settings: dict[str, Any]) -> list[str]:
    return [word for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", str(value))]


def _result(run: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    files = ["model.safetensors", "selected.safetensors", "labels.csv"]
    files += sorted(str(p.relative_to(run)) for p in (run / "labels").iterdir())
    return {
        "files": {f: hashlib.sha256((run / f).read_bytes()).hexdigest() for f in files},
        "metrics": [{k: v for k, v in row.items() if k != "seconds"} for row in rows],
    }


@pytest.fixture(scope="module")
def settings(walkers: Path) -> dict[str, Any]:
    return {
        "data": walkers, "height": 32, "width": 16, "backbone": "tiny:0.25", "embedding-dim": 16, "batch-size": 16,
        "merge-percent": 0.15, "rounds": 5, "epochs-first": 3, "epochs": 2, "seed": 4,
    }  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    _finish(_start([*_flags(settings), "--output", "run"], folder), folder)
    return _result(folder / "run")


def test_same_settings_give_the_same_bytes(
    settings: dict[str, Any], uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    _finish(_start([*_flags(settings), "--output", "run"], tmp_path), tmp_path)
    assert _result(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize("trial", range(4))
def test_killed_at_random_moments(
    settings: dict[str, Any], uninterrupted: dict[str, Any], tmp_path: Path, trial: int
) -> None:
    """Kill -9 until the run gets through; each life is long enough to start, then ends anywhere."""
    rng = np.random.default_rng(trial)
    run, kills = tmp_path / "run", 0
    process = _start([*_flags(settings), "--output", "run"], tmp_path)
    while kills < 3:
        _wait_for("resuming" if kills else "method:", process, tmp_path)
        time.sleep(float(rng.uniform(0.0, 1.5)))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        (tmp_path / "log.txt").write_text("")
        process = _start(["--resume", "run"], tmp_path)
    _finish(process, tmp_path)
    assert kills >= 1
    assert _result(run) == uninterrupted


@pytest.mark.parametrize("place", ["labels", "previous", "last", "json", "metrics", "model", "end"])
def test_killed_between_two_files(
    settings: dict[str, Any], uninterrupted: dict[str, Any], tmp_path: Path, place: str
) -> None:
    """The process ends at the very moment one of a round's files is about to get its name."""
    code = f"""
import os, sys
import reid.files
replace, seen = os.replace, [0]
def dying(source, target):
    names = {{"labels": "round-003.npz", "previous": "previous.safetensors", "last": "last.safetensors",
             "json": "last.json", "metrics": "metrics.jsonl", "model": "model.safetensors",
             "end": "model.safetensors"}}
    if os.path.basename(str(target)) == names[{place!r}]:
        seen[0] += 1
        if seen[0] == {{"labels": 1, "end": 7}}.get({place!r}, 3):
            os._exit(9)
    replace(source, target)
os.replace = dying
from reid.cli.train import main
sys.argv[0] = "reid-train"
main()
"""
    done = subprocess.run([sys.executable, "-c", code, *_flags(settings), "--output", "run"], cwd=tmp_path,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)  # fmt: skip
    assert done.returncode == 9
    text = _finish(_start(["--resume", "run"], tmp_path), tmp_path)
    assert "resuming" in text
    assert _result(tmp_path / "run") == uninterrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_their_code_and_can_be_resumed(
    settings: dict[str, Any], uninterrupted: dict[str, Any], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = _start([*_flags(settings), "--output", "run"], tmp_path)
    _wait_for("round  1/", process, tmp_path)
    process.send_signal(number)
    assert "Traceback" not in _finish(process, tmp_path, code)
    _finish(_start(["--resume", "run"], tmp_path), tmp_path)
    assert _result(tmp_path / "run") == uninterrupted


def test_resume_refuses_other_settings_and_changed_data(settings: dict[str, Any], tmp_path: Path) -> None:
    _finish(_start([*_flags({**settings, "rounds": 1}), "--output", "run"], tmp_path), tmp_path)
    text = _finish(_start(["--resume", "run", "--seed", "99"], tmp_path), tmp_path, code=2)
    assert "seed (4 there, 99 here)" in text
    assert "round 1" in _finish(_start(["--resume", "run"], tmp_path), tmp_path)
