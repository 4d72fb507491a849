"""A teacher that follows its student: the exponential moving average of the weights."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["update_teacher"]


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, step: int, *, alpha: float = 0.999) -> None:
    """Move the weights of the teacher towards those of the student.

    theta' <- a theta' + (1 - a) theta with a = min(1 - 1 / (step + 1), alpha): the plain mean of all students so far
    until a reaches `alpha`. Step 0 copies the student. Buffers stay: a teacher that runs in training mode keeps batch
    norm statistics of its own.

    Parameters
    ----------
    teacher, student : torch.nn.Module
        Networks with the same parameters; the teacher is changed in place.
    step : int
        Updates made before this one in the whole run.
    alpha : float, default 0.999
        Largest weight of the old teacher, 0 <= alpha < 1.

    Notes
    -----
    Tarvainen, Valpola: Mean teachers are better role models, NIPS 2017.

    Examples
    --------
    >>> import torch
    >>> teacher, student = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    >>> for step, value in enumerate([4.0, 2.0, 0.0]):
    ...     _ = student.weight.data.fill_(value)
    ...     update_teacher(teacher, student, step)
    >>> round(teacher.weight.item(), 4)
    2.0
    """
    if step < 0:
        raise ValueError(f"step={step}: must be at least 0")
    if not 0.0 <= alpha < 1.0:
        raise ValueError(f"alpha={alpha}: must be at least 0 and below 1")
    own, other = dict(teacher.named_parameters()), dict(student.named_parameters())
    if own.keys() != other.keys():
        raise ValueError(f"teacher and student differ in {sorted(own.keys() ^ other.keys())[0]}: must be alike")
    a = min(1.0 - 1.0 / (step + 1), alpha)
    for name, weight in own.items():
        weight.lerp_(other[name].to(weight.dtype), 1.0 - a)
