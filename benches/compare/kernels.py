"""Our kernels beside the usual ones: time and peak memory on the same features, as a Markdown table.

Run from anywhere, in an environment with reid-cluster (faiss-cpu is used where it is installed)::

    python benches/compare/kernels.py                                     # Market-1501's size: 12,936 x 2,048
    python benches/compare/kernels.py --only knn,bottom_up --threads 1
    python benches/compare/kernels.py --rows 32621 --peer-rows 12936 --record benches/record/kernels.md

Rows of the table:

knn         30 nearest rows; peer: faiss IndexFlatL2
jaccard     features to labels: k-reciprocal Jaccard distance (k1=30, k2=6) and DBSCAN (eps=0.6, min_samples=4);
            peer: the dense way of the published code, N x N weights and distances (neighbours from faiss, else
            numpy), then scikit-learn's DBSCAN
dbscan      DBSCAN alone on the sparse graph that our jaccard_graph made; peer: scikit-learn on the same CSR matrix
bottom_up   one merge of 5 % of the rows; peer: the dense way of the published code, all N x N distances sorted
ranking     mAP and CMC by the Market-1501 rule, the first picture of an identity in each camera as query; peer: numpy
            distance matrix and argsort

Every run is a process of its own, ours and the peer's in turn, with the same number of threads. Reading the features is
not timed. The peak is that of the whole process: interpreter, libraries and features (the same for both) included. The
results are compared: "same" says whether they agree (neighbours and ranks up to ties at 1e-5, labels exactly); if not,
the exit status is 1.
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
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peers
from peers import Floats, Ints, Missing, Result

K, K1, K2, EPS, MIN_SAMPLES = 30, 30, 6, 0.6, 4
MERGE_PERCENT, SIZE_PENALTY, MAX_RANK = 0.05, 0.003, 10
CAMERAS = 6


class Data:
    """What a contestant gets: the features of one size, and who is who."""

    def __init__(self, folder: Path, rows: int, threads: int) -> None:
        self.features: Floats = np.load(folder / f"features-{rows}.npy")
        self.pids, self.camids = np.load(folder / f"ids-{rows}.npy")
        self.threads = threads
        self.graph = folder / f"graph-{rows}.npz"

    def csr(self) -> Any:
        """Our Jaccard graph as scipy's CSR."""
        from scipy.sparse import csr_array

        with np.load(self.graph) as parts:
            return csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=(len(self.pids),) * 2)

    def split(self) -> tuple[Floats, Floats, Ints, Ints]:
        """Query features, gallery features, and their row numbers."""
        _, first = np.unique(self.pids * CAMERAS + self.camids, return_index=True)
        gallery = np.setdiff1d(np.arange(len(self.pids)), first)
        return self.features[first], self.features[gallery], first, gallery


def make_features(rows: int, dims: int, seed: int = 1) -> tuple[Floats, Ints]:
    """Unit rows (N, D), 10 to 20 an identity, a shift per camera, spectrum falling like j^-1.25; and (pids, camids)."""
    random = np.random.default_rng(seed)
    scale = np.arange(1, dims + 1, dtype=np.float32) ** np.float32(-0.625)
    counts = random.integers(10, 21, size=rows // 10 + 1)
    pids = np.repeat(np.arange(len(counts)), counts)[:rows]
    camids = random.integers(CAMERAS, size=rows)
    identities = random.standard_normal((len(counts), dims), dtype=np.float32)
    cameras = random.standard_normal((CAMERAS, dims), dtype=np.float32)
    features = random.standard_normal((rows, dims), dtype=np.float32)
    features *= np.float32(0.9)
    features += identities[pids]
    features += np.float32(0.4) * cameras[camids]
    features *= scale
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, np.stack([pids, camids])


# --- contestants: everything in `run` is timed ---


def knn_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import knn

    return lambda: knn(data.features, K, n_jobs=data.threads)._asdict()


def knn_peer(data: Data) -> Callable[[], Result]:
    faiss = peers.load_faiss()

    def run() -> Result:
        index = faiss.IndexFlatL2(data.features.shape[1])
        index.add(data.features)
        distances, indices = index.search(data.features, K)
        return {"indices": indices, "distances": distances}

    return run


def jaccard_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import dbscan, jaccard_graph

    import_module("scipy.sparse")  # of which the graph is; loading it is not timed

    def run() -> Result:
        graph = jaccard_graph(data.features, K1, K2, max_distance=EPS, n_jobs=data.threads)
        return {"labels": dbscan(graph, EPS, MIN_SAMPLES, n_jobs=data.threads)}

    return run


def jaccard_peer(data: Data) -> Callable[[], Result]:
    from sklearn.cluster import DBSCAN

    try:
        faiss = peers.load_faiss()
    except Missing:
        faiss = None

    def run() -> Result:
        ranks = peers.nearest(data.features, K1, faiss)
        distances = peers.dense_jaccard(data.features, ranks, K2)
        clusters = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="precomputed", n_jobs=data.threads)
        return {"labels": clusters.fit_predict(distances)}

    return run


def dbscan_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import dbscan

    graph = data.csr()
    return lambda: {"labels": dbscan(graph, EPS, MIN_SAMPLES, n_jobs=data.threads)}


def dbscan_peer(data: Data) -> Callable[[], Result]:
    from sklearn.cluster import DBSCAN

    graph = data.csr()
    clusters = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="precomputed", n_jobs=data.threads)
    return lambda: {"labels": clusters.fit_predict(graph)}


def bottom_up_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import bottom_up

    merges = int(MERGE_PERCENT * len(data.features))
    options: dict[str, Any] = {"n_merges": merges, "size_penalty": SIZE_PENALTY, "n_jobs": data.threads}
    return lambda: {"labels": bottom_up(data.features, **options).labels}


def bottom_up_peer(data: Data) -> Callable[[], Result]:
    merges, labels = int(MERGE_PERCENT * len(data.features)), np.arange(len(data.features))
    return lambda: {"labels": peers.dense_bottom_up(data.features, labels, merges, SIZE_PENALTY)}


def ranking_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import evaluate_features

    query, gallery, q, g = data.split()
    ids = (data.pids[q], data.pids[g], data.camids[q], data.camids[g])

    def run() -> Result:
        found = evaluate_features(query, gallery, *ids, max_rank=MAX_RANK, n_jobs=data.threads)
        return {"cmc": found.cmc, "ap": found.ap}

    return run


def ranking_peer(data: Data) -> Callable[[], Result]:
    query, gallery, q, g = data.split()
    ids = (data.pids[q], data.pids[g], data.camids[q], data.camids[g])
    return lambda: peers.sorted_ranking(query, gallery, *ids, max_rank=MAX_RANK)


# --- do both find the same? ---


def compare_neighbors(ours: Result, peer: Result) -> str:
    """Whether each row has the same neighbours, but for those as far as the last one."""
    wrong = 0
    for a, b, d, e in zip(ours["indices"], peer["indices"], ours["distances"], peer["distances"], strict=True):
        last = min(d[-1], e[-1]) - 1e-5
        wrong += bool((d[~np.isin(a, b)] < last).any() or (e[~np.isin(b, a)] < last).any())
    return f"no: {wrong} rows" if wrong else "yes"


def compare_labels(ours: Result, peer: Result) -> str:
    """Whether all labels are equal."""
    wrong = int((ours["labels"] != peer["labels"]).sum())
    return f"no: {wrong} labels" if wrong else "yes"


def compare_ranking(ours: Result, peer: Result) -> str:
    """Whether CMC and mAP agree: rounding may swap two items of one query in ten thousand comparisons."""
    valid = np.isfinite(ours["ap"])
    gap = abs(np.nanmean(ours["ap"]) - np.nanmean(peer["ap"]))
    first = np.abs(ours["cmc"] - peer["cmc"]).max() * valid.sum()
    agree = (valid == np.isfinite(peer["ap"])).all() and gap < 1e-5 and first < 1.5
    return "yes" if agree else f"no: mAP {gap:.1e} apart, CMC {first:.0f} queries"


class Kernel(NamedTuple):
    """One row of the table; a contestant gets ready and returns what is timed."""

    ours: Callable[[Data], Callable[[], Result]]
    peer: Callable[[Data], Callable[[], Result]]
    compare: Callable[[Result, Result], str]
    dense: bool  # the peer holds N x N values


KERNELS = {
    "knn": Kernel(knn_ours, knn_peer, compare_neighbors, False),
    "jaccard": Kernel(jaccard_ours, jaccard_peer, compare_labels, True),
    "dbscan": Kernel(dbscan_ours, dbscan_peer, compare_labels, False),
    "bottom_up": Kernel(bottom_up_ours, bottom_up_peer, compare_labels, True),
    "ranking": Kernel(ranking_ours, ranking_peer, compare_ranking, True),
}


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


def table(args: argparse.Namespace) -> list[list[str]]:
    """All rows: at sizes that the dense peers cannot hold, ours alone beside the pair at the peer's size."""
    limit = min(args.rows, args.peer_rows)
    rows = []
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        for size in sorted({args.rows, limit}):
            graph = "graph" if "dbscan" in args.only and size == args.rows else "-"
            child("prepare", folder, size, args.threads, args.dims, graph)
        for kernel in args.only:
            if KERNELS[kernel].dense and limit < args.rows:
                rows.append(measure(folder, kernel, limit, ["ours", "peer"], args))
                rows.append(measure(folder, kernel, args.rows, ["ours"], args))
            else:
                rows.append(measure(folder, kernel, args.rows, ["ours", "peer"], args))
    return rows


def markdown(rows: list[list[str]]) -> str:
    """The table in Markdown."""
    head = ["kernel", "size", "ours s", "peer s", "ratio peer/ours", "ours peak MB", "peer peak MB", "same"]
    lines = [head, ["---", "---", *["---:"] * 5, "---"], *rows]
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
