"""Batch norm of two domains in one batch."""

from __future__ import annotations

import copy

import torch
from torch import nn

from reid.models.batch_norm import group_batch_norm
from reid.models.domain_norm import split_batch_norm


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(4 * 16))
    for norm in (network[1], network[3]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -1, 1)
    return network


def domains() -> tuple[torch.Tensor, torch.Tensor]:
    return 3 * torch.randn(8, 3, 6, 6) + 1, torch.randn(8, 3, 6, 6)


def test_each_half_by_itself_and_statistics_of_the_target() -> None:
    plain = layers()
    split = copy.deepcopy(plain)
    split_batch_norm(split)
    source, target = domains()
    together = split(torch.cat([source, target]))
    torch.testing.assert_close(together[:8], copy.deepcopy(plain)(source))
    torch.testing.assert_close(together[8:], plain(target))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(split.state_dict()[name], value)
    plain.eval()
    split.eval()
    torch.testing.assert_close(split(source), plain(source))


def test_groups_within_each_half() -> None:
    plain = layers()
    group_batch_norm(plain, 4)
    split = copy.deepcopy(plain)
    split_batch_norm(split)
    source, target = domains()
    together = split(torch.cat([source, target]))
    torch.testing.assert_close(together[:8], copy.deepcopy(plain)(source))
    torch.testing.assert_close(together[8:], plain(target))
    torch.testing.assert_close(split.state_dict(), plain.state_dict())


def test_gradients_reach_both_halves() -> None:
    split = layers()
    split_batch_norm(split)
    both = torch.cat(domains()).requires_grad_()
    split(both).square().sum().backward()
    assert both.grad is not None
    assert (both.grad.abs().sum(dim=(1, 2, 3)) > 0).all()
