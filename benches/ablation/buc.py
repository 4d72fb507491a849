"""What does BUC's merging add? BUC beside controls that take one thing away, on the built-in data.

Run from the repository's root, in an environment with reid-cluster installed::

    python benches/ablation/buc.py --seeds 0 1 2 --jobs 2
    python benches/ablation/buc.py --variants buc no-merging --set instances=tracklet merge_percent=0.12

Seed s is the seed of the pictures and of the weights. Variants:

buc            as `reid-train --method buc` runs it
no-merging     every instance stays a class of its own; as many epochs
permuted       clusters of the same sizes, members drawn at random among instances ("permuted by tracklet" when
               instances are tracklets, "permuted by image" when they are images)
per-picture    the same labels, dealt out anew to the pictures of each batch: they say nothing about any picture
oracle         true identities as clusters (uses identities: an upper bound, never a result)
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from reid.config import TrainConfig, from_mapping
from reid.methods import METHODS
from reid.methods.buc import Buc, BucConfig
from reid.methods.protocol import Assignment, Batch, Extract, StepOutput


class NoMerging(Buc):
    """Instance discrimination only."""

    name: ClassVar[str] = "buc-no-merging"
    Config: ClassVar[type[TrainConfig]] = dataclasses.make_dataclass(
        "NoMergingConfig", [], bases=(BucConfig,), frozen=True
    )

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Singletons, whatever the round."""
        return super().assign(1, extract)


class Permuted(Buc):
    """BUC's cluster sizes with members at random; the next merge starts from BUC's own clusters."""

    name: ClassVar[str] = "buc-permuted"
    Config: ClassVar[type[TrainConfig]] = dataclasses.make_dataclass(
        "PermutedConfig", [], bases=(BucConfig,), frozen=True
    )

    def assign(self, r: int, extract: Extract) -> Assignment:
        """BUC's labels, shuffled."""
        own = super().assign(r, extract)
        labels = np.random.default_rng([self.config.seed, r, 99]).permutation(own.labels)
        return dataclasses.replace(own, labels=labels)


class PerPicture(Buc):
    """Labels that say nothing about a picture: a true null."""

    name: ClassVar[str] = "buc-per-picture"
    Config: ClassVar[type[TrainConfig]] = dataclasses.make_dataclass(
        "PerPictureConfig", [], bases=(BucConfig,), frozen=True
    )

    def step(self, batch: Batch) -> StepOutput:
        """Loss against labels dealt out anew."""
        import torch

        order = torch.randint(len(self.samples), (len(batch.label),))
        self._label = torch.from_numpy(self.labels)[order].to(batch.label.device)
        return super().step(dataclasses.replace(batch, label=self._label))

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Memory rows get what was dealt to them."""
        super().update(dataclasses.replace(batch, label=self._label), out)


class Oracle(Buc):
    """True identities as clusters in every round."""

    name: ClassVar[str] = "buc-oracle"
    Config: ClassVar[type[TrainConfig]] = dataclasses.make_dataclass(
        "OracleConfig", [], bases=(BucConfig,), frozen=True
    )
    needs_pid: ClassVar[bool] = True

    def assign(self, r: int, extract: Extract) -> Assignment:
        """The identities, numbered from 0."""
        self.labels = np.unique(self.samples.pid, return_inverse=True)[1].astype(np.int64)
        return super().assign(1, extract)


VARIANTS: dict[str, type[Buc]] = {
    "buc": Buc, "no-merging": NoMerging, "permuted": Permuted, "per-picture": PerPicture, "oracle": Oracle,
}  # fmt: skip


def run_one(variant: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One run; its figures."""
    from reid.training.train import train

    kind = VARIANTS[variant]
    METHODS[kind.name] = kind
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        values = {"seed": seed, "data_seed": seed, **settings, "output": str(Path(scratch) / "run")}
        path = train(from_mapping(kind.Config, values, "--set"), quiet=True)
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return {"variant": variant, "seed": seed, "wall": time.monotonic() - began, "rows": rows}


def main() -> None:
    """Run all variants and print a table of mAP in percent: mean, deviation, and each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of BUC, as in a TOML file")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each with cores / jobs threads")
    parser.add_argument("--rounds-table", action="store_true", help="print mAP after each round, too")
    options = parser.parse_args()
    settings = {}
    for pair in options.set:
        key, _, text = pair.partition("=")
        try:
            settings[key] = json.loads(text)
        except json.JSONDecodeError:
            settings[key] = text
    jobs = [(v, s, settings) for v in options.variants for s in options.seeds]
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // options.jobs))
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run_one, *zip(*jobs, strict=True)))
    print(f"settings: {settings or 'defaults'}")
    print(f"{'variant':<12} untrained last mAP   sd  selected   ARI clusters     s  seeds")
    for variant in options.variants:
        runs = [r for r in results if r["variant"] == variant]
        last = np.array([100 * r["rows"][-1]["mAP"] for r in runs])
        start = np.mean([100 * r["rows"][0]["mAP"] for r in runs])
        chosen = np.mean([100 * next(row["mAP"] for row in r["rows"] if row["selected"]) for r in runs])
        ari = np.mean([r["rows"][-1]["oracle_ari"] for r in runs])
        clusters = np.mean([r["rows"][-1]["n_clusters"] for r in runs])
        wall = np.mean([r["wall"] for r in runs])
        deviation = last.std(ddof=1) if len(last) > 1 else float("nan")
        each = " ".join(f"{v:.1f}" for v in last)
        print(
            f"{variant:<12} {start:>9.1f} {last.mean():>8.1f} {deviation:>4.1f}  {chosen:>8.1f} {ari:>5.2f} "
            f"{clusters:>8.0f} {wall:>5.0f}  {each}"
        )
        if options.rounds_table:
            for r in runs:
                print(
                    "   seed",
                    r["seed"],
                    " ".join(f"{100 * row['mAP']:.1f}" for row in r["rows"] if "mAP" in row),
                )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
