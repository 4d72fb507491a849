"""The Rust crate's own tests, so that one command tests everything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed: the crate's own tests need it"),
]


@pytest.mark.parametrize("kind", ["--tests", "--doc"])
def test_cargo_test(kind: str) -> None:
    done = subprocess.run(["cargo", "test", "--locked", "--quiet", kind], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    passed = [line for line in done.stdout.splitlines() if line.startswith("test result: ok.")]
    assert sum(int(line.split()[3]) for line in passed) > 0


def test_cargo_doc() -> None:
    done = subprocess.run(
        ["cargo", "doc", "--locked", "--quiet", "--no-deps", "--package", "reid_cluster"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "RUSTDOCFLAGS": "-D warnings"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
