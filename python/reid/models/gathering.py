"""Rows of all processes of a run, with the gradients that go back to each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from reid import processes

__all__ = ["gather_rows"]


def gather_rows(own: Tensor) -> Tensor:
    """The rows of all processes, one process after the other; each has equally many.

    The gradient of a process' rows sums what all processes made of them. A loss of the gathered rows that all processes
    compute alike then gives, after the loop has averaged gradients, the gradient of that loss.

    Parameters
    ----------
    own : Tensor of shape (B, ...)

    Returns
    -------
    Tensor of shape (processes * B, ...)
    """
    if processes.size() == 1:
        return own
    rows: Tensor = _Rows.apply(own)
    return rows


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return processes.gather(own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        processes.average([gradient])
        return processes.share(gradient) * processes.size()
