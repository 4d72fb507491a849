"""Links: groups, contradictions with their chains, and labels that obey, by hand and by property."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import reid_cluster
from reid.clustering.linked import believed, linked_dbscan
from reid.clustering.links import Links, Part

NONE = np.empty((0, 2), np.int32)


def pairs(*rows: tuple[int, int]) -> np.ndarray:
    return np.array(rows, np.int32).reshape(-1, 2)


def obeys(labels: np.ndarray, links: Links) -> bool:
    i, j = links.cannot.T
    apart = not ((labels[i] == labels[j]) & (labels[i] >= 0)).any()
    i, j = links.must.T
    return apart and bool((labels[i] == labels[j]).all())


@st.composite
def cases(draw: Any, n_most: int = 16) -> tuple[Links, np.ndarray, np.ndarray]:
    """Links without contradiction, any labels, features on a small lattice."""
    n = draw(st.integers(2, n_most))
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    must = pairs(*draw(st.lists(pair, max_size=6)))
    groups = Links(NONE, must, n).groups
    cannot = [p for p in draw(st.lists(pair, max_size=24)) if groups[p[0]] != groups[p[1]]]
    labels = np.array(draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)), np.int64)
    labels[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)[1]
    x = draw(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=n, max_size=n))
    return Links(pairs(*cannot), must, n), labels, np.array(x, np.float32)


def graph_of(x: np.ndarray, reach: float = 3.0) -> csr_array:
    """Distances up to `reach`, as a graph."""
    d = np.sqrt(np.square(x[:, None] - x).sum(2)).astype(np.float32)
    i, j = np.nonzero(d <= reach)
    graph = csr_array((d[i, j], (i, j)), shape=d.shape)
    graph.sort_indices()
    return graph


@settings(max_examples=300, deadline=None)
@given(cases(), st.booleans(), st.integers(1, 4))
def test_labels_obey(case: tuple[Links, np.ndarray, np.ndarray], by_graph: bool, smallest: int) -> None:
    links, labels, x = case
    where = graph_of(x) if by_graph else x
    given_labels = labels.copy()
    found = links.obey(labels, where, smallest=smallest)
    assert (labels == given_labels).all()
    assert obeys(found, links)
    assert set(found[found >= 0]) == set(range(found.max(initial=-1) + 1))
    assert (links.obey(labels, where, smallest=smallest) == found).all()
    again = links.obey(found, where, smallest=smallest)
    assert (again == found).all()
    if obeys(labels, links):
        assert (found == labels).all()


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 4), st.floats(0.5, 2.5))
def test_dbscan_obeys(case: tuple[Links, np.ndarray, np.ndarray], min_samples: int, eps: float) -> None:
    links, _, x = case
    labels = linked_dbscan(graph_of(x), eps, min_samples, links)
    assert obeys(labels, links)
    sizes = np.bincount(labels[labels >= 0])
    assert (sizes > 0).all()
    if len(links.cannot):
        assert (sizes >= min_samples).all()
    whole = np.bincount(links.groups)[links.groups] >= max(2, min_samples)
    assert (labels[whole] >= 0).all()  # a group of that many is dense by itself


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.floats(0.5, 2.5))
def test_relaxed_links_are_those_of_the_kernel(
    case: tuple[Links, np.ndarray, np.ndarray], relaxed: float, eps: float
) -> None:
    links, _, x = case
    soft = Links.of([Part("toc", links.cannot, relaxed=relaxed)], links.n)
    graph = graph_of(x)
    wanted = reid_cluster.constrained_dbscan(graph, eps, links.cannot, 2, relaxed=relaxed)
    left = believed(soft, graph, eps)
    assert (reid_cluster.constrained_dbscan(graph, eps, left.cannot, 2) == wanted).all()


def test_hard_links_are_never_relaxed() -> None:
    x = np.array([[0.0], [0.1], [0.2], [0.3]], np.float32)
    parts = [Part("user", pairs((0, 1))), Part("toc", pairs((0, 1), (2, 3)), relaxed=1.0)]
    links = believed(Links.of(parts, 4), graph_of(x), 1.0)
    assert links.cannot.tolist() == [[0, 1]]
    labels = linked_dbscan(graph_of(x), 1.0, 2, Links.of(parts, 4))
    assert labels[0] != labels[1]


def test_without_links_dbscan_is_dbscan() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    graph = graph_of(x, 1.0)
    assert (linked_dbscan(graph, 0.4, 3, Links(NONE, NONE, 60)) == reid_cluster.dbscan(graph, 0.4, 3)).all()


def test_groups_are_closed_and_numbered_by_their_first_member() -> None:
    links = Links(NONE, pairs((5, 2), (2, 4), (4, 2), (3, 3)), 6)
    assert links.must.tolist() == [[2, 4], [2, 5]]
    assert links.groups.tolist() == [0, 1, 2, 3, 2, 2]


def test_a_contradiction_is_shown_with_its_shortest_chain() -> None:
    parts = [
        Part("same-frame", pairs((0, 3), (1, 4))),
        Part("same-tracklet", NONE, pairs((0, 1), (1, 2), (2, 3))),
        Part("pairs review.csv", NONE, pairs((1, 3))),
    ]
    links = Links.of(parts, 5)
    (found,) = links.contradictions()
    assert (found.pair, found.rule) == ((0, 3), "same-frame")
    assert found.chain == ((0, 1, "same-tracklet"), (1, 3, "pairs review.csv"))
    with pytest.raises(ValueError, match="1 pair must differ and must be one") as error:
        links.check("abcde".__getitem__)
    assert "a and d must differ (same-frame), but a = b (same-tracklet) = d (pairs review.csv)" in str(error.value)
    with pytest.raises(ValueError, match="must differ and must be one"):
        links.obey(np.zeros(5, np.int64), np.zeros((5, 1)))


def test_five_contradictions_are_shown_and_the_rest_counted() -> None:
    links = Links.of([Part("x", pairs(*((0, k) for k in range(1, 8))), pairs(*((k, k + 1) for k in range(7))))], 8)
    with pytest.raises(ValueError, match="7 pairs") as error:
        links.check()
    assert str(error.value).count("must differ (x)") == 5
    assert "and 2 more" in str(error.value)


def test_relaxed_links_can_contradict_too() -> None:
    links = Links.of([Part("toc", pairs((0, 2)), relaxed=-1.0), Part("t", NONE, pairs((0, 1), (1, 2)))], 3)
    assert [(c.pair, c.rule) for c in links.contradictions()] == [((0, 2), "toc")]


def test_look_alikes_stay_together_when_a_cluster_is_separated() -> None:
    x = np.array([[0.0], [0.2], [0.1], [5.0], [5.1], [4.9]], np.float32)
    for where in (x, graph_of(x, 1.0)):
        found = Links(pairs((0, 3)), NONE, 6).obey(np.zeros(6, np.int64), where)
        assert found[0] == found[1] == found[2] != found[3] == found[4] == found[5]


def test_a_group_takes_the_label_of_most() -> None:
    links = Links(NONE, pairs((0, 1), (1, 2), (2, 3), (4, 5)), 8)
    labels = np.array([1, 1, 0, -1, 1, 0, 0, 0])
    assert links.obey(labels, np.zeros((8, 1))).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("cannot", "words"), [([(0, 3)], r"cannot\[0\] is \(0, 3\)"), ([(-1, 0)], "from 0 to 2"), ([(0.5, 1)], "integers")]
)
def test_bad_pairs(cannot: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Links(np.array(cannot), NONE, 3)
