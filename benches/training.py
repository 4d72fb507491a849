"""What a training step costs beside the network: pictures a second of our loop and of a bare one, and the memories.

Run from anywhere, in an environment with reid-cluster installed::

    python benches/training.py                                          # a small MobileNetV2 on the built-in pictures
    python benches/training.py --backbone resnet50 --height 256 --width 128 --batch-size 256 --amp bf16 --device cuda

bare     forward, cross-entropy of a linear classifier, backward, Adam, on one batch that is already there
METHOD   a round of the method: batches drawn and augmented, its loss, backward, Adam, its memory's update
memory   loss, backward and update of the memory alone, on random unit features (B, D) and --classes classes

Loops are timed in turn, `--repeats` times; medians count. "share" is ours over bare: 1 would mean that everything but
the network is free.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from reid.config import from_mapping
from reid.memory.ccc import CameraMemory
from reid.memory.cdsm import DiversityMemory
from reid.memory.cluster import ClusterMemory
from reid.memory.exloss import ExLossMemory
from reid.memory.hhcl import HybridClusterMemory
from reid.memory.spcl import InstanceMemory
from reid.methods import METHODS
from reid.training.job import Features, Job
from reid.training.log import Log
from reid.training.loop import _train_round
from reid.training.run_folder import RunFolder
from reid.training.train import _prepare

Timed = Callable[[], float]


def wait(device: torch.device) -> float:
    """The time, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def job_of(method: str, options: argparse.Namespace, folder: Path) -> Job:
    """A run that is ready to train."""
    kind = METHODS[method]
    values = {
        "backbone": options.backbone, "height": options.height, "width": options.width, "device": options.device,
        "batch_size": options.batch_size, "amp": options.amp, "neck": "bn", "stripes": 1,
    }  # fmt: skip
    config = dataclasses.replace(from_mapping(kind.Config, values, "flags"), output=folder)
    log = Log(True)
    config, _, pieces = _prepare(config, kind, folder, log)
    return Job(config=config, folder=RunFolder(folder / "run", resume=False), log=log, **pieces)


def ours(job: Job, steps: int) -> Timed:
    """Pictures a second of rounds of the method."""
    features = Features(job)
    assignment = job.method.assign(1, features)
    rng = np.random.default_rng(0)
    plan = dataclasses.replace(job.method.start_round(1, assignment, rng), steps=steps)

    def run() -> float:
        began = wait(job.device)
        _train_round(job, plan, assignment.labels, rng, 1)
        return steps * job.config.batch_size / (wait(job.device) - began)

    return run


def bare(job: Job, steps: int) -> Timed:
    """Pictures a second of the same network without anything around it."""
    network, device = job.network, job.device
    images = torch.randn(job.config.batch_size, 3, job.config.height or 0, job.config.width or 0, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(100, (len(images),), device=device)
    head = torch.nn.Linear(network.out_features, 100).to(device)
    optimizer = torch.optim.Adam([p for p in [*network.parameters(), *head.parameters()] if p.requires_grad], lr=1e-4)
    dtype = torch.float16 if job.config.amp == "fp16" else torch.bfloat16

    def run() -> float:
        network.train()
        began = wait(device)
        for _ in range(steps):
            with torch.autocast(device.type, dtype=dtype, enabled=job.config.amp != "off"):
                loss = functional.cross_entropy(head(network(images)), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return steps * len(images) / (wait(device) - began)

    return run


def memories(classes: int, size: int, batch: int, device: torch.device) -> dict[str, Callable[[], float]]:
    """Milliseconds of loss, backward and update of each memory."""
    generator = torch.Generator().manual_seed(0)

    def unit(rows: int) -> torch.Tensor:
        return functional.normalize(torch.randn(rows, size, generator=generator)).to(device)

    label = torch.arange(batch, device=device) % max(1, min(classes, batch // 16))
    camid = torch.arange(batch, device=device) % 6
    instances = InstanceMemory(unit(10 * classes))
    instances.relabel(torch.arange(10 * classes, device=device) % classes)
    banks: dict[str, tuple[Any, tuple[torch.Tensor, ...]]] = {
        "BUC": (ExLossMemory(classes, size).to(device), (label,)),
        "Cluster Contrast": (ClusterMemory(unit(classes)), (label,)),
        "Cluster Contrast, hard": (ClusterMemory(unit(classes), hard=True), (label,)),
        "HHCL": (HybridClusterMemory(unit(2 * classes)), (label,)),
        "SpCL": (instances, (label,)),
        "CDSM": (DiversityMemory(unit(5 * classes), classes), (label,)),
        "3C": (CameraMemory(unit(classes), entropy=True), (label, camid)),
    }

    def timed(bank: Any, others: tuple[torch.Tensor, ...]) -> Callable[[], float]:
        def run() -> float:
            x = unit(batch).requires_grad_(True)
            began = wait(device)
            bank.loss(x, *others).backward()
            bank.update(x.detach(), *others)
            return 1000 * (wait(device) - began)

        return run

    return {name: timed(*bank) for name, bank in banks.items()}


def main() -> None:
    """Time everything in turn and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["cluster-contrast", "hhcl", "spcl", "cdsm", "3c"])
    parser.add_argument("--backbone", default="mobilenet_v2:0.35")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--classes", type=int, default=700, help="classes of the memories (default %(default)s)")
    parser.add_argument("--size", type=int, default=2048, help="columns of the memories (default %(default)s)")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--amp", default="off", choices=["off", "fp16", "bf16"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        loops: dict[str, Timed] = {}
        for method in options.methods:
            job = job_of(method, options, Path(name) / method)
            loops[method] = ours(job, options.steps)
            loops.setdefault("bare", bare(job, options.steps))
        seen: dict[str, list[float]] = {key: [] for key in loops}
        for repeat in range(options.repeats + 1):  # the first warms up
            for key, loop in loops.items():
                value = loop()
                if repeat:
                    seen[key].append(value)
    print("| loop | pictures / s | share of bare |\n| --- | ---: | ---: |")
    base = statistics.median(seen["bare"])
    for key, values in sorted(seen.items(), key=lambda item: item[0] != "bare"):
        print(f"| {key} | {statistics.median(values):.0f} | {statistics.median(values) / base:.2f} |")
    device = torch.device(options.device)
    print(f"\n| memory, B = {options.batch_size}, {options.classes} x {options.size} | ms |\n| --- | ---: |")
    for key, run in memories(options.classes, options.size, options.batch_size, device).items():
        run()
        print(f"| {key} | {statistics.median(run() for _ in range(options.repeats)):.2f} |")


if __name__ == "__main__":
    main()
