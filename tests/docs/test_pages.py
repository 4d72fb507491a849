"""The blocks of each page in `docs/` run in order, in one folder; Python blocks behind each other are one program."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from fenced import blocks

import reid_cluster

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = {
    "python": [sys.executable, "-W", "error", "-c"],
    "bash": ["bash", "-euo", "pipefail", "-c"],
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    found = blocks(page)
    kinds = {kind for kind, _ in found}
    assert kinds <= {*COMMANDS, "math", "text"}, f"blocks of other kinds are not run: {kinds}"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for kind, parts in groupby((block for block in found if block[0] in COMMANDS), key=lambda block: block[0]):
        program = "\n".join(text for _, text in parts)
        done = subprocess.run(
            [*COMMANDS[kind], program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=800
        )
        assert done.returncode == 0, f"{program}\n{done.stdout}\n{done.stderr}"


def test_every_kernel_has_its_section() -> None:
    text = (DOCS / "kernels.md").read_text(encoding="utf-8")
    for name in reid_cluster.__all__:
        kernel = getattr(reid_cluster, name)
        if callable(kernel) and not isinstance(kernel, type):
            assert f"\n## {name}\n" in text
            assert f"reid_cluster.{name}(" in text
