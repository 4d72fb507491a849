"""The training head of BUC: what its memory is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.models.backbones import seeded_init
from reid.models.batch_norm import GroupedBatchNorm1d
from reid.models.dropout import Dropout


def start_statistics(norm: nn.BatchNorm1d, rows: Tensor) -> None:
    """Set the running statistics of `norm` to those of `rows` (N, D); N at least 2."""
    variance, mean = torch.var_mean(rows, dim=0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


class EmbeddingHead(nn.Module):
    """Linear layer, batch norm, unit length, dropout: ``dropout(l2norm(BN(W g + b)))``.

    There is no ReLU and no classifier. W starts Kaiming normal (fan-out), b at 0, batch norm at weight 1,
    bias 0. The input is the pooled feature before normalisation.

    Parameters
    ----------
    in_features : int
        Size of the pooled feature g.
    embedding_dim : int, default 2048
        Size E of the embedding; 0: neither linear layer nor batch norm, the embedding is the feature at unit length.
    dropout : float, default 0.5
        Share of the embedding's entries that are zeroed in training (the others grow by 1 / (1 - dropout)).
    seed : int, default 0
        Seed of the weights. The global random state is not touched.

    References
    ----------
    Lin et al.: A bottom-up clustering approach to unsupervised person re-identification, AAAI 2019.
    """

    def __init__(self, in_features: int, embedding_dim: int = 2048, dropout: float = 0.5, *, seed: int = 0) -> None:
        super().__init__()
        if in_features < 1 or embedding_dim < 0:
            raise ValueError(
                f"in_features={in_features}, embedding_dim={embedding_dim}: must be at least 1 (or embedding_dim 0)"
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout}: must be at least 0 and below 1")
        self.in_features = in_features
        self.embedding_dim = embedding_dim or in_features
        self.linear: nn.Module = nn.Identity()
        if embedding_dim:
            with seeded_init(seed):
                linear = nn.Linear(in_features, embedding_dim)
                nn.init.kaiming_normal_(linear.weight, mode="fan_out")
            nn.init.zeros_(linear.bias)
            self.linear = linear
        self.bn: nn.Module = GroupedBatchNorm1d(self.embedding_dim) if embedding_dim else nn.Identity()
        self.dropout = Dropout(dropout)

    @torch.no_grad()
    def start(self, pooled: Tensor) -> None:
        """Set the batch norm's running statistics to those of `pooled` (N, in_features), N at least 2.

        Before the first step they are mean 0 and variance 1: embeddings taken in evaluation mode would then live in
        another space than those of training batches.
        """
        if isinstance(self.bn, nn.BatchNorm1d):
            start_statistics(self.bn, self.linear(pooled))

    def embed(self, pooled: Tensor) -> Tensor:
        """Embed without dropout: (B, in_features) to (B, E), rows of unit length."""
        return functional.normalize(self.bn(self.linear(pooled)), dim=1, eps=1e-12)

    def forward(self, pooled: Tensor) -> Tensor:
        """Embed with dropout (in training mode): (B, in_features) to (B, E)."""
        out: Tensor = self.dropout(self.embed(pooled))
        return out
