"""The Rust crate's own tests, so that one command tests everything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_cargo_test() -> None:
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed: the crate's own tests need it")
    done = subprocess.run(["cargo", "test", "--locked", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    passed = [line for line in done.stdout.splitlines() if line.startswith("test result: ok.")]
    assert sum(int(line.split()[3]) for line in passed) > 0
