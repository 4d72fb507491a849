"""Batch norm over groups of fixed size: the statistics of several devices on one, and of one device on several.

The published networks were trained on four devices, each of which normalised its share of a batch by that share's own
statistics. One device that normalises the whole batch at once learns markedly less: fewer clusters in a batch mean
that pictures of one cluster are compared with each other under their own statistics.

In a run of several processes a group may be larger than a process' share of the batch; statistics are then exchanged,
with their gradients, so that the number of processes changes nothing but rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid import processes
from reid.models.gathering import gather_rows

__all__ = ["GroupedBatchNorm1d", "GroupedBatchNorm2d", "group_batch_norm"]


class _Grouped(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose training batch is cut into contiguous groups, each normalised by itself."""

    group_size: int = 0
    """Rows of a group; 0: the whole batch, over all processes."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, ...); the running statistics follow the first group (of this process' share)."""
        if not self.training:
            return super().forward(input)
        own, whole = len(input), len(input) * processes.size()
        size = min(self.group_size or whole, whole)
        if processes.size() > 1 and own % size and size % own:
            raise ValueError(
                f"bn_group_size={size}: must divide a process' share of {own} rows, or be a multiple of it"
            )
        if size > own:
            return self._across(input, size // own)
        if size == own:
            return super().forward(input)
        self._check_input_dim(input)
        first, *rest = input.split(size)
        out = [super().forward(first)]
        for chunk in rest:
            # Without running statistics to update, those of the chunk are used.
            out.append(functional.batch_norm(chunk, None, None, self.weight, self.bias, training=True, eps=self.eps))
        return torch.cat(out)

    def _across(self, input: Tensor, members: int) -> Tensor:
        """Normalise with the statistics of a group of `members` processes that follow each other."""
        self._check_input_dim(input)
        x = input.float()
        places = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(x, places, correction=0)  # (C,)
        begin = processes.rank() // members * members
        statistics = gather_rows(torch.stack([mean, variance])[None])  # (processes, 2, C)
        means, variances = statistics[begin : begin + members].unbind(1)
        mean = means.mean(0)
        variance = variances.mean(0) + means.var(0, correction=0)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            n = x.numel() // len(mean) * members
            self.num_batches_tracked.add_(1)
            momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * (n / (n - 1)), momentum)
        shape = [1, -1] + [1] * (x.ndim - 2)
        scale = self.weight * (variance + self.eps).rsqrt()
        out = (x - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)


class GroupedBatchNorm1d(_Grouped, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` over groups."""


class GroupedBatchNorm2d(_Grouped, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` over groups."""


def group_batch_norm(network: nn.Module, group_size: int, frames: int = 1) -> None:
    """Let all batch norm layers of a network normalise groups of a training batch by themselves.

    Parameters
    ----------
    network : nn.Module
        Changed in place: its layers keep their parameters, statistics and names.
    group_size : int
        Samples of a group, at least 2; a batch no larger than that is normalised as a whole. A last group may be
        smaller: choose batch sizes that are multiples. 0: the whole batch, over all processes.
    frames : int, default 1
        Frames of a sample in training. Layers of the feature maps normalise those of all a group's samples together;
        layers behind the pooling see one row a sample.

    Raises
    ------
    ValueError
        If `group_size` is 1 or negative.

    Notes
    -----
    As on several devices of the published code, running statistics are those of the first group alone. Of several
    processes the first one's count.
    """
    if group_size < 2 and group_size != 0:
        raise ValueError(f"bn_group_size={group_size}: must be at least 2")
    kinds: dict[type[Any], type[_Grouped]] = {
        nn.BatchNorm1d: GroupedBatchNorm1d,
        nn.BatchNorm2d: GroupedBatchNorm2d,
    }
    for layer in network.modules():
        grouped = kinds.get(type(layer))
        if grouped is not None:
            layer.__class__ = grouped  # the state stays as it is; nothing else differs but `forward`
            size = group_size * frames if grouped is GroupedBatchNorm2d else group_size
            layer.group_size = size  # type: ignore[assignment]
