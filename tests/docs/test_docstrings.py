"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import reid
import reid_cluster


def _modules() -> list[str]:
    packages = (reid_cluster, reid)
    return [info.name for p in packages for info in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]


@pytest.mark.parametrize("name", _modules())
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_kernel_has_an_example() -> None:
    finder = doctest.DocTestFinder()
    for name in reid_cluster.__all__:
        kernel = getattr(reid_cluster, name)
        if callable(kernel) and not isinstance(kernel, type):
            assert any(test.examples for test in finder.find(kernel)), name
