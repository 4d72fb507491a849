"""Inputs that every function must refuse, and the one way to check that it does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class Bad:
    """One bad value: the exception it must give and words of its message."""

    name: str
    value: Any
    error: type[Exception]
    words: tuple[str, ...] = ()


def _planted(value: float, *cells: tuple[int, int]) -> np.ndarray:
    x = np.ones((600, 7), np.float32)
    for cell in cells:
        x[cell] = value
    return x


BAD_FEATURES = [
    Bad("none", None, TypeError),
    Bad("string", "features", TypeError),
    Bad("dictionary", {"a": 1}, TypeError),
    Bad("ragged", [[1.0, 2.0], [3.0]], TypeError),
    Bad("generator", (i for i in range(3)), TypeError),
    Bad("bool", np.ones((9, 3), bool), TypeError, ("bool",)),
    Bad("complex", np.ones((9, 3), complex), TypeError, ("complex128",)),
    Bad("object", np.ones((9, 3), object), TypeError, ("object",)),
    Bad("text", np.full((9, 3), "a"), TypeError, ("<U1",)),
    Bad("structured", np.zeros((9, 3), [("a", "f4")]), TypeError),
    Bad("0-d", np.float32(3.0), ValueError, ("()", "(N, D)")),
    Bad("1-d", np.zeros(5, np.float32), ValueError, ("(5,)", "(N, D)", "reshape")),
    Bad("3-d", np.zeros((2, 3, 4), np.float32), ValueError, ("(2, 3, 4)", "(N, D)")),
    Bad("no rows", np.zeros((0, 8), np.float32), ValueError, ("0 samples",)),
    Bad("no columns", np.zeros((8, 0), np.float32), ValueError, ("0 features",)),
    Bad("masked", np.ma.masked_equal(np.eye(4, dtype=np.float32), 1.0), ValueError, ("masked",)),
    Bad("nan", _planted(np.nan, (599, 6)), ValueError, ("NaN or inf", "1 row", "599")),
    Bad("inf", _planted(np.inf, (3, 0), (17, 2)), ValueError, ("NaN or inf", "2 row", "3, 17")),
    Bad("-inf", _planted(-np.inf, (0, 0)), ValueError, ("NaN or inf", "row(s) 0")),
    Bad("all nan", np.full((8, 3), np.nan), ValueError, ("8 row", "0, 1, 2, 3, 4")),
    Bad("beyond float32", _planted(1.0).astype(float) * 1e300, ValueError, ("NaN or inf",)),
    Bad("square beyond float32", _planted(1e19, (5, 1)), ValueError, ("[5]", "norm")),
    Bad("too large", np.broadcast_to(np.float64(0), (2**35, 2**20)), MemoryError, ("GB",)),
]

BAD_JOBS = [
    Bad("zero", 0, ValueError, ("n_jobs=0",)),
    Bad("negative", -1, ValueError, ("n_jobs=-1",)),
    Bad("bool", True, ValueError, ("n_jobs=True",)),
    Bad("float", 2.0, ValueError, ("n_jobs=2.0",)),
    Bad("string", "2", ValueError, ("n_jobs='2'",)),
    Bad("million", 10**6, ValueError, ("n_jobs=1000000",)),
]


def digest(x: Any) -> str | None:
    """Hash of an array's values; None for what is no array or too large."""
    if not isinstance(x, np.ndarray) or x.dtype.hasobject or x.size > 10**7:
        return None
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def assert_refused(call: Callable[[Any], Any], case: Bad, name: str) -> None:
    """`call(case.value)` raises what `case` says, in one line naming the argument; the value stays as it was."""
    before = digest(case.value)
    with pytest.raises(case.error) as caught:
        call(case.value)
    text = str(caught.value)
    assert name in text
    for word in case.words:
        assert word in text, text
    assert "\n" not in text
    assert "panicked" not in text
    assert digest(case.value) == before
