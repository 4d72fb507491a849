"""Two runs never write into one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reid.training.run_folder import RunFolder


def test_second_run_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", resume=False)
    with pytest.raises(ValueError, match=f"in use by process {os.getpid()}"):
        RunFolder(tmp_path / "run", resume=False)
    first.close()
    RunFolder(tmp_path / "run", resume=False).close()


def test_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from reid.training.run_folder import RunFolder
held = RunFolder(Path({str(tmp_path / "run")!r}), resume=False)
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    RunFolder(tmp_path / "run", resume=False).close()
