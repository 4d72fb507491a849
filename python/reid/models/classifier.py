"""A classifier on the pooled feature: dropout and a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.models.backbones import seeded_init
from reid.models.dropout import Dropout

__all__ = ["Classifier"]


class Classifier(nn.Module):
    """Dropout and a linear layer with weights drawn from N(0, 0.001) and bias 0, as PUL has it.

    Parameters
    ----------
    in_features : int
        Size D of the pooled feature.
    n_classes : int
        Number of classes C.
    dropout : float, default 0.5
        Share of the feature's entries that are zeroed in training.
    seed : int, default 0
        Seed of the weights. The global random state is not touched.
    """

    def __init__(self, in_features: int, n_classes: int, *, dropout: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        with seeded_init(seed):
            self.linear = nn.Linear(in_features, n_classes)
            nn.init.normal_(self.linear.weight, std=0.001)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits (B, C) of pooled features (B, D)."""
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits

    def loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of pooled features (B, D) with classes (B,), in float32."""
        with torch.autocast(pooled.device.type, enabled=False):
            return functional.cross_entropy(self(pooled.float()), labels)
