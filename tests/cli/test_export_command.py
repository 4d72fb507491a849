"""``reid-export``: exit codes and messages."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reid.cli.export", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_export_from_the_command_line(tmp_path: Path, random_run: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for file in random_run.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    done = _run("run", "--no-onnx", cwd=tmp_path)
    assert done.returncode == 1  # no metrics.jsonl: nothing is known of the network
    assert "metrics.jsonl" in done.stderr
    assert not (run / "export").exists()
    (run / "metrics.jsonl").write_text('{"round": 0}\n')
    done = _run("run", "--no-onnx", "--output", "given", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2] == "results: given  (model.safetensors, README.md)"
    assert "Not measured" in (tmp_path / "given" / "README.md").read_text()


def test_a_missing_package_is_said_first(tmp_path: Path, random_run: Path) -> None:
    if importlib.util.find_spec("onnxruntime") is not None:
        pytest.skip("onnxruntime is installed")
    done = _run(random_run, "-o", "given", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install 'reid-cluster[onnx]'" in done.stderr
    assert "--no-onnx" in done.stderr
    assert not list(tmp_path.iterdir())


def test_usage(tmp_path: Path) -> None:
    assert _run(cwd=tmp_path).returncode == 2
    assert _run("run", "--model", "best", cwd=tmp_path).returncode == 2
    done = _run("nowhere", "--no-onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert "holds no run" in done.stderr


def test_help_does_not_load_torch(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['reid-export', '--help']\nfrom reid.cli.export import main\n"
    code += "try:\n    main()\nfinally:\n    sys.stderr.write(str('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == "False"
    assert "--no-onnx" in done.stdout
