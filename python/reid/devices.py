"""Which device a setting means."""

from __future__ import annotations

import torch

from reid import processes

__all__ = ["choose_device"]


def choose_device(name: str) -> torch.device:
    """The device that a setting names: auto (a GPU when there is one), cpu, cuda or cuda:N.

    Of several processes each gets a GPU of its own.

    Raises
    ------
    ValueError
        Another name, no such device, or more processes than GPUs.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name!r}: must be auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r}: no CUDA device is available; use cpu")
    if device.type == "cuda" and processes.size() > 1:
        own, here = processes.local_rank()
        if device.index is not None:
            raise ValueError(f"device={name!r}: {here} processes would share it; use cuda, which gives each its own")
        if here > torch.cuda.device_count():
            raise ValueError(f"device={name!r}: {here} processes but {torch.cuda.device_count()} GPUs; start fewer")
        device = torch.device("cuda", own)
        torch.cuda.set_device(device)
    return device
