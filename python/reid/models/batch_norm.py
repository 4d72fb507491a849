"""Batch norm over groups of fixed size: the statistics of several devices on one.

The published networks were trained on four devices, each of which normalised its share of a batch by that share's own
statistics. One device that normalises the whole batch at once learns markedly less: fewer clusters in a batch mean
that pictures of one cluster are compared with each other under their own statistics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["GroupedBatchNorm1d", "GroupedBatchNorm2d", "group_batch_norm"]


class _Grouped(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose training batch is cut into contiguous groups, each normalised by itself."""

    group_size: int

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...); the running statistics follow the first group."""
        if not self.training or len(input) <= self.group_size:
            return super().forward(input)
        self._check_input_dim(input)
        first, *rest = input.split(self.group_size)
        out = [super().forward(first)]
        for chunk in rest:
            # Without running statistics to update, those of the chunk are used.
            out.append(functional.batch_norm(chunk, None, None, self.weight, self.bias, training=True, eps=self.eps))
        return torch.cat(out)


class GroupedBatchNorm1d(_Grouped, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over groups."""


class GroupedBatchNorm2d(_Grouped, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over groups."""


def group_batch_norm(network: nn.Module, group_size: int) -> None:
    """Let all batch norm layers of a network normalise groups of a training batch by themselves.

    Parameters
    ----------
    network : nn.Module
        Changed in place: its layers keep their parameters, statistics and names.
    group_size : int
        Pictures of a group, at least 2; a batch no larger than that is normalised as a whole. A last group may be
        smaller: choose batch sizes that are multiples.

    Raises
    ------
    ValueError
        If `group_size` is below 2.

    Notes
    -----
    As on several devices of the published code, running statistics are those of the first group alone.
    """
    if group_size < 2:
        raise ValueError(f"bn_group_size={group_size}: must be at least 2")
    kinds: dict[type[Any], type[_Grouped]] = {
        nn.BatchNorm1d: GroupedBatchNorm1d,
        nn.BatchNorm2d: GroupedBatchNorm2d,
    }
    for layer in network.modules():
        grouped = kinds.get(type(layer))
        if grouped is not None:
            layer.__class__ = grouped  # the state stays as it is; nothing else differs but `forward`
            layer.group_size = group_size  # type: ignore[assignment]
