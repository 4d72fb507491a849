r"""The memory of 3C: one unit row a cluster, cameras in the loss and in the choice of what is mixed in.

    u_b = n(output_b)      z_b = M u_b / T      CE_b = -log softmax(z_b)_{y_b}
    loss = mean_b W_{y_b} CE_b,   W = 1 without camera entropy (CIE); with it, over the Y clusters of the batch,
    W_y = Y e^{H_y} / sum e^{H_y'},   H_y = -sum_c p_y(c) log2 p_y(c),   p_y(c) = share of y's samples from camera c

H is in bits, repeated samples count, and W carries no gradient. With upd(y, f): M_y <- n(m M_y + (1 - m) f), m the
weight of the old row, G the samples of cluster y and one camera, g_G = n(mean of u over G), and "hardest" the smallest
product with the row before the step:

    =============  ================================================================================================
    rule           for each cluster y of the batch
    =============  ================================================================================================
    cm             upd(y, u_b) for every b in batch order
    cm_hard        upd(y, the hardest u_b)
    tccl_camera    upd(y, the hardest g_G)
    hd_camera      upd(y, the u_b of largest r s / (r + s)), s = u_b . g_G + 1, r = 1 - u_b . M_y (CHD)
    cm_camera      upd(y, the first u_b of each G), in the order in which the cameras appear
    cm_hard_camera upd(y, the hardest u_b of each G), in the same order
    =============  ================================================================================================

On ties the first sample wins, and the group that appears first. A camera of -1 (unknown) is a camera like any other.

Harmonic discrepancy clustering, camera information entropy: arXiv 2408.09464, Neurocomputing 641 (2025) 130368.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from reid import processes
from reid.memory.rows import Bank, class_rows, first_argmin, group_means, mix_in_order

__all__ = ["CameraMemory", "Rule", "camera_entropy", "camera_weights"]

Rule = Literal["cm", "cm_hard", "tccl_camera", "hd_camera", "cm_camera", "cm_hard_camera"]


class CameraMemory(Bank):
    """One row a cluster, with the loss and the update rules of 3C.

    Parameters
    ----------
    rows : Tensor of shape (C, D)
        First rows; normalised, so that centres of clusters may be given.
    rule : str, default "hd_camera"
        What an update mixes in, see the table of the module.
    temperature : float, default 0.05
        T.
    momentum : float, default 0.1
        Weight m of the old row.
    entropy : bool, default False
        Weigh the samples of the loss by the camera entropy of their cluster (CIE).
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        rule: Rule = "hd_camera",
        temperature: float = 0.05,
        momentum: float = 0.1,
        entropy: bool = False,
    ) -> None:
        if rule not in get_args(Rule):
            raise ValueError(f"rule={rule!r}: must be one of {', '.join(get_args(Rule))}")
        super().__init__(rows, len(rows), temperature=temperature, momentum=momentum)
        self.memory = functional.normalize(self.memory, dim=1, eps=1e-12)
        self.rule = rule
        self.entropy = entropy

    @classmethod
    def from_means(cls, features: Tensor, labels: Tensor, **settings: Any) -> CameraMemory:
        """Make a memory whose row c is the unit-length mean of the features (N, D) with label c.

        The labels are 0..C-1, each of them present; `settings` are those of the class. Raises ValueError if a label is
        negative, a cluster has no sample, or a feature is not finite.
        """
        return cls(class_rows(features, labels), **settings)

    def loss(self, x: Tensor, labels: Tensor, camid: Tensor) -> Tensor:
        """Return the cross-entropy against all rows, weighted by camera entropy if `entropy`; a scalar.

        Parameters
        ----------
        x : Tensor of shape (B, D)
            Output of the network; normalised here.
        labels, camid : int64 Tensor of shape (B,)
            Clusters and cameras.
        """
        self.check(x, labels)
        self._check_cameras(labels, camid)
        z = self.products(functional.normalize(x.to(self.memory.dtype), dim=1, eps=1e-12))
        if not self.entropy:
            return functional.cross_entropy(z, labels)
        # Y and the entropies are those of the whole batch, also where this process has a share of it.
        weights = processes.share(camera_weights(processes.gather(labels), processes.gather(camid)))
        return (weights * functional.cross_entropy(z, labels, reduction="none")).mean()

    @torch.no_grad()
    def update(self, x: Tensor, labels: Tensor, camid: Tensor) -> None:
        """Mix the batch into the rows by the memory's rule; call it after the backward pass.

        Parameters
        ----------
        x, labels, camid
            As for `loss`.

        Raises
        ------
        ValueError
            If shapes or clusters do not fit, or a feature is not finite (the memory is then unchanged).
        """
        u = functional.normalize(self.take(x, labels), dim=1, eps=1e-12)
        self._check_cameras(labels, camid)
        if not len(u):
            return
        if self.rule == "cm":
            rows, new = labels, u
        elif self.rule == "cm_hard":
            rows, cluster = labels.unique(return_inverse=True)
            new = u[first_argmin((u * self.memory[labels]).sum(1), cluster, len(rows))]
        else:
            rows, new = self._from_cameras(u, labels, camid)
        mix_in_order(self.memory, rows, new, self.momentum)

    def _from_cameras(self, u: Tensor, labels: Tensor, camid: Tensor) -> tuple[Tensor, Tensor]:
        """Rows to visit and what to mix in, in order, for the rules that look at cameras."""
        first, group = _camera_groups(labels, camid)
        group_label = labels[first]
        hardness = (u * self.memory[labels]).sum(1)  # (B,) small = hard
        if self.rule == "cm_camera":
            return group_label, u[first]
        if self.rule == "cm_hard_camera":
            return group_label, u[first_argmin(hardness, group, len(first))]
        rows, cluster = group_label.unique(return_inverse=True)
        centres = functional.normalize(group_means(u, group, len(first)), dim=1, eps=1e-12)  # (G, D)
        if self.rule == "tccl_camera":
            return rows, centres[first_argmin((centres * self.memory[group_label]).sum(1), cluster, len(rows))]
        s = (u * centres[group]).sum(1) + 1.0
        r = 1.0 - hardness
        discrepancy = r * s / (r + s).clamp_min(1e-12)  # (B,)
        best = first_argmin(-discrepancy, group, len(first))
        return rows, u[best[first_argmin(-discrepancy[best], cluster, len(rows))]]

    @staticmethod
    def _check_cameras(labels: Tensor, camid: Tensor) -> None:
        if camid.shape != labels.shape:
            raise ValueError(f"camid has shape {tuple(camid.shape)}: must be ({len(labels)},), one camera a row of x")


def camera_entropy(labels: Tensor, camid: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy of the cameras of each cluster of a batch.

    Parameters
    ----------
    labels, camid : int64 Tensor of shape (B,)
        Clusters and cameras.

    Returns
    -------
    present : int64 Tensor of shape (Y,)
        Clusters of the batch, rising.
    bits : float32 Tensor of shape (Y,)
        -sum_c p log2 p of each.

    Examples
    --------
    >>> import torch
    >>> present, bits = camera_entropy(torch.tensor([4, 4, 4, 4, 1]), torch.tensor([0, 0, 2, 3, 0]))
    >>> present.tolist(), bits.tolist()
    ([1, 4], [0.0, 1.5])
    """
    present, cluster, sizes = labels.unique(return_inverse=True, return_counts=True)
    first, group = _camera_groups(labels, camid)
    p = torch.bincount(group) / sizes[cluster[first]]
    bits = torch.zeros(len(present), device=labels.device).index_add_(0, cluster[first], -p * p.log2())
    return present, bits + 0.0  # no negative zero


def camera_weights(labels: Tensor, camid: Tensor) -> Tensor:
    """Weight of each sample (B,) float32 by the camera entropy of its cluster; over the clusters the mean is 1.

    Examples
    --------
    >>> import torch
    >>> labels, camid = torch.tensor([0] * 4 + [1] * 4 + [2] * 4), torch.tensor([0, 0, 1, 2] + [0] * 4 + [0, 0, 1, 1])
    >>> [round(w, 4) for w in camera_weights(labels, camid)[::4].tolist()]
    [1.6396, 0.3659, 0.9945]
    """
    present, bits = camera_entropy(labels, camid)
    weights = len(present) * bits.softmax(0)
    return weights[torch.searchsorted(present, labels)]


def _camera_groups(labels: Tensor, camid: Tensor) -> tuple[Tensor, Tensor]:
    """Number the (cluster, camera) pairs of a batch by their first appearance: (first position (G,), group (B,))."""
    pairs, number = torch.stack([labels, camid], 1).unique(dim=0, return_inverse=True)
    n = len(labels)
    position = torch.arange(n, device=labels.device)
    first = torch.full((len(pairs),), n, device=labels.device).scatter_reduce(0, number, position, "amin")
    first, order = first.sort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=labels.device)
    return first, rank[number]
