r"""The memory of Cluster Contrast: one unit row a cluster, a softmax over all of them.

    x_b = n(output_b)      z_bc = x_b . M_c / tau      loss = mean_b( -z_{b, y_b} + log sum_c exp z_bc )
    CM        M_y <- n(m M_y + (1 - m) x_b) for every b of the batch, one after the other
    CM-hard   M_y <- n(m M_y + (1 - m) x_h), h = the member of y in the batch with the smallest x_h . M_y

Row c belongs to cluster c; the momentum m is the weight of the old row.

Dai, Wang, Yuan, Zhu, Tan: Cluster contrast for unsupervised person re-identification, ACCV 2022.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reid.memory.rows import Bank, class_rows, first_argmin, mix_in_order, mix_rows
from reid.memory.smoothing import cross_entropy

__all__ = ["ClusterMemory"]


class ClusterMemory(Bank):
    """One row a cluster (CM, CM-hard).

    Parameters
    ----------
    rows : Tensor of shape (C, D)
        First rows, used as they are.
    temperature : float, default 0.05
        tau.
    momentum : float, default 0.1
        Weight m of the old row.
    hard : bool, default False
        Update with the hardest member of each cluster instead of with all of them.
    normalize : bool, default True
        Normalise the batch before it is used, as Cluster Contrast does; HHCL and CDSM take it as it is.
    smoothing : float, default 0
        Label smoothing of HHCL, see :func:`reid.memory.smoothing.cross_entropy`; Cluster Contrast has none.

    Examples
    --------
    >>> import torch
    >>> memory = ClusterMemory(torch.eye(2), momentum=0.5)
    >>> memory.update(torch.tensor([[0.0, 3.0]]), torch.tensor([0]))
    >>> [round(v, 4) for v in memory.memory[0].tolist()]
    [0.7071, 0.7071]
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        temperature: float = 0.05,
        momentum: float = 0.1,
        hard: bool = False,
        normalize: bool = True,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(rows, len(rows), temperature=temperature, momentum=momentum)
        self.hard = hard
        self.normalize = normalize
        self.smoothing = smoothing

    @classmethod
    def from_means(cls, features: Tensor, labels: Tensor, **settings: Any) -> ClusterMemory:
        """Make a memory whose row c is the unit-length mean of the features (N, D) with label c.

        The labels are 0..C-1, each of them present; `settings` are those of the class. Raises ValueError if a label is
        negative, a cluster has no sample, or a feature is not finite.
        """
        return cls(class_rows(features, labels), **settings)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross-entropy against all rows, a scalar.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Output of the network.
        labels : int64 Tensor of shape (B,)
            Clusters.
        """
        self.check(x, labels)
        return cross_entropy(self.products(self._unit(x.to(self.memory.dtype))), labels, self.smoothing)

    @torch.no_grad()
    def update(self, x: Tensor, labels: Tensor) -> None:
        """Mix the batch into the rows of its clusters; call it after the backward pass.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Output of the network, or of its teacher.
        labels : int64 Tensor of shape (B,)
            Clusters.

        Raises
        ------
        ValueError
            If shapes or clusters do not fit, or a feature is not finite (the memory is then unchanged).
        """
        x = self._unit(self.take(x, labels))
        if self.hard:
            present, group = labels.unique(return_inverse=True)
            hardest = first_argmin((x * self.memory[labels]).sum(1), group, len(present))
            self.memory[present] = mix_rows(self.memory[present], x[hardest], self.momentum)
        else:
            mix_in_order(self.memory, labels, x, self.momentum)

    def _unit(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=1, eps=1e-12) if self.normalize else x
