"""What `test_processes.py` runs in one process and in two: trains each job, and computes pieces of a step.

Arguments: a JSON list of [method, settings], and the folder for results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn

from reid import processes
from reid.config import from_mapping
from reid.memory.ccc import CameraMemory
from reid.methods import METHODS
from reid.models.batch_norm import group_batch_norm
from reid.models.dropout import Dropout
from reid.training.train import train


def gradients(loss: torch.Tensor, network: nn.Module) -> list[torch.Tensor]:
    network.zero_grad()
    loss.backward()
    found = [p.grad for p in network.parameters() if p.grad is not None]
    processes.average(found)
    return found


def batch_norm(group_size: int) -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.BatchNorm1d(5 * 16), nn.Tanh())
    group_batch_norm(network, group_size)
    x = processes.share(torch.randn(12, 3, 6, 6) + 20.0)
    out = network(x)
    found = gradients((out * torch.linspace(-1, 1, 80)).square().mean(), network)
    buffers = [b for b in network.buffers() if b.is_floating_point()]
    processes.copy_from_first(buffers)
    return {"out": [processes.gather(out)], "gradients": found, "statistics": buffers}


def camera_loss() -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4, bias=False), torch.randn(8, 6)
    label, camid = torch.tensor([0, 0, 0, 1, 1, 1, 2, 0]), torch.tensor([0, 1, 2, 0, 0, 1, 0, 0])
    memory = CameraMemory(torch.randn(3, 4), entropy=True)
    loss = memory.loss(layer(processes.share(x)), processes.share(label), processes.share(camid))
    return {"gradients": gradients(loss, layer)}


def dropout() -> dict[str, list[torch.Tensor]]:
    torch.manual_seed(0)
    return {"out": [processes.gather(Dropout(0.5)(processes.share(torch.randn(8, 5))))]}


if __name__ == "__main__":
    processes.join()
    folder = Path(sys.argv[2])
    pieces = {f"bn{g}": batch_norm(g) for g in (0, 12, 6, 3)} | {"camera": camera_loss(), "dropout": dropout()}
    if processes.is_first():
        torch.save(pieces, folder / "pieces.pt")
    processes.check_same("gathered rows", pieces["bn0"]["out"][0].tolist())
    for number, (name, settings) in enumerate(json.loads(Path(sys.argv[1]).read_text())):
        config = from_mapping(METHODS[name].Config, {**settings, "output": str(folder / str(number))}, "test")
        train(config, quiet=True)
    processes.leave()
