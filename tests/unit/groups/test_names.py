"""Names of clusters over two runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from reid.groups.names import Named, _assign, by_size, carry_names

LABELS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(-1, 5)), arrays(np.int64, n, elements=st.integers(-1, 5))
    )
)


def _carried(now: list[int], before: list[int], **more: object) -> Named:
    return carry_names(np.array(now), np.array(before), **more)


@settings(max_examples=200, deadline=None)
@given(arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 4)))
def test_as_good_as_the_dense_assignment(shared: np.ndarray) -> None:
    i, j = np.nonzero(shared)
    own = _assign(i, j, shared[i, j], np.ones(len(i), bool), *shared.shape)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    taken = own[own >= 0]
    assert len(set(taken.tolist())) == len(taken)
    assert sum(shared[a, b] for a, b in enumerate(own) if b >= 0) == shared[rows, columns].sum()


@settings(max_examples=200, deadline=None)
@given(LABELS)
def test_names_follow_the_clusters(pair: tuple[np.ndarray, np.ndarray]) -> None:
    now, before = pair
    named = carry_names(now, before, used=9)
    assert ((named.names < 0) == (now < 0)).all()
    both = np.unique(np.column_stack([now, named.names])[now >= 0], axis=0)
    assert len(both) == len(np.unique(both[:, 0])) == len(np.unique(both[:, 1]))  # one name a cluster
    fresh = set(named.names[named.names >= 0].tolist()) - set(before.tolist())
    assert all(9 <= name < named.used for name in fresh)  # none was ever given to another group
    assert sum(c.size for c in named.changes) == (now >= 0).sum()
    again = carry_names(now, named.names, used=named.used)
    assert again.names.tolist() == named.names.tolist()
    assert {c.state for c in again.changes} <= {"kept"}


@pytest.mark.parametrize(
    ("now", "before", "names", "states"),
    [
        ([0, 0, 1, 1], [4, 4, 2, 2], [4, 4, 2, 2], {2: "kept", 4: "kept"}),
        ([0, 0, 0, 1, 1], [4, 4, -1, 2, 2], [4, 4, 4, 2, 2], {2: "kept", 4: "grown"}),
        ([0, 0, 0, 0], [4, 4, 2, 2], [2, 2, 2, 2], {2: "merged", 4: "merged"}),  # of equals the smaller name
        ([0, 0, 0, 0, 0], [4, 4, 4, 2, 2], [4] * 5, {2: "merged", 4: "merged"}),
        ([0, 0, 0, 1, 1], [4] * 5, [4, 4, 4, 9, 9], {4: "split", 9: "split"}),
        ([0, 0, -1, -1], [-1, -1, 4, 4], [9, 9, -1, -1], {4: "gone", 9: "new"}),
        # One stray sample does not take the name of the many with it.
        ([0] * 9 + [1, 1], [3] * 4 + [5] * 5 + [3, -1], [5] * 9 + [9, 9], {3: "merged", 5: "merged", 9: "new"}),
    ],
)
def test_states(now: list[int], before: list[int], names: list[int], states: dict[int, str]) -> None:
    named = _carried(now, before, used=9)
    assert named.names.tolist() == names
    assert {c.cluster: c.state for c in named.changes} == states


def test_samples_that_are_no_longer_there() -> None:
    named = _carried([0, 0], [1, 1], used=3, absent=[1, 2, -1])
    assert [(c.cluster, c.state, c.size, c.lost) for c in named.changes] == [(1, "kept", 2, 1), (2, "gone", 0, 1)]


def test_a_name_given_up_is_not_given_again() -> None:
    first = _carried([0, 0, 0, 1, 1], [0, 0, 0, 1, 1])
    second = carry_names(np.array([0, 0, 0, -1, -1]), first.names, first.used)
    third = carry_names(np.array([0, 0, 0, 1, 1]), second.names, second.used)
    assert third.names.tolist() == [0, 0, 0, 2, 2]


def test_numbers_by_size() -> None:
    assert by_size(np.array([3, 7, 7, -1, 3, 9])).tolist() == [0, 1, 1, -1, 0, 2]
    assert by_size(np.array([-1, -1])).tolist() == [-1, -1]
