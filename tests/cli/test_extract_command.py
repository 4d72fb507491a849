"""``reid-extract``: exit codes, kills, settings from a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reid.feature_table import read_features

COMMAND = [sys.executable, "-u", "-m", "reid.cli.extract"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def _run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)


def _hear_interrupts() -> None:
    """Shells make background jobs, and so what they start, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_file_and_what_to_do_next(tmp_path: Path, walkers: Path, random_run: Path) -> None:
    done = _run(walkers, "--run", random_run, "-o", "f.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["results: f.npz", "next: reid-cluster f.npz -o labels.csv"]
    assert len(read_features(tmp_path / "f.npz").features) > 20
    again = _run(walkers, "--run", random_run, "-o", "f.npz", cwd=tmp_path)
    assert again.returncode == 1
    assert again.stderr == "reid-extract: error: output=f.npz: exists already; choose another name or remove it\n"


def test_settings_from_a_file(tmp_path: Path, walkers: Path, random_run: Path) -> None:
    (tmp_path / "c.toml").write_text(f'path = "{walkers}"\nrun = "{random_run}"\nsplit = "query"\nflip = true\n')
    done = _run("--config", "c.toml", "--no-flip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = read_features(tmp_path / "features.npz")
    assert set(table.split.tolist()) == {"query"}
    assert table.facts["flip"] is False
    (tmp_path / "c.toml").write_text("spilt = 'query'\n")
    done = _run(walkers, "--config", "c.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown key 'spilt': did you mean 'split'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["x"], 2, ["no network is given", "--run DIR"]),
        (["x", "--run", "nowhere"], 1, ["nowhere", "holds no run"]),
        (["x", "--weights", "imagnet"], 1, ["did you mean 'imagenet'"]),
        (["x", "--run", "r", "--batch-size", "0"], 2, ["batch_size=0"]),
        ([], 2, ["PATH"]),
        (["x", "--flips"], 2, ["--flip"]),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], code: int, words: list[str]) -> None:
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_does_not_load_torch(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['reid-extract', '--help']\nfrom reid.cli.extract import main\n"
    code += "try:\n    main()\nfinally:\n    sys.stderr.write(str('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == "False"
    assert "--part-size" in done.stdout


@pytest.fixture(scope="module")
def flags(walkers: Path, random_run: Path) -> list[str]:
    return [str(walkers), "--run", str(random_run), "--part-size", "2", "--batch-size", "1", "--height", "128",
            "--width", "64"]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    assert _run(*flags, "-o", "f.npz", cwd=folder).returncode == 0
    return (folder / "f.npz").read_bytes()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_call_that_is_killed_goes_on(
    tmp_path: Path, flags: list[str], uninterrupted: bytes, sent: signal.Signals, code: int
) -> None:
    parts = tmp_path / "f.npz.parts"
    process = subprocess.Popen(
        [*COMMAND, *flags, "-o", "f.npz"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while not list(parts.glob("[0-9]*.npy")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(sent)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    if code > 0:
        assert "the same command goes on from there" in said
        assert "Traceback" not in said
    assert not (tmp_path / "f.npz").exists()
    assert list(parts.glob("[0-9]*.npy"))
    done = _run(*flags, "-o", "f.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on with f.npz.parts" in done.stdout
    assert (tmp_path / "f.npz").read_bytes() == uninterrupted
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.npz"]
