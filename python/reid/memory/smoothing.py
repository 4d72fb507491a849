"""Cross-entropy with the label smoothing of HHCL."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["cross_entropy"]


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean of -sum_c t_bc log softmax(logits_b)_c, with part of the target given to the likeliest classes.

    With C classes and k = C // 50, the target t_b holds 1 - smoothing at the label, plus smoothing / k at each of the k
    largest logits of the row, the label's own among them or not. Where k is 0 or 1 the smoothing is the usual one:
    smoothing / C at every class.

    Parameters
    ----------
    logits : Tensor of shape (B, C)
        Products over the temperature.
    labels : int64 Tensor of shape (B,)
        Classes.
    smoothing : float, default 0
        Part of the target that is given away; HHCL and CDSM: 0.1 where they smooth.
    """
    k = logits.shape[1] // 50
    if smoothing == 0 or k <= 1:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    logs = functional.log_softmax(logits, dim=1)
    favourites = torch.topk(logits.detach(), k, dim=1).indices  # (B, k)
    own = logs.gather(1, labels[:, None]).mean()
    return -(1.0 - smoothing) * own - smoothing * logs.gather(1, favourites).mean()
