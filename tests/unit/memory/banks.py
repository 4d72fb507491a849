"""What the tests of the memory banks share: goldens step by step, and the sequential rule as it is written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.memory.rows import Bank

GOLDEN = Path(__file__).parents[2] / "golden"


def load(name: str) -> dict[str, Any]:
    """The arrays of a golden; numbers as Python numbers."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: value.item() if value.ndim == 0 else value for key, value in file.items()}


def tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64) if values.dtype.kind in "iu" else values)


def replay(
    bank: Bank,
    golden: dict[str, Any],
    update: Callable[[int], None],
    *,
    labels: str = "targets",
    tolerance: float = 2e-5,
) -> None:
    """Loss and gradient of every step against the golden, the memory after `update(step)` within 2e-6."""
    steps = sum(key.startswith("loss_") for key in golden)
    assert steps >= 2
    before = tensor(golden["memory_0"])
    for s in range(steps):
        x = tensor(golden[f"inputs_{s}"]).requires_grad_()
        loss = bank.loss(x, tensor(golden[f"{labels}_{s}"]))
        loss.backward()
        assert abs(loss.item() - golden[f"loss_{s}"]) <= tolerance
        np.testing.assert_allclose(x.grad, golden[f"grad_{s}"], atol=tolerance, rtol=0)
        assert torch.equal(bank.memory, before), "the backward pass leaves the rows as they are"
        update(s)
        np.testing.assert_allclose(bank.memory, golden[f"memory_{s + 1}"], atol=2e-6, rtol=0)
        before = bank.memory.clone()


def unit(x: NDArray[Any]) -> NDArray[np.float64]:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def sequential(memory: NDArray[Any], x: NDArray[Any], rows: NDArray[Any], m: float) -> NDArray[np.float64]:
    """row <- n(m row + (1 - m) x), one sample after the other, in float64."""
    result = memory.astype(np.float64)
    for vector, r in zip(x.astype(np.float64), rows, strict=True):
        mixed = m * result[r] + (1 - m) * vector
        if np.linalg.norm(mixed) >= 1e-12:
            result[r] = unit(mixed)
    return result


def random_batch(seed: int, n: int, d: int, n_classes: int) -> tuple[Tensor, Tensor, NDArray[Any], NDArray[Any]]:
    """Unit rows and labels that repeat and leave classes out: as tensors and as arrays."""
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(n, d))).astype(np.float32)
    y = rng.choice(max(1, n_classes - 2), size=n) ** 2 % n_classes
    return torch.from_numpy(x), torch.from_numpy(y), x, y
