"""Batch norm over groups."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from reid.config import TrainConfig
from reid.models.batch_norm import group_batch_norm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.BatchNorm1d(5 * 16))


def test_each_group_is_normalised_as_if_alone() -> None:
    whole, x = network(), torch.randn(12, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    grouped = copy.deepcopy(whole)
    group_batch_norm(grouped, 4)
    parts = [copy.deepcopy(whole) for _ in range(3)]
    expected = torch.cat([part(chunk) for part, chunk in zip(parts, x.split(4), strict=True)])
    assert torch.allclose(grouped(x), expected, atol=1e-6)
    for name, value in parts[0].state_dict().items():  # running statistics are those of the first group
        assert torch.allclose(grouped.state_dict()[name], value, atol=1e-7)


def test_groups_of_tracklets_hold_all_their_frames() -> None:
    """Two groups of three tracklets of two frames: six feature maps each before the mean, three rows behind it."""
    torch.manual_seed(0)
    maps, rows = nn.BatchNorm2d(4), nn.BatchNorm1d(4)
    x = torch.randn(12, 4, 3, 3)

    def forward(first: nn.Module, second: nn.Module, frames: torch.Tensor) -> torch.Tensor:
        return second(first(frames).mean((2, 3)).unflatten(0, (-1, 2)).mean(1))

    expected = torch.cat([forward(copy.deepcopy(maps), copy.deepcopy(rows), part) for part in x.split(6)])
    both = nn.ModuleList([maps, rows])
    group_batch_norm(both, 3, frames=2)
    assert torch.allclose(forward(*both, x), expected, atol=1e-6)


def test_gradients_are_those_of_the_groups() -> None:
    whole, x = network(), torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    grouped = copy.deepcopy(whole)
    group_batch_norm(grouped, 4)
    grouped(x).square().sum().backward()
    sum(whole(chunk).square().sum() for chunk in x.split(4)).backward()
    for a, b in zip(grouped.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-4)


def test_evaluation_and_names_are_untouched() -> None:
    whole, x = network(), torch.randn(8, 3, 6, 6)
    grouped = copy.deepcopy(whole)
    group_batch_norm(grouped, 4)
    assert list(grouped.state_dict()) == list(whole.state_dict())
    assert torch.equal(grouped.eval()(x), whole.eval()(x))


def test_a_batch_no_larger_than_a_group_is_normalised_as_a_whole() -> None:
    whole, x = network(), torch.randn(4, 3, 6, 6)
    grouped = copy.deepcopy(whole)
    group_batch_norm(grouped, 4)
    assert torch.equal(grouped(x), whole(x))


def test_a_group_needs_two() -> None:
    with pytest.raises(ValueError, match="bn_group_size=1"):
        group_batch_norm(network(), 1)


def test_groups_must_divide_a_batch() -> None:
    with pytest.raises(ValueError, match="bn_group_size=48: must divide batch_size=64"):
        TrainConfig(batch_size=64, bn_group_size=48)
    assert TrainConfig(batch_size=32, bn_group_size=64).bn_group_size == 64
