"""Batch norm for batches of two domains: each half of a training batch is normalised by its own statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["split_batch_norm"]


class _TwoDomains(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose training batch holds the source pictures first and as many target pictures behind them."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (2B, C, ...); the running statistics follow the target half."""
        if not self.training:
            return super().forward(input)
        source, target = input.tensor_split(2)
        groups = source.split(getattr(self, "group_size", len(source)))
        # Without running statistics to update, those of the group are used.
        out = [
            functional.batch_norm(g, None, None, self.weight, self.bias, training=True, eps=self.eps) for g in groups
        ]
        out.append(super().forward(target))
        return torch.cat(out)


def split_batch_norm(network: nn.Module) -> None:
    """Let all batch norm layers normalise the two halves of a training batch, source and target, by themselves.

    Scale and shift are shared. Evaluation uses the statistics of the target domain, so those of the source, which
    nothing would read, are not kept. Layers that normalise groups (`reid.models.batch_norm`) do so within each half.

    Parameters
    ----------
    network : nn.Module
        Changed in place: its layers keep their parameters, statistics and names.
    """
    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            kind = type(layer)
            layer.__class__ = type(f"TwoDomains{kind.__name__}", (_TwoDomains, kind), {})
