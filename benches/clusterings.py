"""The clustering part of each method on features that are given: clusters, agreement with the identities, time.

Run from anywhere, in an environment with reid-cluster installed::

    python benches/clusterings.py FEATURES.npz [FEATURES.npz ...]
    python benches/clusterings.py FEATURES.npz --set same_camera=forbid center_cameras=true

A file holds `feat` (N, D), `pid`, `cam` and, if wanted, `split`, of which `train` is used. Nothing is trained: a
method's `assign` is called with these features as if a pretrained network had made them (BUC, which merges a share a
round: until its own schedule ends). Columns: clusters; share of the pictures in one; adjusted Rand index with outliers
as clusters of one; share of the pairs within clusters that are right (precision), and share of the right pairs that are
within a cluster (recall); seconds. Identities are read for the table only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import pair_confusion_matrix

from reid.clustering.reliability import singletons
from reid.config import from_mapping
from reid.data.records import Samples
from reid.methods import METHODS

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "buc": ("buc", {}),
    "cluster-contrast, hhcl: DBSCAN": ("cluster-contrast", {}),
    "the same, eps .6": ("cluster-contrast", {"eps": 0.6}),
    "the same, eps auto": ("cluster-contrast", {"eps": "auto"}),
    "any memory: mutual pairs": ("cluster-contrast", {"labels": "mutual"}),
    "any memory: Infomap": ("cluster-contrast", {"labels": "infomap"}),
    "spcl: three DBSCANs": ("spcl", {}),
    "cdsm: core samples that are trusted": ("cdsm", {}),
    "3c: HDC": ("3c", {"warmup_rounds": 0}),
    "3c: k-means": ("3c", {"warmup_rounds": 0, "clusterer": "kmeans"}),
    "pul: k-means, reliable ones": ("pul", {}),
}


class Still(torch.nn.Module):
    """Stands where the network of the features would: D outputs, one parameter."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.out_features = out_features
        self.weight = torch.nn.Parameter(torch.zeros(1))


def read(path: Path) -> tuple[NDArray[np.float32], Samples]:
    """Unit features and samples of the training split of a file."""
    with np.load(path, allow_pickle=False) as file:
        kept = file["split"] == "train" if "split" in file else np.ones(len(file["feat"]), dtype=bool)
        features = file["feat"][kept].astype(np.float32)
        pid, camid = (file[name][kept].astype(np.int64) for name in ("pid", "cam"))
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return features, Samples.from_paths([str(i) for i in range(len(pid))], pid=pid, camid=camid)


def cluster(method: str, settings: dict[str, Any], features: NDArray[np.float32], samples: Samples) -> Any:
    """Labels that `method` would train on."""
    kind = METHODS[method]
    config = from_mapping(kind.Config, {"weights": "imagenet", "on_collapse": "keep", **settings}, method)
    network: Any = Still(features.shape[1])
    made = kind(config, network, samples.without_pid())
    for r in range(1, (made.rounds if method == "buc" else 1) + 1):
        assignment = made.assign(r, lambda network, *, head=None, normalize=True: features)
    if method == "cdsm":
        return np.where(made._reliable & made._core, assignment.labels, -1)  # type: ignore[attr-defined]
    return assignment.labels


def line(name: str, labels: NDArray[np.int64], pid: NDArray[np.int64], seconds: float) -> str:
    """One line of the table."""
    alone = singletons(labels)
    (_, wrong), (missed, right) = pair_confusion_matrix(pid, alone)
    cells = [
        name, f"{len(np.unique(labels[labels >= 0]))}", f"{(labels >= 0).mean():.2f}",
        f"{adjusted_rand_score(pid, alone):.3f}", f"{right / max(1, right + wrong):.3f}",
        f"{right / max(1, right + missed):.3f}", f"{seconds:.2f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Cluster each file in each way and print a table a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings for all methods")
    options = parser.parse_args()
    words = {"true": True, "false": False}
    shared = {key: words.get(value, value) for key, value in (pair.split("=", 1) for pair in options.set)}
    for path in options.files:
        features, samples = read(path)
        print(f"\n{path.stem}: {samples.describe()} {' '.join(options.set)}\n")
        print("| clustering of | clusters | share clustered | ARI | precision | recall | s |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name, (method, settings) in RUNS.items():
            began = time.perf_counter()
            try:
                labels = cluster(method, {**shared, **settings}, features, samples)
            except (ValueError, ModuleNotFoundError) as error:  # what these data or this environment cannot do
                print(f"| {name} | {error} |")
                continue
            print(line(name, labels, samples.pid, time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    main()
