"""Wrong input: one line on stderr that names it and the remedy, exit code 1 or 2, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reid.training.run_folder import RunFolder


def _run(*arguments: str, cwd: Path, module: str = "reid.cli.train") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.returncode, done.stderr


def _expect(code: int, words: list[str], *arguments: str, cwd: Path) -> None:
    got, stderr = _run(*arguments, cwd=cwd)
    lines = [line for line in stderr.splitlines() if not line.startswith("warning")]
    assert got == code, stderr
    assert len(lines) == 1, stderr
    assert lines[0].startswith("reid-train: error: ")
    for word in words:
        assert word in lines[0], stderr
    assert not (cwd / "runs").exists() or not any((cwd / "runs").iterdir())


def test_missing_folder(tmp_path: Path) -> None:
    _expect(1, ["nowhere"], "--data", "nowhere", cwd=tmp_path)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _expect(1, ["empty", "jpg"], "--data", "empty", cwd=tmp_path)


def test_text_named_jpg(tmp_path: Path, walkers: Path) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    for picture in sorted((walkers / "bounding_box_train").iterdir())[:30]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    (folder / "notes.jpg").write_text("this is no picture")
    _expect(1, ["notes.jpg", "1 of 31"], "--data", "crops", cwd=tmp_path)


def test_unknown_method(tmp_path: Path) -> None:
    _expect(2, ["'bcu'", "did you mean 'buc'"], "--method", "bcu", cwd=tmp_path)


def test_height_zero(tmp_path: Path) -> None:
    _expect(2, ["height=0", "at least 1"], "--height", "0", "--width", "32", cwd=tmp_path)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut"])
def test_unreadable_weights(tmp_path: Path, walkers: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    _expect(1, ["w.pth"], "--weights", "w.pth", "--data", str(walkers), cwd=tmp_path)


def test_weights_of_another_network(tmp_path: Path, walkers: Path) -> None:
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "w.pth")
    _expect(1, ["w.pth"], "--weights", "w.pth", "--data", str(walkers), cwd=tmp_path)


def test_missing_weights(tmp_path: Path, walkers: Path) -> None:
    _expect(1, ["gone.pth"], "--weights", "gone.pth", "--data", str(walkers), cwd=tmp_path)


def test_misspelt_flag_gets_a_suggestion(tmp_path: Path) -> None:
    code, stderr = _run("--sed", "1", cwd=tmp_path)
    assert code == 2
    assert "--seed" in stderr


def test_unknown_preset_and_config(tmp_path: Path) -> None:
    _expect(2, ["preset='buc-markt'", "buc-market"], "--preset", "buc-markt", cwd=tmp_path)
    (tmp_path / "c.toml").write_text("epoch = 3\n")
    _expect(2, ["c.toml", "'epoch'", "epochs"], "--config", "c.toml", cwd=tmp_path)


def test_merge_percent_that_merges_nothing(tmp_path: Path, walkers: Path) -> None:
    _expect(1, ["merge_percent=0.001"], "--merge-percent", "0.001", "--data", str(walkers), cwd=tmp_path)


def test_cameras_asked_for_but_unknown(tmp_path: Path, walkers: Path) -> None:
    folder = str(walkers / "query")
    _expect(1, ["same_camera", "camera id"], "--data", folder, "--same-camera", "forbid", "--merge-percent", "0.3",
            cwd=tmp_path)  # fmt: skip


def test_tracklets_asked_for_but_unknown(tmp_path: Path, walkers: Path) -> None:
    _expect(1, ["tracklet"], "--data", str(walkers / "query"), "--instances", "tracklet", cwd=tmp_path)


def test_no_cuda(tmp_path: Path, walkers: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is available")
    _expect(1, ["device='cuda'"], "--device", "cuda", "--data", str(walkers), cwd=tmp_path)


def test_output_that_holds_something(tmp_path: Path, walkers: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    _expect(1, ["mine", "not empty"], "--output", "mine", "--data", str(walkers), cwd=tmp_path)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_output_in_use(tmp_path: Path, walkers: Path) -> None:
    held = RunFolder(tmp_path / "mine", resume=False)
    try:
        _expect(
            1, ["mine", f"in use by process {os.getpid()}"], "--output", "mine", "--data", str(walkers), cwd=tmp_path
        )
    finally:
        held.close()


def test_resume_without_a_run(tmp_path: Path) -> None:
    _expect(1, ["resume"], "--resume", cwd=tmp_path)
    _expect(1, ["nowhere"], "--resume", "nowhere", cwd=tmp_path)


def test_help_does_not_load_torch(tmp_path: Path) -> None:
    code = """
import sys
from reid.cli.train import main
sys.argv = ["reid-train", "--help"]
try:
    main()
finally:
    sys.stderr.write(str("torch" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == "False"
    assert "--merge-percent" in done.stdout


def test_dry_run_leaves_nothing(tmp_path: Path, walkers: Path) -> None:
    code, stderr = _run("--dry-run", "--data", str(walkers), "--merge-percent", "0.2", cwd=tmp_path)
    assert code == 0, stderr
    assert not list(tmp_path.iterdir())
