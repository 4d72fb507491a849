"""Every bank gives on a GPU what it gives on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from banks import random_batch
from torch import Tensor
from torch.nn import functional

from reid.memory.ccc import CameraMemory, Rule
from reid.memory.cdsm import DiversityMemory, SlotMemory
from reid.memory.cluster import ClusterMemory
from reid.memory.hhcl import HybridClusterMemory, InstanceClusterMemory
from reid.memory.rows import Bank
from reid.memory.spcl import InstanceMemory


def spcl(x: Tensor, y: Tensor) -> InstanceMemory:
    bank = InstanceMemory.from_features(x[:40], x[40:], torch.arange(24, device=x.device) % 5)
    bank.relabel(y[:40])
    return bank


BANKS: dict[str, Callable[[Tensor, Tensor], Bank]] = {
    "cm": lambda x, y: ClusterMemory.from_means(x, y),
    "cm-hard": lambda x, y: ClusterMemory.from_means(x, y, hard=True),
    "hybrid": lambda x, y: HybridClusterMemory.from_means(x, y, smoothing=0.1),
    "instances": lambda x, y: InstanceClusterMemory.from_samples(x, y, 4, np.random.default_rng(0)),
    "spcl": spcl,
    "cdsm": lambda x, y: DiversityMemory.from_core(x, y, 3),
    "slots": lambda x, y: SlotMemory.from_chunks(x, y, 3),
    **{rule: lambda x, y, r=rule: CameraMemory.from_means(x, y, rule=r, entropy=True) for rule in get_args(Rule)},
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", list(BANKS))
def test_cuda_equals_cpu(name: str) -> None:
    x, _, _, _ = random_batch(0, n=64, d=16, n_classes=8)
    y = torch.arange(64) * 7 % 8
    cams = torch.arange(64) % 3
    memories, losses, gradients = [], [], []
    for device in ("cpu", "cuda"):
        bank = BANKS[name](x.to(device), y.to(device))
        extra = (cams.to(device),) if isinstance(bank, CameraMemory) else ()
        for step in range(2):
            batch = functional.normalize(x.roll(step + 1, 0) + 0.3 * x, dim=1).to(device).requires_grad_()
            index = (y if name != "spcl" else torch.arange(64) // 2).to(device)
            loss = bank.loss(batch, index, *extra)
            loss.backward()
            bank.update(batch, index, *extra)
            losses.append(loss.item())
            gradients.append(batch.grad.cpu())
        memories.append(bank.memory.cpu())
    np.testing.assert_allclose(losses[:2], losses[2:], rtol=1e-5)
    for cpu, cuda in zip(gradients[:2], gradients[2:], strict=True):
        np.testing.assert_allclose(cpu, cuda, atol=1e-5)
    np.testing.assert_allclose(*memories, atol=1e-6)
