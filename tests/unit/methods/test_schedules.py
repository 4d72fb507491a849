"""Learning rates: goldens of 3C, the plain falls of Cluster Contrast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.methods.schedules import step_lr

GOLDEN = Path(__file__).parents[2] / "golden"


def test_golden_3c() -> None:
    golden = np.load(GOLDEN / "ccc_lr.npz")
    base, step, warmup = float(golden["base_lr"]), int(golden["lr_steps"]), int(golden["warmup_iters"])

    def rates(start: int = 0, **settings: object) -> list[float]:
        return [step_lr(e, base, step=step, warmup=warmup, **settings) for e in range(start, start + 70)]

    for ours, name in (
        (rates(), "v1"),
        (rates(warmup), "v1_resume_after_warmup"),
        (rates(warmup_version="v2"), "v2"),
        (rates(warmup_version="v2", warmup_scale=0.5), "v2_half"),
    ):
        np.testing.assert_allclose(ours, golden[name], atol=1e-12, rtol=0, err_msg=name)


def test_without_warmup() -> None:
    assert [step_lr(e, 3.5e-4) for e in (0, 19, 20, 39, 40, 59)] == pytest.approx(
        [3.5e-4, 3.5e-4, 3.5e-5, 3.5e-5, 3.5e-6, 3.5e-6]
    )
