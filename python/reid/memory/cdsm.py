r"""The memories of CDSM: a centre and M marginal rows a cluster, fed by a teacher; and a bank it is compared with.

Features are unit and taken as they are: x of the student, e of the teacher. Row c is the centre of cluster c, c + kC
its marginal row k = 1..M; tau is the temperature, m the weight of the old row, CE(z) the mean cross-entropy of z.

`DiversityMemory` (CMhybrid_v5; without `reliable` CMhybrid_v4)::

    g_bc = mean over k of x_b . marginal(c, k) if c = y_b, else max over k
    loss = (1 - w) CE(x . M_centre / tau) + w CE(g / tau)

and for the members of each cluster in the batch, with D their Euclidean distances and mu_i the mean of row i of D
(D_ii = 1e-6 counts)::

    Sel = {the member of largest mu}; then by falling mu: i joins if D_is >= mu_s for every s in Sel
          and i is reliable, until |Sel| = M
    marginal row k <- m row + (1 - m) e of the k-th of Sel in batch order, for k <= |Sel|
    centre         <- m row + (1 - m) e of the member of smallest mu (the medoid)

Rows are unit at the start and not normalised again. `SlotMemory` (CMhybrid_v3)::

    loss = sum over k of CE(x . slot_k / tau)      slot (y, k) <- n(m row + (1 - m) e of the k-th member of y)

The plain banks (CM, CM-hard, CMhybrid, CMhybrid_v2) are `ClusterMemory(..., normalize=False)` and those of
:mod:`reid.memory.hhcl`, updated with e.

Cluster-aware diversity samples mining (CDSM), SMC 2022.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reid.memory.rows import Bank, class_means, mix_rows, occurrence

__all__ = ["DiversityMemory", "SlotMemory", "chunk_means"]


class DiversityMemory(Bank):
    """A centre and M marginal rows for each cluster.

    Parameters
    ----------
    rows : Tensor of shape ((M + 1) C, D)
        First rows: centres, then the first marginal row of each cluster, then the second, ...; used as they are.
    n_classes : int
        Number of clusters C; must divide the number of rows.
    temperature : float, default 0.05
        tau.
    momentum : float, default 0.05
        Weight m of the old row.
    weight : float, default 0.5
        w, the marginal rows' part of the loss, 0 to 1.
    smoothing : float, default 0
        Plain label smoothing of both cross-entropies.
    """

    def __init__(
        self,
        rows: Tensor,
        n_classes: int,
        *,
        temperature: float = 0.05,
        momentum: float = 0.05,
        weight: float = 0.5,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(rows, n_classes, temperature=temperature, momentum=momentum)
        if len(rows) % n_classes or len(rows) == n_classes:
            raise ValueError(f"rows has {len(rows)} rows: must be (M + 1) x n_classes={n_classes}, M at least 1")
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"weight={weight}: must lie in 0..1")
        self.n_marginal = len(rows) // n_classes - 1
        self.weight = weight
        self.smoothing = smoothing

    @classmethod
    def from_core(cls, features: Tensor, labels: Tensor, n_marginal: int = 4, **settings: Any) -> DiversityMemory:
        """Make a memory of the core samples of DBSCAN.

        The centre is the mean of a cluster's core samples, its marginal rows are their :func:`chunk_means`; all are
        then normalised.

        Parameters
        ----------
        features : Tensor of shape (N, D)
            Teacher features of the core samples only, in the order of the data set.
        labels : int64 Tensor of shape (N,)
            Their clusters 0..C-1, each of them present.
        n_marginal : int, default 4
            Marginal rows M of a cluster.
        **settings
            Those of the class.
        """
        centres = class_means(features, labels)
        rows = torch.cat([centres, chunk_means(features, labels, n_marginal)])
        return cls(functional.normalize(rows, dim=1, eps=1e-12).float(), len(centres), **settings)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the centre loss mixed with the margin loss for student features (B, D) and clusters (B,)."""
        self.check(x, labels)
        z = self.products(x).view(len(x), self.n_marginal + 1, self.n_classes)
        margin = z[:, 1:].max(1).values  # (B, C)
        own = labels[:, None, None].expand(-1, self.n_marginal + 1, 1)
        mean = z.gather(2, own)[:, 1:, 0].mean(1)  # (B,)
        margin = margin.scatter(1, labels[:, None], mean[:, None])
        centre_loss, margin_loss = (
            functional.cross_entropy(logits, labels, label_smoothing=self.smoothing) for logits in (z[:, 0], margin)
        )
        return (1.0 - self.weight) * centre_loss + self.weight * margin_loss

    @torch.no_grad()
    def update(self, e: Tensor, labels: Tensor, reliable: Tensor | None = None) -> None:
        """Mine the batch and mix what was found into the rows; call it after the backward pass.

        Parameters
        ----------
        e : Tensor of shape (B, D)
            Teacher features.
        labels : int64 Tensor of shape (B,)
            Clusters.
        reliable : bool Tensor of shape (B,), optional
            Which samples may become marginal; the first one of a cluster is not asked. Default: all (CMhybrid_v4). See
            :meth:`reid.clustering.reliability.DiversityScores.reliable`.

        Raises
        ------
        ValueError
            If shapes or clusters do not fit, or a feature is not finite (the memory is then unchanged).
        """
        e = self.take(e, labels, name="labels")
        if reliable is not None and reliable.shape != labels.shape:
            raise ValueError(f"reliable has shape {tuple(reliable.shape)}: must be ({len(e)},), one entry a row of e")
        if not len(e):
            return
        marginal, medoid = mine_diversity(e, labels, self.n_marginal, reliable)
        # Selected members of a cluster are numbered in batch order: the first goes to marginal row 1.
        chosen = marginal.nonzero()[:, 0]
        slot = occurrence(labels[chosen]) + 1
        target = torch.cat([labels[chosen] + slot * self.n_classes, labels[medoid]])
        new = e[torch.cat([chosen, medoid])]
        self.memory[target] = self.momentum * self.memory[target] + (1.0 - self.momentum) * new


class SlotMemory(Bank):
    """M rows a cluster, each a bank of its own (CMhybrid_v3).

    Parameters
    ----------
    rows : Tensor of shape (M C, D)
        First rows: the first of each cluster, then the second, ...; used as they are.
    n_classes : int
        Number of clusters C; must divide the number of rows.
    temperature : float, default 0.05
        tau.
    momentum : float, default 0.05
        Weight m of the old row.
    """

    def __init__(self, rows: Tensor, n_classes: int, *, temperature: float = 0.05, momentum: float = 0.05) -> None:
        super().__init__(rows, n_classes, temperature=temperature, momentum=momentum)
        if len(rows) % n_classes:
            raise ValueError(f"rows has {len(rows)} rows: must be M x n_classes={n_classes}")
        self.n_slots = len(rows) // n_classes

    @classmethod
    def from_chunks(cls, features: Tensor, labels: Tensor, n_slots: int = 4, **settings: Any) -> SlotMemory:
        """Make a memory of the normalised :func:`chunk_means` of all members (N, D); `settings` as for the class."""
        rows = functional.normalize(chunk_means(features, labels, n_slots), dim=1, eps=1e-12).float()
        return cls(rows, len(rows) // n_slots, **settings)

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of all slots for student features (B, D) and clusters (B,)."""
        self.check(x, labels)
        z = self.products(x).view(len(x) * self.n_slots, self.n_classes)
        return self.n_slots * functional.cross_entropy(z, labels.repeat_interleave(self.n_slots))

    @torch.no_grad()
    def update(self, e: Tensor, labels: Tensor) -> None:
        """Mix the k-th member of each cluster into its k-th row; members beyond the last row are left out."""
        e = self.take(e, labels)
        slot = occurrence(labels)
        placed = slot < self.n_slots
        rows = (labels + slot * self.n_classes)[placed]
        self.memory[rows] = mix_rows(self.memory[rows], e[placed], self.momentum)


def chunk_means(features: Tensor, labels: Tensor, n_chunks: int) -> Tensor:
    """Means of consecutive parts of each cluster.

    The members of a cluster, in their order, are cut into parts of ceil(size / n_chunks); the last may be shorter, and
    there may be fewer parts than `n_chunks`: the mean of the whole cluster stands for one that is missing.

    Parameters
    ----------
    features : Tensor of shape (N, D)
        Finite.
    labels : int64 Tensor of shape (N,)
        Clusters 0..C-1, each present.
    n_chunks : int
        Parts M of a cluster, at least 1.

    Returns
    -------
    float64 Tensor of shape (M C, D)
        Row c + kC is the mean of part k of cluster c, not normalised.
    """
    if n_chunks < 1:
        raise ValueError(f"n_chunks={n_chunks}: must be at least 1")
    whole = class_means(features, labels)
    size = torch.bincount(labels)
    length = (size + n_chunks - 1) // n_chunks
    row = labels + occurrence(labels) // length[labels] * len(size)
    sums = torch.zeros(n_chunks * len(size), features.shape[1], dtype=torch.float64, device=features.device)
    sums.index_add_(0, row, features.double())
    counts = torch.bincount(row, minlength=len(sums))[:, None]
    return torch.where(counts > 0, sums / counts.clamp_min(1), whole.repeat(n_chunks, 1))


def mine_diversity(e: Tensor, labels: Tensor, n_marginal: int, reliable: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Choose the marginal members and the medoid of each cluster of a batch.

    Parameters
    ----------
    e : Tensor of shape (B, D)
        Features, B at least 1.
    labels : int64 Tensor of shape (B,)
        Clusters.
    n_marginal : int
        Most members chosen of a cluster.
    reliable : bool Tensor of shape (B,), optional
        Which members may be chosen after the first.

    Returns
    -------
    marginal : bool Tensor of shape (B,)
        The chosen members.
    medoid : int64 Tensor of shape (G,)
        Position of the medoid of each cluster of the batch, by rising cluster.

    Notes
    -----
    Ties of mu go to the member that comes first. Clusters are handled side by side, one member of each after the other.
    """
    present, group, sizes = labels.unique(return_inverse=True, return_counts=True)
    place = occurrence(labels)
    n_groups, width = len(present), int(sizes.max())
    position = torch.full((n_groups, width), -1, device=e.device)  # batch position of member t of cluster g
    position[group, place] = torch.arange(len(e), device=e.device)
    there = position >= 0
    # float64: distances of copies are zero, not rounding, so that a choice never hangs on the order of a sum.
    members = e.double()[position.clamp_min(0)]  # (G, T, D)
    square = members.square().sum(2)
    d = square[:, :, None] + square[:, None, :] - 2.0 * members @ members.transpose(1, 2)
    d = d.clamp_min(1e-12).sqrt()  # (G, T, T)
    mu = (d * there[:, None, :]).sum(2) / sizes[:, None]
    medoid = mu.masked_fill(~there, torch.inf).argmin(1)
    ranked = mu.masked_fill(~there, -torch.inf).argsort(dim=1, descending=True, stable=True)  # (G, T)
    allowed = there if reliable is None else there & reliable[position.clamp_min(0)]
    far = d >= mu[:, None, :]  # far[g, i, s]: i is at least as far from s as the members are on average
    chosen = torch.zeros_like(there)
    chosen.scatter_(1, ranked[:, :1], True)
    for t in range(1, width):
        i = ranked[:, t : t + 1]  # (G, 1)
        from_all = (far.gather(1, i[:, :, None].expand(-1, -1, width))[:, 0] | ~chosen).all(1, keepdim=True)
        joins = from_all & allowed.gather(1, i) & (chosen.sum(1, keepdim=True) < n_marginal)
        chosen |= torch.zeros_like(chosen).scatter_(1, i, joins)
    marginal = torch.zeros_like(labels, dtype=torch.bool)
    marginal[position[chosen]] = True
    return marginal, position.gather(1, medoid[:, None])[:, 0]
