"""Dropout that does not depend on the number of processes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from reid import processes

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` of a whole batch: all processes draw the same mask, each uses its share of the rows."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop entries of (B, ...)."""
        if not self.training or processes.size() == 1:
            return super().forward(input)
        ones = input.new_ones(len(input) * processes.size(), *input.shape[1:])
        return input * processes.share(functional.dropout(ones, self.p))
