"""Rows of a memory bank: what the families share.

Everywhere `n(u) = u / |u|`, and the momentum m is the weight of the **old** row. A row that would lose its direction
(new norm below 1e-12, as when it meets its antipode) keeps its old value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "Bank", "class_means", "class_rows", "first_argmin", "group_means", "mix_in_order", "mix_rows", "occurrence",
]  # fmt: skip


class Bank(nn.Module):
    """Rows that a batch is compared with: the buffer, its checks and the product with a batch.

    Parameters
    ----------
    rows : Tensor of shape (R, D)
        First rows, copied as float32; used as they are.
    n_classes : int
        Number of classes C a label may name.
    temperature : float
        Divides the products, above 0.
    momentum : float
        Weight of the old row in an update, 0 <= momentum < 1.
    """

    memory: Tensor

    def __init__(self, rows: Tensor, n_classes: int, *, temperature: float, momentum: float) -> None:
        super().__init__()
        if rows.ndim != 2 or 0 in rows.shape:
            raise ValueError(f"rows has shape {tuple(rows.shape)}: must be (rows, features), both above 0")
        if not bool(torch.isfinite(rows).all()):
            raise ValueError("rows holds values that are not finite")
        if not 1 <= n_classes <= len(rows):
            raise ValueError(f"n_classes={n_classes}: must lie in 1..{len(rows)}, the number of rows")
        if not temperature > 0:
            raise ValueError(f"temperature={temperature}: must be above 0")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum={momentum}: must be at least 0 and below 1")
        self.n_classes = n_classes
        self.temperature = temperature
        self.momentum = momentum
        self.register_buffer("memory", rows.detach().to(torch.float32, copy=True))  # (R, D)

    def products(self, x: Tensor) -> Tensor:
        """Return x . memory / temperature for features (B, D): float32 of shape (B, R), also under autocast."""
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x.to(self.memory.dtype), self.memory) / self.temperature

    def check(self, x: Tensor, labels: Tensor, *, name: str = "labels", below: int | None = None) -> None:
        """Raise ValueError unless x is (B, D) and labels are (B,) in 0..C-1 (or below `below`)."""
        n_features = self.memory.shape[1]
        below = self.n_classes if below is None else below
        if x.ndim != 2 or x.shape[1] != n_features:
            raise ValueError(f"x has shape {tuple(x.shape)}: must be (B, {n_features})")
        if labels.shape != x.shape[:1]:
            raise ValueError(f"{name} has shape {tuple(labels.shape)}: must be ({len(x)},), one entry a row of x")
        if len(labels):
            low, high = torch.stack(labels.aminmax()).tolist()  # one wait for the device, not two
            if low < 0 or high >= below:
                raise ValueError(f"{name} holds {low if low < 0 else high}: must lie in 0..{below - 1}")

    def take(self, x: Tensor, labels: Tensor, *, name: str = "labels", below: int | None = None) -> Tensor:
        """Check a batch for an update and return its features detached, in the memory's dtype; all must be finite."""
        self.check(x, labels, name=name, below=below)
        x = x.detach().to(self.memory.dtype)
        finite = torch.isfinite(x).all(dim=1)
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            raise ValueError(f"x[{row}] is not finite: the memory was not changed; lower the learning rate")
        return x


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Mean of the rows of each class, summed in float64.

    Parameters
    ----------
    features : Tensor of shape (N, D)
        Finite.
    labels : int Tensor of shape (N,)
        0..C-1, each present.

    Returns
    -------
    float64 Tensor of shape (C, D)
        Row c is the mean of the rows with label c; not normalised.

    Raises
    ------
    ValueError
        If shapes do not fit, a label is negative, a class has no sample, or a feature is not finite.
    """
    if features.ndim != 2 or not len(features) or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features {tuple(features.shape)} and labels {tuple(labels.shape)}: must be (N, D), (N,), N > 0"
        )
    finite = torch.isfinite(features).all(dim=1)
    if not bool(finite.all()):
        raise ValueError(f"features[{int((~finite).nonzero()[0])}] is not finite")
    if int(labels.min()) < 0:
        raise ValueError(f"labels holds {int(labels.min())}: leave out samples without a class")
    counts = torch.bincount(labels)  # (C,)
    if bool((counts == 0).any()):
        raise ValueError(f"labels: class {int((counts == 0).nonzero()[0])} has no sample; number the classes from 0")
    sums = torch.zeros(len(counts), features.shape[1], dtype=torch.float64, device=features.device)
    sums.index_add_(0, labels, features.double())
    return sums / counts[:, None]


def class_rows(features: Tensor, labels: Tensor) -> Tensor:
    """Unit-length class means, float32 (C, D): the first rows of most banks; errors as of :func:`class_means`."""
    return functional.normalize(class_means(features, labels), dim=1, eps=1e-12).float()


def occurrence(labels: Tensor) -> Tensor:
    """For each entry, how many equal ones stand before it: [3, 5, 3, 3] -> [0, 0, 1, 2]."""
    order = torch.argsort(labels, stable=True)
    position = torch.arange(len(labels), device=labels.device)
    sorted_labels = labels[order]
    starts = torch.ones_like(sorted_labels, dtype=torch.bool)
    starts[1:] = sorted_labels[1:] != sorted_labels[:-1]
    first = torch.where(starts, position, 0).cummax(0).values
    visit = torch.empty_like(position)
    visit[order] = position - first
    return visit


def first_argmin(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Position of the smallest value of each group, the first one on ties.

    Parameters
    ----------
    values : Tensor of shape (B,)
        Finite.
    group : int64 Tensor of shape (B,)
        Group of each value, 0..n_groups-1, each present.
    n_groups : int
        Number of groups.

    Returns
    -------
    int64 Tensor of shape (n_groups,)
        Positions in `values`.
    """
    lowest = values.new_full((n_groups,), torch.inf).scatter_reduce(0, group, values, "amin")
    n = len(values)
    position = torch.arange(n, device=values.device)
    candidate = torch.where(values == lowest[group], position, n)
    return torch.full((n_groups,), n, device=values.device).scatter_reduce(0, group, candidate, "amin")


def group_means(x: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Mean of the rows (B, D) of each group 0..n_groups-1, each present: (n_groups, D); summed in float64."""
    sums = torch.zeros(n_groups, x.shape[1], dtype=torch.float64, device=x.device).index_add_(0, group, x.double())
    return (sums / torch.bincount(group, minlength=n_groups)[:, None]).to(x.dtype)


def mix_rows(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """Return n(momentum old + (1 - momentum) new) row by row, or the old row where that has no direction."""
    mixed = momentum * old + (1.0 - momentum) * new
    norm = mixed.norm(dim=1, keepdim=True)
    return torch.where(norm < 1e-12, old, mixed / norm.clamp_min(1e-12))


def mix_in_order(memory: Tensor, rows: Tensor, x: Tensor, momentum: float) -> None:
    """Change memory in place: row[r_b] <- n(momentum row[r_b] + (1 - momentum) x_b), one b after the other.

    Different rows do not touch each other, so all first visits are done at once, then all second ones, and so on:
    as many steps as the most visited row has visits, and one wait for the device.

    Parameters
    ----------
    memory : Tensor of shape (R, D)
        Changed in place.
    rows : int64 Tensor of shape (B,)
        Row that each sample visits; repeated ones are visited repeatedly, in this order.
    x : Tensor of shape (B, D)
        What is mixed in.
    momentum : float
        Weight of the old row.
    """
    visit = occurrence(rows)  # (B,)
    sizes = torch.zeros_like(visit).index_add_(0, visit, torch.ones_like(visit)).tolist()
    start = 0
    order = torch.argsort(visit, stable=True)
    for size in sizes:
        if size == 0:
            break
        now = order[start : start + size]
        start += size
        r = rows[now]
        memory.index_copy_(0, r, mix_rows(memory[r], x[now], momentum))
