r"""The hybrid memory of SpCL: one unit row an instance, a softmax over the means of the classes.

    u_bc = (1 / |S_c|) sum_{j in S_c} x_b . V_j / tau            class means are not normalised
    p_bc = exp u_bc / (sum over classes with members of exp u_bc' + 1e-6)
    loss = -mean_b log(p_{b, y_b} + 1e-6),  y_b = label of instance i_b
    V_i <- n(m V_i + (1 - m) x_b),  i = i_b, one after the other in batch order

m is the weight of the old row. Rows are instances, and each has a class: the singletons that outliers become are
negatives of all others. With identities of a source domain (domain adaptation), one row for each of them stands in
front, with the labels 0..C_s-1.

Ge, Zhu, Chen, Zhao, Li: Self-paced contrastive learning with hybrid memory for domain adaptive object re-ID, NeurIPS
2020, equations 1-3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from reid.memory.rows import Bank, class_rows, mix_in_order

__all__ = ["InstanceMemory"]

EPSILON = 1e-6


class InstanceMemory(Bank):
    """One row for each instance, and before them one for each class of a source domain.

    The memory lives for the whole run: `relabel` gives its instances the classes of a round; call it before `loss`.

    Parameters
    ----------
    rows : Tensor of shape (C_s + N, D)
        Unit rows: source classes, then instances.
    n_source : int, default 0
        Number of source classes C_s.
    temperature : float, default 0.05
        tau.
    momentum : float, default 0.2
        Weight m of the old row.

    Examples
    --------
    >>> import torch
    >>> memory = InstanceMemory.from_features(torch.eye(3), temperature=1.0)
    >>> memory.relabel(torch.tensor([0, 0, 1]))  # means (.5, .5, 0) and (0, 0, 1)
    >>> round(memory.loss(torch.eye(3)[:1], torch.tensor([0])).item(), 4)  # log(1 + e^-.5)
    0.4741
    """

    labels: Tensor
    sizes: Tensor

    def __init__(self, rows: Tensor, *, n_source: int = 0, temperature: float = 0.05, momentum: float = 0.2) -> None:
        super().__init__(rows, len(rows), temperature=temperature, momentum=momentum)
        if not 0 <= n_source < len(rows):
            raise ValueError(f"n_source={n_source}: must lie in 0..{len(rows) - 1}, below the number of rows")
        self.n_source = n_source
        # Every round gives new ones, so they are not part of the state.
        self.register_buffer("labels", torch.full((len(rows),), -1, device=rows.device), persistent=False)
        self.register_buffer("sizes", torch.zeros(0, dtype=torch.int64, device=rows.device), persistent=False)  # (C,)

    @classmethod
    def from_features(
        cls,
        features: Tensor,
        source_features: Tensor | None = None,
        source_labels: Tensor | None = None,
        *,
        temperature: float = 0.05,
        momentum: float = 0.2,
    ) -> InstanceMemory:
        """Make a memory of the normalised features (N, D), and of unit means of the source classes where there are any.

        Parameters
        ----------
        features : Tensor of shape (N, D)
            Features of all instances, in evaluation mode.
        source_features, source_labels : Tensor of shape (M, D), (M,), optional
            Features and classes 0..C_s-1 of a source domain.
        temperature, momentum
            As for the class.
        """
        rows = functional.normalize(features.double(), dim=1, eps=1e-12).float()
        n_source = 0
        if source_features is not None and source_labels is not None:
            source = class_rows(source_features, source_labels)
            n_source = len(source)
            rows = torch.cat([source, rows])
        return cls(rows, n_source=n_source, temperature=temperature, momentum=momentum)

    def relabel(self, labels: Tensor) -> None:
        """Give the instances the classes of a round.

        Parameters
        ----------
        labels : int64 Tensor of shape (N,)
            Classes from 0, none missing a label; numbers may be left out. They count from C_s on in the memory.
        """
        n = len(self.memory) - self.n_source
        if labels.shape != (n,):
            raise ValueError(f"labels has shape {tuple(labels.shape)}: must be ({n},), one for each instance")
        if int(labels.min()) < 0:
            raise ValueError(f"labels holds {int(labels.min())}: outliers get a class of their own in SpCL")
        self.labels[: self.n_source] = torch.arange(self.n_source)
        self.labels[self.n_source :] = labels + self.n_source
        self.sizes = torch.bincount(self.labels)

    def loss(self, x: Tensor, index: Tensor) -> Tensor:
        """Return the contrastive loss, a scalar; computed in float32 also under autocast.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Unit features.
        index : int64 Tensor of shape (B,)
            Rows of the memory: C_s + position of the instance, or the class of a source picture.
        """
        self.check(x, index, name="index")
        if not len(self.sizes):
            raise ValueError("the instances have no classes yet: call relabel first")
        # Means first, products then: O((C_s + N) D + B C D) instead of a product with every row.
        means = self.memory.new_zeros(len(self.sizes), self.memory.shape[1])
        means.index_add_(0, self.labels, self.memory).div_(self.sizes.clamp_min(1)[:, None])  # (C, D)
        with torch.autocast(x.device.type, enabled=False):
            u = functional.linear(x.to(means.dtype), means) / self.temperature  # (B, C)
            u = u.masked_fill(self.sizes == 0, -torch.inf)
            # Both parts of the fraction are divided by exp(top), which changes nothing and cannot overflow.
            top = u.detach().amax(1, keepdim=True)
            e = (u - top).exp()
            p = e / (e.sum(1, keepdim=True) + EPSILON * (-top).exp())
            own = p.gather(1, self.labels[index][:, None])
            return -(own + EPSILON).log().mean()

    @torch.no_grad()
    def update(self, x: Tensor, index: Tensor) -> None:
        """Mix the batch into its own rows, one sample after the other; call it after the backward pass.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Unit features.
        index : int64 Tensor of shape (B,)
            As for `loss`; repeated rows are visited repeatedly.

        Raises
        ------
        ValueError
            If shapes or rows do not fit, or a feature is not finite (the memory is then unchanged).
        """
        mix_in_order(self.memory, index, self.take(x, index, name="index"), self.momentum)
