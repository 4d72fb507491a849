from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.data.samplers import Shuffled, draw_frames, draw_window

GOLDEN = Path(__file__).parents[2] / "golden"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(n=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 1000))
def test_shuffled_epochs_are_permutations(n: int, batch_size: int, seed: int) -> None:
    positions = np.arange(100, 100 + 3 * n, 3)
    sampler = Shuffled(positions, batch_size, rng(seed))
    batches = list(islice(sampler, 3 * len(sampler)))
    assert len(sampler) == max(1, n // batch_size)
    assert all(batch.shape == (batch_size,) and batch.dtype == np.int64 for batch in batches)
    for epoch in range(3):
        drawn = np.concatenate(batches[epoch * len(sampler) : (epoch + 1) * len(sampler)])
        assert set(drawn) <= set(positions)
        count = np.bincount(np.searchsorted(positions, drawn), minlength=n)
        if n >= batch_size:
            assert count.max() == 1
        else:
            assert count.max() - count.min() <= 1
        if n % batch_size == 0:
            assert sorted(drawn) == positions.tolist()


def test_shuffled_epochs_differ_and_the_seed_decides() -> None:
    first = list(islice(Shuffled(np.arange(32), 16, rng(1)), 4))
    again = list(islice(Shuffled(np.arange(32), 16, rng(1)), 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:2], first[2:])


def test_dropped_rows_come_back_in_other_epochs() -> None:
    sampler = Shuffled(np.arange(10), 4, rng())
    assert set(np.concatenate(list(islice(sampler, 40)))) == set(range(10))


def test_shuffled_keeps_its_own_positions() -> None:
    positions = np.arange(4)
    sampler = Shuffled(positions, 4, rng())
    positions[:] = 99
    assert sorted(next(iter(sampler))) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("positions", "batch_size", "message"),
    [([], 4, "at least one row"), ([1, 2], 0, "batch_size=0"), ([[1, 2]], 1, "shape")],
)
def test_shuffled_refuses(positions: list, batch_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shuffled(np.array(positions), batch_size, rng())


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    frames=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_draw_frames(counts: list[int], frames: int, seed: int) -> None:
    first = np.concatenate([[0], np.cumsum(counts)])
    index = rng(seed).integers(0, len(counts), 5)
    drawn = draw_frames(first, index, frames, rng(seed))
    assert drawn.shape == (5, frames)
    assert drawn.dtype == np.int64
    for i, row in zip(index, drawn, strict=True):
        assert (row >= first[i]).all()
        assert (row < first[i + 1]).all()
        assert (np.diff(row) >= 0).all()
        if counts[i] >= frames:
            assert len(set(row)) == frames
    assert np.array_equal(drawn, draw_frames(first, index, frames, rng(seed)))


def test_draw_frames_reaches_every_frame() -> None:
    first = np.array([0, 3, 10])
    drawn = draw_frames(first, np.full(200, 1), 1, rng())
    assert set(drawn[:, 0]) == set(range(3, 10))
    assert draw_frames(first, np.array([], dtype=np.int64), 4, rng()).shape == (0, 4)


def test_draw_frames_refuses_none() -> None:
    with pytest.raises(ValueError, match="frames=0"):
        draw_frames(np.array([0, 3]), np.array([0]), 0, rng())


class Recorded:
    """Gives recorded draws in their order, if it is asked for the same range."""

    def __init__(self, begin: np.ndarray, high: np.ndarray) -> None:
        self.begin, self.high = begin, high

    def integers(self, low: int, high: np.ndarray) -> np.ndarray:
        assert low == 0
        np.testing.assert_array_equal(high, self.high + 1)
        return self.begin


@pytest.mark.parametrize("frames", [4, 32])
def test_windows_of_the_published_code(frames: int) -> None:
    rows = np.load(GOLDEN / "aux_video_sampling.npz")["columns_n_L_lo_hi_begin_then_frames"]
    n, length, _, high, begin = rows[:, :5].T
    chosen = length == frames
    assert chosen.sum() > 20
    first = np.concatenate([[0], np.cumsum(n[chosen])])
    index = np.arange(chosen.sum())
    recorded = Recorded(begin[chosen], high[chosen])
    drawn = draw_window(first, index, frames, recorded, reach_last=False)  # type: ignore[arg-type]
    np.testing.assert_array_equal(drawn - first[:-1, None], rows[chosen, 5 : 5 + frames])


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    frames=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_draw_window(counts: list[int], frames: int, seed: int) -> None:
    first = np.concatenate([[0], np.cumsum(counts)])
    index = rng(seed).integers(0, len(counts), 5)
    drawn = draw_window(first, index, frames, rng(seed))
    assert drawn.shape == (5, frames)
    assert drawn.dtype == np.int64
    for i, row in zip(index, drawn, strict=True):
        length = min(frames, counts[i])
        assert row[0] >= first[i]
        assert row[length - 1] < first[i + 1]
        assert row.tolist() == [row[0] + k % length for k in range(frames)]
    assert np.array_equal(drawn, draw_window(first, index, frames, rng(seed)))


@pytest.mark.parametrize(("reach_last", "seen"), [(True, 10), (False, 9)])
def test_the_last_frame_is_reached_unless_parity_is_asked_for(reach_last: bool, seen: int) -> None:
    drawn = draw_window(np.array([0, 3, 13]), np.full(300, 1), 4, rng(), reach_last=reach_last)
    assert set(drawn.ravel()) == set(range(3, 3 + seen))


def test_draw_window_refuses_none() -> None:
    with pytest.raises(ValueError, match="frames=0"):
        draw_window(np.array([0, 3]), np.array([0]), 0, rng())
