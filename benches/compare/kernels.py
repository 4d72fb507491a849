"""Our kernels beside the usual ones: time and peak memory on the same features, as a Markdown table.

Run from anywhere, in an environment with reid-cluster (faiss-cpu is used where it is installed)::

    python benches/compare/kernels.py                                     # Market-1501's size: 12,936 x 2,048
    python benches/compare/kernels.py --only knn,bottom_up --threads 1
    python benches/compare/kernels.py --rows 32621 --peer-rows 12936 --record benches/record/kernels.md

The rows of the table are the `case_*.py` beside this file, each says what its two sides do.

Every run is a process of its own, ours and the peer's in turn, with the same number of threads. Reading the features is
not timed. The peak is that of the whole process: interpreter, libraries and features (the same for both) included. The
results are compared: "same" says whether they agree (neighbours and ranks up to ties at 1e-5, labels exactly); if not,
the exit status is 1. "floors" is our time in times of our bare product of the same rows (row "product"), the work that
a search without bounds cannot do without.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import case_bottom_up
import case_constrained
import case_hdc
import case_jaccard
import case_kmeans
import case_knn
import case_product
import case_ranking
import case_rerank
import numpy as np
from contest import EPS, K1, K2, Data, Kernel, Missing, make_features

CASES = [
    case_product,
    case_knn,
    case_jaccard,
    case_bottom_up,
    case_constrained,
    case_hdc,
    case_kmeans,
    case_ranking,
    case_rerank,
]
KERNELS: dict[str, Kernel] = {name: kernel for case in CASES for name, kernel in case.KERNELS.items()}


# --- processes ---


def prepare(folder: Path, rows: int, threads: int, dims: int, with_graph: bool) -> None:
    """Write the inputs of one size into `folder`."""
    features, ids = make_features(rows, dims)
    np.save(folder / f"features-{rows}.npy", features)
    np.save(folder / f"ids-{rows}.npy", ids)
    if with_graph:
        from reid_cluster import jaccard_graph

        graph = jaccard_graph(features, K1, K2, max_distance=EPS, n_jobs=threads)
        np.savez(folder / f"graph-{rows}.npz", indptr=graph.indptr, indices=graph.indices, data=graph.data)


def contest(folder: Path, rows: int, threads: int, kernel: str, side: str) -> None:
    """Run one contestant once; its result goes into `folder`, its figures to the standard output."""
    contestant = KERNELS[kernel].ours if side == "ours" else KERNELS[kernel].peer
    try:
        run = contestant(Data(folder, rows, threads))
    except Missing as missing:
        print(json.dumps({"missing": str(missing)}))
        return
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    np.savez(folder / f"{kernel}-{side}.npz", allow_pickle=False, **result)
    print(json.dumps({"seconds": seconds, "peak": peak}))


def child(what: str, folder: Path, rows: int, threads: int, *arguments: object) -> dict[str, Any]:
    """`prepare` or `contest` in a process of its own; the figures that it prints."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, __file__, "child", *map(str, (what, folder, rows, threads, *arguments))]
    done = subprocess.run(command, env={**os.environ, **limits}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}, its message is above")
    return dict(json.loads(done.stdout)) if done.stdout else {}


def measure(folder: Path, kernel: str, rows: int, sides: list[str], args: argparse.Namespace) -> list[str]:
    """One row of the table."""
    seen: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for repeat in range(args.repeats):
        for side in sides if repeat % 2 == 0 else sides[::-1]:
            print(f"{kernel}, {rows} rows, {side}, run {repeat + 1} of {args.repeats}", file=sys.stderr)
            seen[side].append(child("contest", folder, rows, args.threads, kernel, side))

    def median(side: str, key: str) -> float:
        return statistics.median(run[key] for run in seen[side])

    row = [kernel, f"{rows:,} x {args.dims:,}", f"{median('ours', 'seconds'):.3g}"]
    ours_peak = f"{median('ours', 'peak'):,.0f}"
    if "peer" not in sides:
        return [*row, "not run", "", ours_peak, "", ""]
    if "missing" in seen["peer"][0]:
        return [*row, seen["peer"][0]["missing"], "", ours_peak, "", ""]
    ratio = statistics.median(
        peer["seconds"] / ours["seconds"] for ours, peer in zip(seen["ours"], seen["peer"], strict=True)
    )
    with np.load(folder / f"{kernel}-ours.npz") as ours, np.load(folder / f"{kernel}-peer.npz") as peer:
        same = KERNELS[kernel].compare(dict(ours), dict(peer))
    return [*row, f"{median('peer', 'seconds'):.3g}", f"{ratio:.3g}", ours_peak, f"{median('peer', 'peak'):,.0f}", same]


def limit(kernel: Kernel, args: argparse.Namespace) -> int:
    """Most rows at which the peer runs."""
    most = args.rows
    if kernel.dense:
        most = min(most, args.peer_rows)
    return most if kernel.peer_rows is None else min(most, kernel.peer_rows)


def table(args: argparse.Namespace) -> list[list[str]]:
    """All rows: at sizes that a peer cannot hold, ours alone beside the pair at the peer's size."""
    contests = [(name, size) for name in args.only for size in sorted({limit(KERNELS[name], args), args.rows})]
    rows = []
    with tempfile.TemporaryDirectory(prefix="compare-") as folder_name:
        folder = Path(folder_name)
        for size in sorted({size for _, size in contests}):
            graph = any(KERNELS[name].graph for name, other in contests if other == size)
            child("prepare", folder, size, args.threads, args.dims, "graph" if graph else "-")
        for name, size in contests:
            sides = ["ours", "peer"] if size == limit(KERNELS[name], args) else ["ours"]
            rows.append(measure(folder, name, size, sides, args))
    floors = {row[1]: float(row[2]) for row in rows if row[0] == "product"}
    return [[*row[:3], f"{float(row[2]) / floors[row[1]]:.2f}" if row[1] in floors else "", *row[3:]] for row in rows]


def markdown(rows: list[list[str]]) -> str:
    """The table in Markdown."""
    head = ["kernel", "size", "ours s", "floors", "peer s", "ratio peer/ours", "ours peak MB", "peer peak MB", "same"]
    lines = [head, ["---", "---", *["---:"] * 6, "---"], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def record(rows: list[list[str]], args: argparse.Namespace) -> str:
    """The table with what it was made on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    versions = [f"Python {platform.python_version()}"]
    for package in ("reid-cluster", "numpy", "scipy", "scikit-learn", "faiss-cpu"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    options = f"--rows {args.rows} --dims {args.dims} --peer-rows {args.peer_rows} --repeats {args.repeats}"
    command = f"python benches/compare/kernels.py {options} --threads {args.threads} --only {','.join(args.only)}"
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    about = f"{today}, {cpu}, {args.threads} thread(s). {', '.join(versions)}."
    return f"# Kernels beside their peers\n\n{about}\n\n```bash\n{command}\n```\n\n{markdown(rows)}"


def kernels(text: str) -> list[str]:
    """Names of kernels, separated by commas."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in KERNELS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(KERNELS)}")
    return names


def count(low: int) -> Callable[[str], int]:
    """A whole number of at least `low`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {low}")
        return int(text)

    return number


def main() -> int:
    """Measure, print the table, and record it if asked to."""
    if sys.argv[1:2] == ["child"]:
        what, folder, size, threads, *rest = sys.argv[2:]
        if what == "prepare":
            prepare(Path(folder), int(size), int(threads), dims=int(rest[0]), with_graph=rest[1] == "graph")
        else:
            contest(Path(folder), int(size), int(threads), *rest)
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    about = "\n".join(case.__doc__ or "" for case in CASES)
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"rows:\n{about}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=count(100), default=12_936, help="features, at least 100 (default %(default)s)")
    parser.add_argument("--dims", type=count(1), default=2048, help="columns of the features (default %(default)s)")
    beyond = "most rows for peers that hold N x N values; beyond, ours runs alone at --rows (default %(default)s)"
    parser.add_argument("--peer-rows", type=count(100), default=12_936, help=beyond)
    names = f"of {','.join(KERNELS)} (default all)"
    parser.add_argument("--only", type=kernels, default=list(KERNELS), metavar="NAMES", help=names)
    parser.add_argument("--repeats", type=count(1), default=3, help="runs of each; medians count (default %(default)s)")
    parser.add_argument("--threads", type=count(1), default=cores, help="threads on both sides (default %(default)s)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE.md", help="also write the table there, with date, processor and versions"
    )
    args = parser.parse_args()
    rows = table(args)
    print(markdown(rows), end="")
    if args.record is not None:
        args.record.parent.mkdir(parents=True, exist_ok=True)
        args.record.write_text(record(rows, args), encoding="utf-8")
    return int(any(row[-1].startswith("no") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
