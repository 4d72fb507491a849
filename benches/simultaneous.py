"""What cannot-links of time bring on real tracks: agreement with the identities, violations, time, wrong clocks.

Run from anywhere, in an environment with reid-cluster installed::

    python benches/simultaneous.py --animals DIR    # *_RGB.mat of Animal-ReIdentification-in-Video
    python benches/simultaneous.py --vehicles DIR   # MOT ground truth gt_cam1.txt .. of cameras with a common clock
    python benches/simultaneous.py --boxes 1000000  # `time_overlap` alone on drawn tracks

Boxes (animals) and tracks (vehicles) are clustered by DBSCAN on their Jaccard graph, without and with the links.
The animals' features are the 54 colour moments of the files, standardised. The vehicles' files hold no pictures: their
features are drawn, an identity's direction plus a camera's plus noise, so that only the times are real. ARI counts
outliers as clusters of one; violations are pairs of one cluster that were seen at the same time.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from sklearn.metrics import adjusted_rand_score

import reid_cluster

Pairs = NDArray[np.int32]


class Tracks(NamedTuple):
    """Tracks of several cameras on one clock."""

    pid: NDArray[np.int64]
    camid: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows at unit length."""
    return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def score(labels: NDArray[np.int64], pid: NDArray[np.int64], links: Pairs) -> str:
    """Clusters, share clustered, ARI and violations, as cells of a table."""
    alone = labels.copy()
    alone[labels < 0] = labels.max(initial=-1) + 1 + np.arange((labels < 0).sum())
    i, j = links.T
    wrong = int(((labels[i] == labels[j]) & (labels[i] >= 0)).sum())
    clusters = len(np.unique(labels[labels >= 0]))
    return f"{clusters} | {(labels >= 0).mean():.2f} | {adjusted_rand_score(pid, alone):.3f} | {wrong:,}"


def animals(folder: Path, eps: float, k1: int) -> None:
    """Boxes of one frame are different animals. Bottom-up merging is told how many animals there are."""
    columns = ["video", "boxes", "animals", "links", "clustering", "clusters", "clustered", "ARI", "violations", "ms"]
    print("\n| " + " | ".join(columns) + " |\n| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    results: dict[str, list[float]] = {}
    for path in sorted(folder.glob("*_RGB.mat")):
        file = loadmat(path)
        x, pid, frame = (np.asarray(file[name]) for name in ("DataRGB", "Labels", "Frames"))
        pid, frame = pid.ravel().astype(np.int64), frame.ravel().astype(np.int64)
        features = unit((x - x.mean(0)) / np.maximum(x.std(0), 1e-9))
        links = reid_cluster.time_overlap(frame, frame)
        graph = reid_cluster.jaccard_graph(features, k1, 6, max_distance=eps)
        n, k = len(pid), len(np.unique(pid))
        merge = partial(
            reid_cluster.bottom_up, features, n_merges=n - k, min_clusters=k, size_penalty=0.0, linkage="average",
            sizes="live",
        )  # fmt: skip
        ways: dict[str, Callable[[], NDArray[np.int64]]] = {
            "DBSCAN": lambda graph=graph: reid_cluster.dbscan(graph, eps, 4),
            "DBSCAN, linked": lambda graph=graph, links=links: reid_cluster.constrained_dbscan(graph, eps, links, 4),
            "bottom-up": lambda merge=merge: merge().labels,
            "bottom-up, linked": lambda merge=merge, links=links: merge(cannot_link=links).labels,
        }
        head = f"{path.stem.removesuffix('_RGB')} | {n:,} | {k} | {len(links):,}"
        for name, way in ways.items():
            began = time.perf_counter()
            labels = way()
            cells = score(labels, pid, links)
            print(f"| {head} | {name} | {cells} | {1000 * (time.perf_counter() - began):.0f} |", flush=True)
            results.setdefault(name, []).append(float(cells.split(" | ")[2]))
            head = " | | |"
    for name, values in results.items():
        print(f"{name}: mean ARI {np.mean(values):.3f} over {len(values)} videos")


def read_vehicles(folder: Path) -> Tracks:
    """One track for each camera and identity: first and last frame, boxes of an identity in one camera joined."""
    rows = []
    for camera, path in enumerate(sorted(folder.glob("gt_cam*.txt")), start=1):
        table = np.loadtxt(path, delimiter=",")
        for pid in np.unique(table[:, 1]):
            frames = table[table[:, 1] == pid, 0]
            rows.append((int(pid), camera, frames.min(), frames.max()))
    pid, camid, start, end = (np.array(column) for column in zip(*rows, strict=True))
    return Tracks(pid.astype(np.int64), camid.astype(np.int64), start, end)


def drawn_features(tracks: Tracks, noise: float, seed: int) -> NDArray[np.float32]:
    """An identity's direction, a camera's, and noise; look-alikes: identities come in threes that are close."""
    rng = np.random.default_rng(seed)
    size = 64
    _, who = np.unique(tracks.pid, return_inverse=True)
    models = rng.normal(size=(who.max() // 3 + 1, size))
    identity = models[rng.permutation(who.max() + 1) // 3] + 0.5 * rng.normal(size=(who.max() + 1, size))
    camera = 0.5 * rng.normal(size=(tracks.camid.max() + 1, size))
    return unit(identity[who] + camera[tracks.camid] + noise * rng.normal(size=(len(who), size)))


def vehicles(folder: Path, noise: float, eps: float) -> None:
    """A vehicle is in one place at a time; what is lost when links are wrong or a clock goes wrong."""
    tracks = read_vehicles(folder)
    overlap = reid_cluster.time_overlap(tracks.start, tracks.end)
    same = tracks.pid[:, None] == tracks.pid
    wrong = np.argwhere(np.triu(same, 1)).astype(np.int32)  # pairs that a false link would tear apart
    late = np.where(tracks.camid == 2, 100.0, 0.0)  # camera 2 shows 4 seconds (of 25 frames) too little
    drift = reid_cluster.time_overlap(tracks.start - late, tracks.end - late)
    drift_margin = reid_cluster.time_overlap(tracks.start - late, tracks.end - late, margin=-100)
    print(f"\n{len(same)} tracks, {len(np.unique(tracks.pid))} vehicles, {len(overlap):,} pairs at the same time\n")
    print("Five draws of the features each; means.\n")
    print("| links | number | of these false | relaxed | share clustered | ARI | simultaneous pairs in a cluster |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: |")
    cases: list[tuple[str, Pairs | None, float | None]] = [
        ("none", None, None), ("time overlap", overlap, None), ("5 % of them replaced by false ones", overlap, None),
        ("the same", overlap, 0.5), ("the same", overlap, 0.8), ("clock of camera 2 off by 4 s", drift, None),
        ("the same", drift, 0.5), ("the same, margin -4 s", drift_margin, None),
    ]  # fmt: skip
    false = False
    for name, links, relaxed in cases:
        false = name.startswith("5 %") or (false and name == "the same")
        results = []
        for seed in range(5):
            rng = np.random.default_rng(100 + seed)
            features = drawn_features(tracks, noise, seed)
            graph = reid_cluster.jaccard_graph(features, 10, 3, max_distance=eps)
            used = links
            if used is not None and false:
                n = len(used) // 20
                picked = rng.choice(len(wrong), min(n, len(wrong)), replace=False)
                used = np.concatenate([np.delete(used, rng.choice(len(used), n, replace=False), axis=0), wrong[picked]])
            if used is None:
                labels = reid_cluster.dbscan(graph, eps, 2)
            else:
                labels = reid_cluster.constrained_dbscan(graph, eps, used, 2, relaxed=relaxed)
            alone = labels.copy()
            alone[labels < 0] = labels.max(initial=-1) + 1 + np.arange((labels < 0).sum())
            i, j = overlap.T
            bad = 0 if used is None else int(same[tuple(used.T)].sum())
            results.append(
                (0 if used is None else len(used), bad, (labels >= 0).mean(), adjusted_rand_score(tracks.pid, alone),
                 ((labels[i] == labels[j]) & (labels[i] >= 0)).sum())
            )  # fmt: skip
        n, bad, share, ari, broken = np.mean(results, axis=0)
        print(
            f"| {name} | {n:.0f} | {bad:.0f} | {relaxed or ''} | {share:.2f} | {ari:.3f} | {broken:.0f} |", flush=True
        )


def boxes(n: int) -> None:
    """`time_overlap` on n tracks of about 4 s in a day, 50 cameras, scope same and cross."""
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 86_400, n)
    end = start + rng.exponential(4, n)
    camera = rng.integers(0, 50, n)
    print(f"\n{n:,} tracks in a day, 50 cameras\n")
    print("| scope | pairs | CPU s | peak memory so far, GB |\n| --- | ---: | ---: | ---: |")
    for scope in ("same", "all"):
        began = time.process_time()
        pairs = reid_cluster.time_overlap(start, end, camera=camera, scope=scope)
        seconds = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {scope} | {len(pairs):,} | {seconds:.1f} | {peak:.2f} |", flush=True)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animals", type=Path, metavar="DIR")
    parser.add_argument("--vehicles", type=Path, metavar="DIR")
    parser.add_argument("--boxes", type=int, metavar="N")
    parser.add_argument("--eps", type=float, default=0.5)
    parser.add_argument("--k1", type=int, default=30, help="of the animals' graph")
    parser.add_argument("--noise", type=float, default=0.6, help="of the vehicles' drawn features")
    options = parser.parse_args()
    if options.animals is not None:
        animals(options.animals, options.eps, options.k1)
    if options.vehicles is not None:
        vehicles(options.vehicles, options.noise, options.eps)
    if options.boxes is not None:
        boxes(options.boxes)


if __name__ == "__main__":
    main()
