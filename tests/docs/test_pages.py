"""The Python blocks of each page in `docs/` are one program, and it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fenced import blocks

import reid_cluster

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    kinds = {kind for kind, _ in blocks(page)}
    assert kinds <= {"python", "math", "text"}, f"blocks of other kinds are not run: {kinds}"
    program = "\n".join(text for kind, text in blocks(page) if kind == "python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_every_kernel_has_its_section() -> None:
    text = (DOCS / "kernels.md").read_text(encoding="utf-8")
    for name in reid_cluster.__all__:
        kernel = getattr(reid_cluster, name)
        if callable(kernel) and not isinstance(kernel, type):
            assert f"\n## {name}\n" in text
            assert f"reid_cluster.{name}(" in text
