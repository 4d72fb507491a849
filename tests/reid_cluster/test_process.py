"""How a kernel call behaves in its process: lock, signals, forks, imports, progress."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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


def test_ctrl_c_stops_a_long_search() -> None:
    code = """
import numpy as np, sys
from reid_cluster import knn
x = np.zeros((60_000, 1024), np.float32)
told = []
def progress(done, total, stage):
    if stage == "knn" and done and not told:
        told.append(1); print("running", flush=True)
try:
    knn(x, 30, progress=progress)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "running\n"
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n"
            # Alone it takes 0.1 s; the search would run on for minutes.
            assert time.monotonic() - sent < 10
        finally:
            process.kill()


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
