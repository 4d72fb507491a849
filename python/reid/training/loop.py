"""The training loop: cluster, train, look, save; one round after the other."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reid import processes
from reid.data.views import draw_views
from reid.methods.protocol import Batch, RoundPlan
from reid.models.embedder import save_embedder
from reid.report.details import make_details, write_details
from reid.training.checkpoint import Checkpoint
from reid.training.job import Features, Job
from reid.training.measure import Before, measure, retrieval, sizes

__all__ = ["run_rounds"]


def run_rounds(job: Job, checkpoint: Checkpoint | None) -> list[dict[str, Any]]:
    """Run the rounds that are left and save each.

    Parameters
    ----------
    job : Job
    checkpoint : Checkpoint, optional
        Where to go on from; None starts with the untrained network.

    Returns
    -------
    list of dict
        The objects of metrics.jsonl, `round` 0 (untrained) first.

    Raises
    ------
    FloatingPointError
        The loss is no longer finite. The rounds before are saved.

    Notes
    -----
    All randomness of round r comes from (seed, r), and nothing but weights, method state and history outlives a round:
    a run that is killed anywhere and resumed gives the same bytes as one that is not (same machine, same device).
    """
    method, config = job.method, job.config
    features = Features(job)
    if checkpoint is None:
        labels = np.arange(len(job.train), dtype=np.int64)
        history = [measure(job, features, {"round": 0}, None, time.monotonic())]
        _select(job, history)
        job.log.round(history[0], method.rounds)
        _save(job, history, labels, finished=False)
    else:
        _load(job, checkpoint)
        history = [dict(row) for row in checkpoint.state["history"]]
        if checkpoint.state["finished"]:
            return history
        labels = job.folder.read_labels(int(history[-1]["round"]))
    for r in range(int(history[-1]["round"]) + 1, method.rounds + 1):
        began = time.monotonic()
        torch.manual_seed(_seed(config.seed, r))
        features.forget_tests()
        before = Before(features(method.retrieval), labels)
        assignment = method.assign(r, features)
        for warning in assignment.warnings:
            job.log.warn(warning)
        if assignment.stop:
            history[-1]["stop"] = assignment.stop
            job.log.say(f"stopped before round {r}: {assignment.stop}")
            break
        labels = assignment.labels
        processes.check_same(f"pseudo labels of round {r}", hashlib.sha256(labels.tobytes()).hexdigest())
        rng = np.random.default_rng([config.seed, r])
        loss = _train_round(job, method.start_round(r, assignment, rng), labels, rng, r)
        features.forget()
        row: dict[str, Any] = {"round": r, "loss": loss, **assignment.facts, **sizes(labels)}
        if assignment.warnings:
            row["warnings"] = list(assignment.warnings)
        due = r % config.eval_every == 0 or r == method.rounds
        history.append(measure(job, features, row, labels, began, before=before, search=due))
        _select(job, history)
        _save(job, history, labels, finished=False)
        job.log.round(history[-1], method.rounds)
    if job.query is not None and "mAP" not in history[-1]:  # stopped between two evaluations
        history[-1] |= retrieval(job, features, labels if history[-1]["round"] else None)
    _keep_details(job, features, labels)
    _save(job, history, labels, finished=True)
    return history


def _train_round(job: Job, plan: RoundPlan, labels: NDArray[np.int64], rng: np.random.Generator, r: int) -> float:
    """Train for one round; the mean loss over its steps."""
    method, optimizer, amp = job.method, plan.optimizer, job.config.amp
    dtype = torch.bfloat16 if amp == "bf16" else torch.float16
    scaler = torch.amp.GradScaler(job.device.type, enabled=amp == "fp16")
    total = torch.zeros((), dtype=torch.float64, device=job.device)
    job.network.train()
    for step, (batch, whole) in enumerate(_batches(job, plan, labels, rng)):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr(step) * group.get("scale", 1.0)
        with torch.autocast(job.device.type, dtype=dtype, enabled=amp != "off"):
            out = method.step(batch)
        # Asking a GPU makes it wait, so there it is asked seldom.
        if (job.device.type == "cpu" or step % 25 == 24) and not math.isfinite(float(out.loss.detach())):
            raise FloatingPointError(
                f"the loss of {method.name} is not finite in round {r}, step {step + 1}: lower the learning rate, "
                "or use --amp off; the rounds before are saved"
            )
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(out.loss).backward()
        processes.average(p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
        scaler.step(optimizer)
        scaler.update()
        method.update(whole, dataclasses.replace(out, embeddings=processes.gather(out.embeddings)))
        total += out.loss.detach()
        job.log.progress(step + 1, plan.steps, f"round {r}")
    job.log.end_stage()
    processes.average([total])
    # Weights are alike already; of several processes the first one's batch norm statistics count.
    processes.copy_from_first([*job.network.state_dict().values(), *method.retrieval.state_dict().values()])
    return float(total) / plan.steps


def _batches(
    job: Job, plan: RoundPlan, labels: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[Batch, Batch]]:
    """Augmented batches, this process' share and the whole of each (its pictures are again those of the share).

    All processes draw for the whole batch, so that the pictures are the same for any number of processes.
    """
    spec, device = job.network.spec, job.device
    for drawn, images in draw_views(
        job.pictures, islice(plan.batches, plan.steps), plan.augment, rng,
        mean=spec.mean, std=spec.std, device=device, frames=plan.frames, window=plan.window,
    ):  # fmt: skip
        images = processes.share(images).contiguous(memory_format=torch.channels_last).unflatten(0, (-1, plan.frames))
        index, label, camid = (torch.from_numpy(v).to(device) for v in (drawn, labels[drawn], job.train.camid[drawn]))
        share = Batch(images, *(processes.share(v) for v in (index, label, camid)))
        yield share, Batch(images, index, label, camid)


def _select(job: Job, history: list[dict[str, Any]]) -> None:
    """Mark the round with the best label-free score, and keep its network."""
    best = max(range(len(history)), key=lambda i: (history[i]["reciprocity"], i))
    for i, row in enumerate(history):
        row["selected"] = i == best
    if best == len(history) - 1 and processes.is_first():
        save_embedder(job.folder.path / "selected.safetensors", job.method.retrieval)


@processes.first_only
def _save(job: Job, history: list[dict[str, Any]], labels: NDArray[np.int64], *, finished: bool) -> None:
    r = int(history[-1]["round"])
    tensors = {f"network.{k}": v for k, v in job.network.state_dict().items()}
    tensors |= {f"method.{k}": v for k, v in job.method.state_dict().items()}
    save_embedder(job.folder.path / "model.safetensors", job.method.retrieval)
    state = {"round": r, "history": history, "finished": finished}
    job.folder.save_round(r, labels, Checkpoint(tensors, state))


def _keep_details(job: Job, features: Features, labels: NDArray[np.int64]) -> None:
    """Write what the report shows of features; those of the last round are at hand."""
    network, config = job.method.retrieval, job.config
    train = features(network)
    query, gallery = (
        (features(network, pictures=side[1]), side[0]) if side is not None else None
        for side in (job.query, job.gallery)
    )

    @processes.first_only
    def write() -> None:
        details = make_details(
            train, job.train, labels, query, gallery, k1=getattr(config, "k1", None) or 20,
            k2=getattr(config, "k2", None) or 6, n_jobs=config.workers or None,
        )  # fmt: skip
        write_details(job.folder.path / "report" / "details.npz", details)

    write()


def _load(job: Job, checkpoint: Checkpoint) -> None:
    def part(prefix: str) -> Mapping[str, torch.Tensor]:
        return {k[len(prefix) :]: v for k, v in checkpoint.tensors.items() if k.startswith(prefix)}

    job.network.load_state_dict(part("network."))
    job.method.load_state_dict(part("method."))
    job.folder.write_metrics(checkpoint.state["history"])


def _seed(seed: int, r: int) -> int:
    return int(np.random.SeedSequence([seed, r]).generate_state(1, np.uint64)[0] >> 1)
