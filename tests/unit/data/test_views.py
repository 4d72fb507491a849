"""Views of a batch: the order of draws, frames beside each other, one batch ahead."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch

from reid.data.pictures import Pictures
from reid.data.samplers import Shuffled, draw_frames, draw_window
from reid.data.transforms import VIEWS, Augment
from reid.data.views import draw_views

HALF = (0.5, 0.5, 0.5)
COUNTS = (1, 3, 7, 2, 5)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    frames = torch.arange(sum(COUNTS), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 8).contiguous()
    return Pictures(frames, np.concatenate([[0], np.cumsum(COUNTS)]).astype(np.int64))


@pytest.mark.parametrize("window", [False, True])
def test_draws_are_batch_frames_views_in_this_order(pictures: Pictures, window: bool) -> None:
    """One generator for all three; reading ahead changes no draw."""
    rng = np.random.default_rng(1)
    settings = {"mean": HALF, "std": HALF, "device": torch.device("cpu"), "frames": 3, "window": window}
    views = draw_views(pictures, islice(Shuffled(np.arange(5), 2, rng), 4), VIEWS["color"], rng, **settings)
    found = list(views)
    assert len(found) == 4

    rng = np.random.default_rng(1)
    batches = iter(Shuffled(np.arange(5), 2, rng))
    draw = draw_window if window else draw_frames
    for index, images in found:
        np.testing.assert_array_equal(index, next(batches))
        rows = draw(pictures.first, index, 3, rng).reshape(-1)
        assert torch.equal(images, VIEWS["color"](pictures.rows(rows), rng, mean=HALF, std=HALF))


def test_frames_of_a_sample_follow_each_other(pictures: Pictures) -> None:
    plain = Augment(flip=0.0, area=(1.0, 1.0), ratio=None)
    rng = np.random.default_rng(0)
    index, images = next(
        draw_views(
            pictures, [np.array([2, 4])], plain, rng, mean=HALF, std=HALF, device=torch.device("cpu"), frames=4,
            window=True,
        )
    )  # fmt: skip
    assert index.tolist() == [2, 4]
    values = ((images[:, 0, 0, 0] * 0.5 + 0.5) * 255).round().reshape(2, 4)
    assert (values.diff(dim=1) == 1).all()
    assert values[0].min() >= 4
    assert values[0].max() <= 10
    assert values[1].min() >= 13


def test_the_next_batch_is_drawn_while_one_is_out(pictures: Pictures) -> None:
    drawn = []

    def batches() -> Iterator[np.ndarray]:
        for k in range(4):
            drawn.append(k)
            yield np.array([k])

    rng = np.random.default_rng(0)
    views = draw_views(pictures, batches(), VIEWS["light"], rng, mean=HALF, std=HALF, device=torch.device("cpu"))
    for k, _ in enumerate(views):
        assert drawn == list(range(min(k + 2, 4)))
    assert drawn == [0, 1, 2, 3]
