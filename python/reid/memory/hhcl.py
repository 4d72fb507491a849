r"""The memories of HHCL: a hard and a mean row a cluster, or a centroid and several instances.

Both take unit features as they are (the network normalises), tau the temperature, m the weight of the old row, S_y the
members of cluster y in the batch, CE(z) the mean cross-entropy of logits z.

`HybridClusterMemory` (CMhybrid), rows 0..C-1 hard, C..2C-1 mean, both starting at the unit cluster means::

    published   loss = w CE(x . M_hard / tau) + w (1 - w) CE(x . M_mean / tau)
    intended    loss = w CE(x . M_hard / tau) +   (1 - w) CE(x . M_mean / tau)
    hard row y <- n(m row + (1 - m) x_h), h = the member of S_y with the smallest x_h . row
    mean row y <- n(m row + (1 - m) mean_{S_y} x)

The published code has the parenthesis of the first line, and its figures come from it.

`InstanceClusterMemory` (CMhybrid_v2), rows 0..C-1 centroids, rows kC..(k+1)C-1 the k-th instance of each cluster,
k = 1..K::

    o_bc = min over k of x_b . instance(c, k) if c = y_b, else max over k
    loss = w CE(x . M_centroid / tau) + (1 - w) CE(o / tau)
    instance(y, k) <- k-th member of S_y      centroid y <- n(m row + (1 - m) mean_{S_y} x)

Hu, Zhu, He: Hard-sample guided hybrid contrast learning for unsupervised person re-identification, IC-NIDC 2021.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from reid.memory.rows import Bank, class_rows, first_argmin, group_means, mix_rows, occurrence
from reid.memory.smoothing import cross_entropy

__all__ = ["HybridClusterMemory", "InstanceClusterMemory"]


class HybridClusterMemory(Bank):
    """A hard and a mean row for each cluster (CMhybrid).

    Parameters
    ----------
    rows : Tensor of shape (2C, D)
        First rows, hard ones before mean ones; used as they are.
    temperature : float, default 0.05
        tau.
    momentum : float, default 0.1
        Weight m of the old row.
    weight : float, default 0.5
        w, 0 to 1.
    reading : {"published", "intended"}, default "published"
        Which of the two losses.
    smoothing : float, default 0
        Label smoothing, see :func:`reid.memory.smoothing.cross_entropy`.
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        temperature: float = 0.05,
        momentum: float = 0.1,
        weight: float = 0.5,
        reading: Literal["published", "intended"] = "published",
        smoothing: float = 0.0,
    ) -> None:
        if len(rows) % 2:
            raise ValueError(f"rows has {len(rows)} rows: must be even, a hard and a mean one for each cluster")
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"weight={weight}: must lie in 0..1")
        if reading not in ("published", "intended"):
            raise ValueError(f"reading={reading!r}: must be published or intended")
        super().__init__(rows, len(rows) // 2, temperature=temperature, momentum=momentum)
        self.weight = weight
        self.reading = reading
        self.smoothing = smoothing

    @classmethod
    def from_means(cls, features: Tensor, labels: Tensor, **settings: Any) -> HybridClusterMemory:
        """Make a memory whose rows both start as the unit-length mean of the features (N, D) of their cluster.

        The labels are 0..C-1, each of them present; `settings` are those of the class. Raises ValueError if a label is
        negative, a cluster has no sample, or a feature is not finite.
        """
        return cls(class_rows(features, labels).repeat(2, 1), **settings)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted sum of both cross-entropies for features (B, D) and clusters (B,)."""
        self.check(x, labels)
        hard, mean = self.products(x).split(self.n_classes, dim=1)  # (B, C) each
        mean_weight = (1.0 - self.weight) * (self.weight if self.reading == "published" else 1.0)
        return self.weight * cross_entropy(hard, labels, self.smoothing) + mean_weight * cross_entropy(
            mean, labels, self.smoothing
        )

    @torch.no_grad()
    def update(self, x: Tensor, labels: Tensor) -> None:
        """Mix the hardest member into the hard row and the mean of the members into the mean row of each cluster.

        Call it after the backward pass, with the features (B, D) of the network or of its teacher. Raises ValueError
        if shapes or clusters do not fit, or a feature is not finite (the memory is then unchanged).
        """
        x = self.take(x, labels)
        present, group = labels.unique(return_inverse=True)
        hardest = first_argmin((x * self.memory[labels]).sum(1), group, len(present))
        rows = torch.cat([present, present + self.n_classes])
        new = torch.cat([x[hardest], group_means(x, group, len(present))])
        self.memory[rows] = mix_rows(self.memory[rows], new, self.momentum)


class InstanceClusterMemory(Bank):
    """A centroid and K instances for each cluster (CMhybrid_v2).

    Parameters
    ----------
    rows : Tensor of shape ((K + 1) C, D)
        First rows: centroids, then the first instance of each cluster, then the second, ...; used as they are.
    n_classes : int
        Number of clusters C; must divide the number of rows.
    temperature, momentum, smoothing
        As for `HybridClusterMemory`.
    weight : float, default 0.5
        w, the centroids' part of the loss, 0 to 1.
    """

    def __init__(
        self,
        rows: Tensor,
        n_classes: int,
        *,
        temperature: float = 0.05,
        momentum: float = 0.1,
        weight: float = 0.5,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(rows, n_classes, temperature=temperature, momentum=momentum)
        if len(rows) % n_classes or len(rows) == n_classes:
            raise ValueError(f"rows has {len(rows)} rows: must be (K + 1) x n_classes={n_classes}, K at least 1")
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"weight={weight}: must lie in 0..1")
        self.n_instances = len(rows) // n_classes - 1
        self.weight = weight
        self.smoothing = smoothing

    @classmethod
    def from_samples(
        cls, features: Tensor, labels: Tensor, n_instances: int, rng: np.random.Generator, **settings: Any
    ) -> InstanceClusterMemory:
        """Make a memory of unit cluster means and `n_instances` random members of each cluster, drawn with replacement.

        Parameters
        ----------
        features : Tensor of shape (N, D)
            Unit features.
        labels : int64 Tensor of shape (N,)
            Clusters 0..C-1, each of them present.
        n_instances : int
            Instances K of a cluster.
        rng : numpy.random.Generator
            Draws the members.
        **settings
            Those of the class.
        """
        if n_instances < 1:
            raise ValueError(f"n_instances={n_instances}: must be at least 1")
        centroids = class_rows(features, labels)
        order = torch.argsort(labels, stable=True).cpu().numpy()
        sizes = torch.bincount(labels).cpu().numpy()
        starts = np.cumsum(sizes) - sizes
        drawn = order[starts + rng.integers(sizes, size=(n_instances, len(sizes)))]  # (K, C)
        instances = features[torch.from_numpy(drawn.ravel()).to(features.device)].float()
        return cls(torch.cat([centroids, instances]), len(centroids), **settings)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return w CE(centroids) + (1 - w) CE(instances) for features (B, D) and clusters (B,)."""
        self.check(x, labels)
        z = self.products(x).view(len(x), self.n_instances + 1, self.n_classes)
        instances = z[:, 1:].amax(1)  # (B, C)
        own = labels[:, None, None].expand(-1, self.n_instances + 1, 1)
        hardest = z.gather(2, own)[:, 1:, 0].amin(1)  # (B,)
        instances = instances.scatter(1, labels[:, None], hardest[:, None])
        return self.weight * cross_entropy(z[:, 0], labels, self.smoothing) + (1.0 - self.weight) * cross_entropy(
            instances, labels, self.smoothing
        )

    @torch.no_grad()
    def update(self, x: Tensor, labels: Tensor) -> None:
        """Overwrite the first instances of each cluster by its members in batch order, and mix their mean in.

        Members beyond the K-th find no place among the instances; they count in the mean. Call it after the backward
        pass, with the features (B, D) of the network or of its teacher. Raises ValueError if shapes or clusters do not
        fit, or a feature is not finite (the memory is then unchanged).
        """
        x = self.take(x, labels)
        present, group = labels.unique(return_inverse=True)
        means = group_means(x, group, len(present))
        self.memory[present] = mix_rows(self.memory[present], means, self.momentum)
        visit = occurrence(labels)
        placed = visit < self.n_instances
        self.memory[(labels + (visit + 1) * self.n_classes)[placed]] = x[placed]
