"""Triplets mined in a batch: of each row the farthest of its own cluster and the nearest of all others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Hardest", "distances", "hardest", "soft_margin_triplet", "soft_triplet", "weight_adaptive_triplet"]

FAR = 9999999.0
"""What is added to the distance of rows that must not be chosen."""


class Hardest(NamedTuple):
    """The hardest triplet of each row."""

    positive: Tensor
    """(B,) distance to the farthest row of the same label, itself counted."""
    negative: Tensor
    """(B,) distance to the nearest row of another label; beyond `FAR` when there is none."""
    positive_index: Tensor
    negative_index: Tensor
    """(B,) int64, which rows these are; of equally far ones the first."""


def distances(rows: Tensor) -> Tensor:
    """Euclidean distances (B, B) of all rows (B, D) in float32, at least 1e-6; no gradient where that is reached."""
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.float()
        squares = rows.square().sum(1)  # (B,)
        squared = squares[:, None] + squares[None, :] - 2.0 * rows @ rows.T
        return squared.clamp_min(1e-12).sqrt()


def hardest(distance: Tensor, labels: Tensor) -> Hardest:
    """Mine distances (B, B) of rows with labels (B,)."""
    same = labels[:, None] == labels[None, :]
    positive, positive_index = torch.where(same, distance, -1.0).max(dim=1)
    negative, negative_index = (distance + FAR * same).min(dim=1)
    return Hardest(positive, negative, positive_index, negative_index)


def soft_margin_triplet(found: Hardest) -> Tensor:
    """Mean of log(1 + exp(d_positive - d_negative))."""
    return functional.softplus(found.positive - found.negative).mean()


def weight_adaptive_triplet(found: Hardest, margin: float = 0.5, weight: float = -0.01) -> Tensor:
    """Mean of exp(weight t) t, t = max(0, d_positive - d_negative + margin) (WATL).

    With a negative weight the hardest triplets, whose labels are likely wrong, count less than their t. The factor has
    a gradient too: a triplet with t > -1 / weight is pushed the other way. Weight 0 is the usual triplet loss.
    """
    t = functional.relu(found.positive - found.negative + margin)  # (B,)
    return ((weight * t).exp() * t).mean()


def soft_triplet(found: Hardest, teacher: Tensor) -> Tensor:
    """Cross-entropy between what teacher and student think of the student's triplets.

    Of a triplet the student says softmax(d_positive, d_negative), and so does the teacher with its own distances.

    Parameters
    ----------
    found : Hardest
        Mined in the student's distances.
    teacher : Tensor of shape (B, B)
        The teacher's distances; they get no gradient.
    """
    rows = torch.arange(len(teacher), device=teacher.device)
    theirs = torch.stack([teacher[rows, found.positive_index], teacher[rows, found.negative_index]], dim=1)  # (B, 2)
    ours = torch.stack([found.positive, found.negative], dim=1)  # (B, 2)
    return functional.cross_entropy(ours, theirs.detach().softmax(dim=1))
