"""`reid-report` and `reid-review` on a run that `reid-train` made."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.cli import report, review
from reid.methods.buc import BucConfig
from reid.report.details import read_details
from reid.training.train import train


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Run a command here; what it says."""

    def call(command: str, *arguments: str | Path, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", [command, *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            {"report": report, "review": review}[command].main()
        said = capsys.readouterr()
        assert stopped.value.code == code, said
        return said.out + said.err

    before = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, before)


def test_report_and_review_of_a_run(
    tiny_settings: dict[str, Any], tmp_path: Path, call: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trained = train(BucConfig(**tiny_settings, output=tmp_path / "run", seed=1, workers=1), quiet=True)
    first = (trained / "report.html").read_bytes()
    details = read_details(trained / "report" / "details.npz")
    assert details is not None
    assert len(details.frame) == len(np.load(trained / "labels" / "round-003.npz")["labels"])
    assert (details.answer_mark >= 0).any()
    assert b"Ranked lists" in first
    assert b"Camera by camera" in first
    said = call("report", trained)
    assert (trained / "report.html").read_bytes() == first
    assert said.splitlines()[0].startswith(f"results: {trained / 'report.html'}")
    assert said.splitlines()[1].startswith("next: open ")
    (tmp_path / "my.toml").write_text("pictures = false\nmax-megabytes = 1\n")
    call("report", trained, "--config", tmp_path / "my.toml", "-o", tmp_path / "private.html")
    assert b"<img" not in (tmp_path / "private.html").read_bytes()
    shutil.copytree(trained, tmp_path / "copy")
    call("report", trained, tmp_path / "copy")
    assert "2 runs side by side" in (tmp_path / "comparison.html").read_text()

    said = call("review", trained, "-o", tmp_path / "review.html", "--pairs", "5", "--workers", "1")
    text = (tmp_path / "review.html").read_text()
    assert text.count("<article") == 5
    assert "results: " in said
    assert "--constraints" in said.splitlines()[-1]
    root = Path(json.loads((trained / "run.json").read_text())["data"]["root"])
    for part in text.split('data-line="')[1:]:
        a, b, rest = base64.b64decode(part.split('"')[0]).decode().split(",")
        assert (root / a).is_file()
        assert (root / b).is_file()
        assert rest == ""


@pytest.mark.parametrize(
    ("command", "arguments", "code", "words"),
    [
        ("report", [], 2, "name a folder that reid-train wrote"),
        ("report", ["nowhere"], 1, "nowhere: no such folder"),
        ("report", ["x", "--max-megabytes", "0"], 2, "max_megabytes=0.0: must be from 0.5"),
        ("report", ["x", "--config", "bad.toml"], 2, "unknown key 'picures': did you mean 'pictures'?"),
        ("review", [], 2, "name a run folder, or a file of features"),
        ("review", ["nowhere.npz", "--labels", "x.csv"], 1, "nowhere.npz: no such file"),
        ("review", ["x", "--pairs", "0"], 2, "pairs=0: must be at least 1"),
    ],
)
def test_refused(
    command: str, arguments: list[str], code: int, words: str, tmp_path: Path, call: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("picures = false\n")
    said = call(command, *arguments, code=code)
    assert words in " ".join(said.split())
    assert len(said.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.toml"]


@pytest.mark.parametrize("command", ["report", "review"])
def test_help_loads_no_torch(command: str) -> None:
    program = (
        f"import sys; sys.argv = ['x', '--help']; import reid.cli.{command} as c\n"
        "try: c.main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "--max-megabytes" in done.stdout
