"""Learning rates as functions of the epoch, which the reference code calls schedulers."""

from __future__ import annotations

from typing import Literal

__all__ = ["step_lr"]


def step_lr(
    epoch: int,
    base: float,
    *,
    step: int = 20,
    gamma: float = 0.1,
    warmup: int = 0,
    warmup_start: float = 0.1,
    warmup_version: Literal["v1", "v2"] = "v1",
    warmup_scale: float = 1.0,
) -> float:
    """Learning rate that falls by `gamma` every `step` epochs, after a warm-up where there is one.

    Parameters
    ----------
    epoch : int
        From 0.
    base : float
        Rate after the warm-up.
    step : int, default 20
        Epochs between two falls; the first comes `step` epochs after the warm-up.
    gamma : float, default 0.1
        Factor of a fall.
    warmup : int, default 0
        Epochs W of the warm-up: base (s (1 - a) + a), s = `warmup_start`, a = epoch / W.
    warmup_start : float, default 0.1
        Part of `base` in epoch 0.
    warmup_version : {"v1", "v2"}, default "v1"
        "v2" of 3C: a = (epoch + 1) / W but in epoch 0, and times `warmup_scale`.
    warmup_scale : float, default 1.0
        Only for "v2".

    Examples
    --------
    >>> [round(step_lr(e, 1.0, step=2, warmup=2), 3) for e in range(6)]
    [0.1, 0.55, 1.0, 1.0, 0.1, 0.1]
    """
    if epoch >= warmup:
        return base * gamma ** ((epoch - warmup) // step)
    if warmup_version == "v1":
        a, scale = epoch / warmup, 1.0
    else:
        a, scale = ((epoch + 1) / warmup if epoch else 0.0), warmup_scale
    return base * scale * (warmup_start * (1.0 - a) + a)
