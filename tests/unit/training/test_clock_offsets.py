"""A run reads its data with the user's clock offsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reid.methods.buc import BucConfig
from reid.training.train import _read


def test_offsets_are_applied_after_reading(tmp_path: Path, tiny_settings: dict[str, Any]) -> None:
    table = tmp_path / "offsets.csv"
    table.write_text("camid,offset_seconds\n1,0\n2,100\n")
    plain = _read(BucConfig(**tiny_settings), tmp_path)
    moved = _read(BucConfig(**tiny_settings, clock_offsets=str(table)), tmp_path)
    by = moved.train.start - plain.train.start
    np.testing.assert_allclose(by, np.where(plain.train.camid == 2, 100, 0), atol=1e-9)
    assert set(moved.train.clock[np.isin(moved.train.camid, (1, 2))]) == {0}
    assert "clock offsets" in moved.notes[-1]
    assert moved.fingerprint() != plain.fingerprint()
