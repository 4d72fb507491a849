"""The teacher's weights: goldens of CDSM and MTCluster, what is left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reid.models.ema import update_teacher

GOLDEN = Path(__file__).parents[2] / "golden"


def holding(values: np.ndarray) -> nn.Module:
    module = nn.Linear(len(values), 1, bias=False)
    module.weight.data.copy_(torch.from_numpy(values)[None])
    return module


def test_golden_cdsm() -> None:
    golden = np.load(GOLDEN / "cdsm_ema.npz")
    teacher = holding(golden["student_init"])
    for student, step, after in zip(
        golden["student_per_call"], golden["global_steps"], golden["teacher_after"], strict=True
    ):
        update_teacher(teacher, holding(student), int(step), alpha=float(golden["alpha"]))
        np.testing.assert_allclose(teacher.weight.detach()[0], after, atol=1e-6, rtol=0)


def test_golden_mtcluster() -> None:
    golden = np.load(GOLDEN / "aux_total_loss_ema.npz")
    for step, after in zip(golden["ema_steps"], golden["ema_result"], strict=True):
        teacher = holding(golden["ema_teacher"])
        update_teacher(teacher, holding(golden["ema_student"]), int(step))
        np.testing.assert_allclose(teacher.weight.detach()[0], after, atol=5e-7, rtol=0)


def test_step_zero_copies_and_buffers_stay() -> None:
    teacher, student = (nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2))
    student(torch.rand(8, 3))
    before = teacher[1].running_mean.clone()
    update_teacher(teacher, student, 0)
    for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
        assert torch.equal(own, other)
        assert own is not other
    assert torch.equal(teacher[1].running_mean, before)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="step=-1"):
        update_teacher(nn.Linear(2, 2), nn.Linear(2, 2), -1)
    with pytest.raises(ValueError, match="alpha=1"):
        update_teacher(nn.Linear(2, 2), nn.Linear(2, 2), 1, alpha=1.0)
    with pytest.raises(ValueError, match="differ in bias"):
        update_teacher(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 1)
