"""How a kernel call behaves in its process: lock, signals, forks, imports, progress."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid_cluster
from reid_cluster import bottom_up, knn


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4000, 512)).astype(np.float32)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_other_threads_run_meanwhile(x: np.ndarray) -> None:
    ticks: list[float] = []
    over = threading.Event()

    def tick() -> None:
        while not over.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.monotonic()
    knn(x, 30, n_jobs=1)
    end = time.monotonic()
    over.set()
    thread.join()
    # With the lock held there would be none between the first and the last moment of the call.
    margin = 0.2 * (end - start)
    assert sum(start + margin < t < end - margin for t in ticks) >= 3


#: What runs for seconds on any machine, and the stage in which Ctrl-C comes. Equal rows have neighbours by index, so
#: that a few rows are in every neighbourhood: the Jaccard sums are long, and no pair is close enough to be kept.
LONG = {
    "knn": ("knn(x, 30, n_jobs=1, progress=progress)", "knn"),
    "jaccard_graph, neighbours": ("jaccard_graph(x, 30, 6, n_jobs=1, progress=progress)", "knn"),
    "jaccard_graph, sums": (
        "jaccard_graph(x[:, :4], 30, 6, max_distance=0.1, neighbors=near, n_jobs=1, progress=progress)",
        "jaccard",
    ),
    "bottom_up": ("bottom_up(x, n_merges=2000, n_jobs=1, progress=progress)", "merge"),
    "time_overlap": ('time_overlap(g, g, camera=g, scope="cross", n_jobs=1, progress=progress)', "count overlaps"),
    "kmeans, seeds": ("kmeans(noise, 2000, n_jobs=1, progress=progress)", "seeds"),
    "kmeans, rounds": ('kmeans(noise, 2000, init="random", n_jobs=1, progress=progress)', "kmeans"),
    "rerank": ("rerank(x[:1000], x, n_jobs=1, progress=progress)", "search"),
    "rerank_distances": (
        "d = square(36_000); rerank_distances(d[:2000], d[:2000, :2000], d, n_jobs=1, progress=progress)",
        "search",
    ),
    "evaluate_features": ("evaluate_features(x[:9000], x, q, g, q, g + 1, n_jobs=1, progress=progress)", "rank"),
    "evaluate_rank": ("evaluate_rank(square(40_000), g, g, g, g + 1, n_jobs=1, progress=progress)", "check"),
    "jaccard": ("jaccard(x[:20_000, :4], 30, 6, neighbors=near[:20_000], n_jobs=1, progress=progress)", "jaccard"),
    "bottom_up, live": (
        'bottom_up(noise, n_merges=19_000, sizes="live", linkage="average", n_jobs=1, progress=progress)',
        "distances",
    ),
    "hdc, start": ("hdc(noise, None, 500, n_jobs=1, progress=progress)", "k-means++"),
    "hdc, rounds": (
        'hdc(noise, None, 500, similarity="cosine", init="random", n_jobs=1, progress=progress)',
        "assignment",
    ),
    "kmeans_plusplus": ("kmeans_plusplus(square(20_000), 20_000, n_jobs=1, progress=progress)", "k-means++"),
    "dbscan": ("dbscan(square(40_000), 0.5, n_jobs=1, progress=progress)", "core points"),
    "constrained_dbscan": (
        "constrained_dbscan(square(40_000), 0.5, [(0, 1)], n_jobs=1, progress=progress)",
        "core points",
    ),
}


def test_ctrl_c_is_tried_in_every_function() -> None:
    functions = {name for name in reid_cluster.__all__ if inspect.isfunction(getattr(reid_cluster, name))}
    assert {name.split(",")[0] for name in LONG} == functions


@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_stops(name: str) -> None:
    call, stage = LONG[name]
    code = f"""
import signal
import numpy as np
from reid_cluster import *
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell inherit deafness
x = np.zeros((40_000, 2048), np.float32)
noise = np.random.default_rng(0).standard_normal((20_000, 512), np.float32)
q, g = np.zeros(9_000, int), np.zeros(40_000, int)
near = np.column_stack([np.arange(40_000), np.tile(np.arange(30), (40_000, 1))])
told = []
def square(n):
    return np.zeros((n, n), np.float32)  # address space only, read as zeros
def progress(done, total, stage):
    if stage == "{stage}" and done and not told:
        told.append(1); print("running", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "running\n"
            time.sleep(0.3)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            assert time.monotonic() - sent < 1  # alone it takes 0.1 s
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="the system does not tell a process its limits")
@pytest.mark.parametrize("rows", [17_000, 21_500, 23_000, 60_000])
def test_too_large_is_an_error_and_no_abort(rows: int) -> None:
    # 2 GiB of address space: the first matrix (1.2 GB) fits, the second only just, so that it must be refused as well.
    code = f"""
import numpy as np, resource
from reid_cluster import jaccard
x = np.zeros(({rows}, 1), np.float32)
near = np.arange({rows}).reshape(-1, 1)
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
try:
    jaccard(x, 1, 1, neighbors=near, n_jobs=4)
except MemoryError as error:
    print(error)
else:
    print("fits")
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # its threads take address space
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    wanted = "fits" if rows == 17_000 else rf"{4 * rows**2 / 1e9:.1f} GB: .* GB are free .* jaccard_graph"
    assert re.search(wanted, result.stdout), result.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_can_call_again() -> None:
    code = """
import os, numpy as np
from reid_cluster import bottom_up, knn
x = np.random.default_rng(0).standard_normal((700, 16))
want = knn(x, 5).indices
for _ in range(3):
    child = os.fork()
    if child == 0:
        same = (knn(x, 5).indices == want).all() and bottom_up(x, n_merges=3).n_clusters == 697
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""
    result = run(code)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr


def test_import_is_light() -> None:
    code = """
import sys, reid_cluster
heavy = [m for m in ("torch", "sklearn", "scipy.sparse", "pandas", "reid") if m in sys.modules]
assert not heavy, heavy
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("kernel", "options"), [(knn, {"k": 9}), (bottom_up, {"n_merges": 9})])
def test_progress_comes_in_order_from_the_calling_thread(
    x: np.ndarray, kernel: Callable[..., Any], options: dict[str, int]
) -> None:
    seen: list[tuple[str, int, int, int]] = []

    def progress(done: int, total: int, stage: str) -> None:
        seen.append((stage, done, total, threading.get_ident()))

    kernel(x, progress=progress, **options)
    assert {ident for *_, ident in seen} == {threading.get_ident()}
    stages = list(dict.fromkeys(stage for stage, *_ in seen))
    assert len(stages) >= 2
    assert [s for s, *_ in seen] == sorted((s for s, *_ in seen), key=stages.index)
    for stage in stages:
        steps = [(done, total) for s, done, total, _ in seen if s == stage]
        assert steps == sorted(steps)
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]


def test_an_exception_in_progress_is_raised(x: np.ndarray) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, stage: str) -> None:
        if stage == "knn":
            raise Stop(stage)

    with pytest.raises(Stop, match="knn"):
        knn(x, 9, progress=stop)


def test_calls_from_several_threads_agree(x: np.ndarray) -> None:
    rows = x[:900]
    want = knn(rows, 7).indices
    found: list[np.ndarray] = []

    def search() -> None:
        found.append(knn(rows, 7, n_jobs=2).indices)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for indices in found:
        np.testing.assert_array_equal(indices, want)
