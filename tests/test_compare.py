"""The comparison of our kernels with their peers runs, and both find the same."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benches" / "compare" / "kernels.py"

pytestmark = pytest.mark.slow


def rows(*options: str) -> list[dict[str, str]]:
    """The table that the script prints."""
    command = [sys.executable, str(SCRIPT), "--dims", "32", "--repeats", "1", "--threads", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_every_kernel_beside_its_peer(tmp_path: Path) -> None:
    found = rows("--rows", "300", "--record", str(tmp_path / "record" / "kernels.md"))
    kernels = [
        "product", "knn", "jaccard", "dbscan", "bottom_up", "constrained_dbscan", "hdc", "kmeans", "ranking", "rerank",
    ]  # fmt: skip
    assert [row["kernel"] for row in found] == kernels
    for row in found:
        assert float(row["ours s"]) > 0
        assert float(row["ours peak MB"].replace(",", "")) > 1
        if row["kernel"] == "knn" and find_spec("faiss") is None:
            assert row["peer s"] == "faiss-cpu not installed"
            continue
        assert float(row["ratio peer/ours"]) > 0
        assert float(row["peer peak MB"].replace(",", "")) > 1
        assert row["same"] == ("-" if row["kernel"] == "product" else "yes")
        assert float(row["floors"]) > 0
    text = (tmp_path / "record" / "kernels.md").read_text(encoding="utf-8")
    assert "--rows 300 --dims 32" in text
    assert text.count("300 x 32") == len(kernels)


def test_beyond_the_peers_rows_ours_runs_alone() -> None:
    small, large = rows("--rows", "300", "--peer-rows", "200", "--only", "bottom_up")
    assert (small["size"], small["same"]) == ("200 x 32", "yes")
    assert (large["size"], large["peer s"]) == ("300 x 32", "not run")
