"""Every block of the README is run: shell and Python blocks in order, in one folder, with pictures in it.

Lines that install are run by `.ci/run` itself; here they are compared with it. The walkers stand for the reader's own
pictures: `crops/` is a folder of them, `market/` a set in Market-1501 layout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fenced import blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"

pytestmark = pytest.mark.slow


def test_install_lines_are_those_of_ci() -> None:
    lines = [
        line for kind, text in blocks(README) if kind == "bash" for line in text.splitlines() if "pip install" in line
    ]
    script = (ROOT / ".ci" / "run").read_text()
    assert lines
    for line in lines:
        wanted = line.split("#")[0].split("&&")[0].strip().removeprefix("pip install ")
        assert wanted.strip("'.[]") == "" or all(w in script for w in re.findall(r"[a-z]+", wanted)), line


@pytest.mark.timeout(1200)
def test_blocks_run(tmp_path: Path, walkers: Path) -> None:
    shutil.copytree(walkers / "bounding_box_train", tmp_path / "crops")
    shutil.copytree(walkers, tmp_path / "market")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ran = 0
    for kind, text in blocks(README):
        if kind == "bash":
            lines = [line for line in text.splitlines() if "pip install" not in line and "pytest" not in line]
            command = ["bash", "-euo", "pipefail", "-c", "\n".join(lines)]
        elif kind == "python":
            command = [sys.executable, "-W", "error", "-c", text]
        else:
            assert kind in ("text", "console"), f"a block of kind {kind} is not run"
            continue
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        ran += 1
    assert ran >= 5
    _first_run_learns(tmp_path / "runs" / "buc-synthetic")


def _first_run_learns(run: Path) -> None:
    """What the README says of the first run, with room for another machine's rounding."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["mAP"] < 0.50
    assert rows[-1]["mAP"] - rows[0]["mAP"] >= 0.15
    assert (run / "report.html").stat().st_size > 10_000
