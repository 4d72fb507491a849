r"""The memory of BUC ("repelled loss"): one row a class, a softmax over all rows.

    z_bc = t x_b . V_c        loss = mean_b( -z_{b, y_b} + log sum_c exp z_bc )
    V_y <- n(mix V_y + (1 - mix) x_b),  one after the other in batch order;  n(u) = u / max(|u|, 1e-12)

Row c belongs to class c. A row that no sample has visited is zero and takes part with logit 0. The loss sees
the rows before the batch's update, so the gradient is dL/dx_b = (t / B) sum_c (softmax(z_b)_c - [c = y_b])
V_c.

Lin et al.: A bottom-up clustering approach to unsupervised person re-identification, AAAI 2019, and its code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reid.memory.rows import class_means, occurrence


class ExLossMemory(nn.Module):
    """Memory of class vectors with the loss against them and the update of its rows.

    The original changes the memory inside the backward pass; here `update` does it, after the optimiser's
    step.

    Parameters
    ----------
    n_classes : int
        Number of rows C.
    n_features : int
        Size E of a row.
    t : float, default 10.0
        Scale of the logits, 1 / temperature.
    mix : float, default 0.5
        Weight of the old row in an update, 0 <= mix < 1.
    """

    memory: Tensor

    def __init__(self, n_classes: int, n_features: int, *, t: float = 10.0, mix: float = 0.5) -> None:
        super().__init__()
        if n_classes < 1 or n_features < 1:
            raise ValueError(f"n_classes={n_classes}, n_features={n_features}: must be at least 1")
        if not t > 0:
            raise ValueError(f"t={t}: must be above 0")
        if not 0.0 <= mix < 1.0:
            raise ValueError(f"mix={mix}: must be at least 0 and below 1")
        self.t = t
        self.mix = mix
        self.register_buffer("memory", torch.zeros(n_classes, n_features))  # (C, E)

    @classmethod
    def from_means(cls, embeddings: Tensor, labels: Tensor, *, t: float = 10.0, mix: float = 0.5) -> ExLossMemory:
        """Make a memory whose row c is the unit-length mean of the embeddings with label c.

        Parameters
        ----------
        embeddings : Tensor of shape (N, E)
            Embeddings without dropout, in evaluation mode.
        labels : int Tensor of shape (N,)
            The *new* labels, 0..C-1, each of them present.
        t, mix
            As for the class.

        Returns
        -------
        ExLossMemory
            On the device of the embeddings.

        Raises
        ------
        ValueError
            If a label is negative, a class has no sample, or an embedding is not finite.
        """
        means = class_means(embeddings, labels)  # (C, E) float64
        result = cls(*means.shape, t=t, mix=mix)
        result.memory = functional.normalize(means, dim=1, eps=1e-12).float()
        return result

    def logits(self, x: Tensor) -> Tensor:
        """Return t x . V for embeddings (B, E): float32 of shape (B, C), also under autocast."""
        with torch.autocast(x.device.type, enabled=False):
            return self.t * functional.linear(x.to(self.memory.dtype), self.memory)

    def loss(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of the logits, a scalar.

        Parameters
        ----------
        x : Tensor of shape (B, E)
            Embeddings as the head gives them in training, after dropout.
        targets : int64 Tensor of shape (B,)
            Classes.
        """
        self._check(x, targets)
        return functional.cross_entropy(self.logits(x), targets)

    @torch.no_grad()
    def update(self, x: Tensor, targets: Tensor) -> None:
        """Mix the batch into the rows of its classes, sample after sample in batch order.

        Call it after the backward pass: autograd refuses a backward pass whose memory has changed since
        `loss`.

        Parameters
        ----------
        x : Tensor of shape (B, E)
            Embeddings; need not be of unit length.
        targets : int64 Tensor of shape (B,)
            Classes; repeated ones are visited repeatedly.

        Raises
        ------
        ValueError
            If shapes or classes do not fit, or an embedding is not finite (the memory is then unchanged).
        """
        self._check(x, targets)
        x = x.detach().to(self.memory.dtype)
        finite = torch.isfinite(x).all(dim=1)
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            raise ValueError(f"x[{row}] is not finite: the memory was not changed; lower the learning rate")
        # Rows of different classes do not touch each other, so all first visits can be done at once, then all
        # second ones, and so on: the same as one after the other.
        visit = occurrence(targets)  # (B,)
        for k in range(int(visit.max()) + 1 if len(visit) else 0):
            now = (visit == k).nonzero(as_tuple=True)[0]
            rows = targets[now]
            mixed = self.mix * self.memory[rows] + (1.0 - self.mix) * x[now]
            self.memory[rows] = functional.normalize(mixed, dim=1, eps=1e-12)

    def _check(self, x: Tensor, targets: Tensor) -> None:
        n_classes, n_features = self.memory.shape
        if x.ndim != 2 or x.shape[1] != n_features:
            raise ValueError(f"x has shape {tuple(x.shape)}: must be (B, {n_features})")
        if targets.shape != x.shape[:1]:
            raise ValueError(f"targets has shape {tuple(targets.shape)}: must be ({len(x)},), one class a row of x")
        if len(targets) and (int(targets.min()) < 0 or int(targets.max()) >= n_classes):
            bad = targets[(targets < 0) | (targets >= n_classes)][0]
            raise ValueError(f"targets holds {int(bad)}: classes must lie in 0..{n_classes - 1}")
