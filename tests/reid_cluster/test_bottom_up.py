from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, Bad, assert_refused

from reid_cluster import BottomUp, bottom_up, knn

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def unit_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    g = np.random.default_rng(seed)
    ids = np.sort(g.integers(0, max(1, n // 12), n))
    x = g.standard_normal((n // 12 + 1, d))[ids] + 0.8 * g.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_schedule_of_the_original_code() -> None:
    g = golden("buc_merge_schedule")
    labels = g["labels_before"]
    for s, after in enumerate(g["labels_after"]):
        r = bottom_up(g["features"], labels, n_merges=int(g["num_to_merge"]), size_penalty=float(g["size_penalty"]))
        np.testing.assert_array_equal(r.labels, after)
        assert r.n_clusters == g["num_clusters"][s]
        assert r.weights[-1] == pytest.approx(g["last_weight"][s], abs=2e-6)
        if np.isfinite(g["cut_gap"][s]):
            assert r.next_weight - r.weights[-1] == pytest.approx(g["cut_gap"][s], abs=4e-6)
        labels = r.labels


@pytest.mark.parametrize("name", ["buc_merge_lambda", "buc_merge_duplicates"])
def test_penalties_of_the_original_code(name: str) -> None:
    g = golden(name)
    for p, penalty in enumerate(g["size_penalty"]):
        labels = g["labels_before"]
        for s, after in enumerate(g["labels_after"][p]):
            m = int(np.broadcast_to(g["num_to_merge"], len(g["labels_after"][p]))[s])
            r = bottom_up(g["features"], labels, n_merges=m, size_penalty=float(penalty))
            np.testing.assert_array_equal(r.labels, after)
            labels = r.labels


def test_initial_labels_of_the_original_code() -> None:
    g = golden("buc_merge_initial_labels")
    labels = g["labels_before"]
    for penalty, m, after in zip(g["size_penalty"], g["num_to_merge"], g["labels_after"], strict=True):
        labels = bottom_up(g["features"], labels, n_merges=int(m), size_penalty=float(penalty)).labels
        np.testing.assert_array_equal(labels, after)


def test_drifting_features_of_the_original_code() -> None:
    g = golden("buc_merge_drift")
    labels = g["labels_before"]
    for x, after in zip(g["features"], g["labels_after"], strict=True):
        r = bottom_up(x, labels, n_merges=int(g["num_to_merge"]), size_penalty=float(g["size_penalty"]))
        np.testing.assert_array_equal(r.labels, after)
        labels = r.labels


def test_limits() -> None:
    g = golden("buc_merge_limits")
    x, before, penalty = g["features"], g["labels_before"], float(g["size_penalty"])
    # The original merges everything for m = 0; nothing may change.
    np.testing.assert_array_equal(bottom_up(x, before, n_merges=0, size_penalty=penalty).labels, before)
    for m, name in ((1, "labels_m1"), (29, "labels_m29"), (50, "labels_m50_original")):
        r = bottom_up(x, before, n_merges=m, size_penalty=penalty)
        np.testing.assert_array_equal(r.labels, g[name])
        assert len(r.pairs) == len(r.weights) == min(m, 29)
    assert r.next_weight == np.inf


def test_tiny_linkage() -> None:
    g = golden("buc_linkage_tiny")
    x, before, penalty = g["features"], g["labels_before"], float(g["size_penalty"])
    m = int(g["num_to_merge"])
    np.testing.assert_array_equal(bottom_up(x, before, n_merges=m, size_penalty=penalty).labels, g["labels_after"])
    # All merges = the pairs in the original's order that join two sets.
    sets = before.copy()
    pairs, weights = [], []
    for (i, j), w in zip(g["pairs_sorted"], g["pair_weight"], strict=True):
        if sets[i] != sets[j]:
            sets[sets == max(sets[i], sets[j])] = min(sets[i], sets[j])
            pairs.append([i, j])
            weights.append(w)
    r = bottom_up(x, before, n_merges=100, size_penalty=penalty)
    assert r.pairs.tolist() == pairs
    np.testing.assert_allclose(r.weights, weights, atol=2e-6)
    assert r.labels.max() == 0


def test_options_derived_from_the_original() -> None:
    g = golden("buc_derived_options")
    options = {
        "labels_original": {},
        "labels_euclidean": {"distance": "euclidean"},
        "labels_live_sizes": {"sizes": "live"},
    }
    for name, option in options.items():
        labels = g["labels_before"]
        for m, after in zip(g["num_to_merge"], g[name], strict=True):
            labels = bottom_up(
                g["features"], labels, n_merges=int(m), size_penalty=float(g["size_penalty"]), **option
            ).labels
            np.testing.assert_array_equal(labels, after)


@pytest.mark.parametrize("sizes", ["frozen", "live"])
@pytest.mark.parametrize("linkage", ["single", "average"])
def test_threads_and_order_do_not_matter(linkage: str, sizes: str) -> None:
    x = unit_rows(700, 20)
    groups = np.random.default_rng(1).integers(-1, 6, len(x))
    start = bottom_up(x, n_merges=100, groups=groups).labels

    def run(rows: np.ndarray, n_jobs: int) -> BottomUp:
        labels = np.unique(start[rows], return_inverse=True)[1]
        return bottom_up(x[rows], labels, n_merges=60, linkage=linkage, sizes=sizes, groups=groups[rows], n_jobs=n_jobs)

    first = run(np.arange(len(x)), 1)
    for n_jobs in (2, 3, 7):
        again = run(np.arange(len(x)), n_jobs)
        for a, b in zip(first, again, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    rows = np.random.default_rng(2).permutation(len(x))
    shuffled = run(rows, 2)
    same = first.labels[rows][:, None] == first.labels[rows]
    np.testing.assert_array_equal(same, shuffled.labels[:, None] == shuffled.labels)


@pytest.mark.parametrize("sizes", ["frozen", "live"])
@pytest.mark.parametrize("linkage", ["single", "average"])
def test_no_cluster_holds_a_group_twice(linkage: str, sizes: str) -> None:
    x = unit_rows(300, 16)
    groups = np.random.default_rng(3).integers(-1, 5, len(x))
    r = bottom_up(x, n_merges=1000, groups=groups, linkage=linkage, sizes=sizes)
    assert len(r.pairs) == len(x) - r.n_clusters > 100
    assert r.next_weight == np.inf
    for label in range(r.n_clusters):
        members = groups[(r.labels == label) & (groups >= 0)]
        assert len(members) == len(set(members))


@pytest.mark.parametrize("sizes", ["frozen", "live"])
@pytest.mark.parametrize("linkage", ["single", "average"])
def test_no_cluster_holds_a_cannot_link(linkage: str, sizes: str) -> None:
    x = unit_rows(300, 16)
    links = np.random.default_rng(4).integers(0, len(x), (2000, 2))
    start = bottom_up(x, n_merges=60, cannot_link=links).labels
    links = links[links[:, 0] != links[:, 1]]
    plain = bottom_up(x, start, n_merges=1000, linkage=linkage, sizes=sizes)
    assert (plain.labels == 0).all()
    r = bottom_up(x, start, n_merges=1000, linkage=linkage, sizes=sizes, cannot_link=links)
    assert len(r.pairs) == start.max() + 1 - r.n_clusters > 100
    assert r.next_weight == np.inf
    assert (r.labels[links[:, 0]] != r.labels[links[:, 1]]).all()
    turned = bottom_up(
        x, start, n_merges=1000, linkage=linkage, sizes=sizes, cannot_link=np.vstack([links[::-1, ::-1]] * 2)
    )
    assert (turned.labels == r.labels).all()


def test_no_links_change_nothing() -> None:
    x = unit_rows(200, 8)
    for links in ([], np.empty((0, 2), int), [(3, 3)]):
        for a, b in zip(bottom_up(x, n_merges=50, cannot_link=links), bottom_up(x, n_merges=50), strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_in_one_group_never_merge() -> None:
    x = unit_rows(1200, 8)
    r = bottom_up(x, n_merges=5, groups=np.zeros(len(x), int))
    assert r.n_clusters == len(x)
    assert r.pairs.shape == (0, 2)
    assert r.next_weight == np.inf


def test_average_is_the_mean_over_pairs() -> None:
    x = unit_rows(40, 6).astype(np.float64)
    labels = np.arange(40) // 4
    d = ((x[:, None] - x[None]) ** 2).sum(-1)
    mean = d.reshape(10, 4, 10, 4).mean((1, 3)) + np.diag(np.full(10, 9.0))
    a, b = np.unravel_index(np.argmin(mean), mean.shape)
    r = bottom_up(x, labels, n_merges=1, linkage="average", size_penalty=0.01)
    assert r.pairs.tolist() == [[min(a, b) * 4, max(a, b) * 4]]
    assert r.weights[0] == pytest.approx(mean.min() + 0.08, abs=1e-6)


def test_merging_all_without_penalty_is_the_spanning_tree() -> None:
    x = unit_rows(600, 5)
    r = bottom_up(x, n_merges=599, size_penalty=0.0)
    assert (np.diff(r.weights) >= 0).all()
    assert (r.pairs[:, 0] < r.pairs[:, 1]).all()
    nearest = knn(x, 2)
    edges = {tuple(pair) for pair in r.pairs.tolist()}
    mutual = [(i, j) for i, j in nearest.indices.tolist() if nearest.indices[j, 1] == i and i < j]
    assert mutual
    assert set(mutual) <= edges


def test_min_clusters_and_single_rows() -> None:
    x = unit_rows(50, 4)
    r = bottom_up(x, n_merges=49, min_clusters=20)
    assert (r.n_clusters, len(r.pairs)) == (20, 30)
    assert bottom_up(x, n_merges=3, min_clusters=60).n_clusters == 50
    for option in ({}, {"sizes": "live"}, {"linkage": "average"}):
        one = bottom_up(x[:1], n_merges=3, **option)
        assert (one.labels.tolist(), one.n_clusters, one.next_weight) == ([0], 1, np.inf)
        assert bottom_up(x, np.zeros(50, int), n_merges=3, **option).labels.tolist() == [0] * 50


def test_equal_rows_merge_by_index() -> None:
    r = bottom_up(np.ones((1500, 16)), n_merges=3)
    assert r.pairs.tolist() == [[0, 1], [0, 2], [0, 3]]
    live = bottom_up(np.ones((300, 16)), n_merges=3, size_penalty=0.0, sizes="live")
    assert live.labels.tolist() == [0, 0, 0, 0, *range(1, 297)]


def test_a_large_sparse_problem_needs_no_square_matrix() -> None:
    import resource

    x = unit_rows(20_000, 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    r = bottom_up(x, n_merges=1000)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert r.n_clusters == 19_000
    assert used < 200e6


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
def test_bad_features(case: Bad) -> None:
    assert_refused(lambda x: bottom_up(x, n_merges=1), case, "features")


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_jobs(case: Bad) -> None:
    assert_refused(lambda n: bottom_up(unit_rows(9, 2), n_merges=1, n_jobs=n), case, "n_jobs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_merges": -1}, "n_merges=-1"),
        ({"n_merges": 2**70}, "n_merges="),
        ({"n_merges": 1, "size_penalty": -0.1}, "size_penalty=-0.1"),
        ({"n_merges": 1, "size_penalty": np.nan}, "size_penalty=nan"),
        ({"n_merges": 1, "size_penalty": np.inf}, "size_penalty=inf"),
        ({"n_merges": 1, "size_penalty": 1e300}, "size_penalty=inf"),
        ({"n_merges": 1, "distance": "cosine"}, "distance='cosine'"),
        ({"n_merges": 1, "linkage": "ward"}, "linkage='ward'"),
        ({"n_merges": 1, "sizes": None}, "sizes=None"),
        ({"n_merges": 1, "min_clusters": 0}, "min_clusters=0"),
        ({"n_merges": 1, "linkage": "average", "distance": "euclidean"}, "sqeuclidean"),
        ({"n_merges": 1, "labels": [0, 1, 2, 3, 4, 5, 6, 7, -1]}, r"labels\[8\]=-1"),
        ({"n_merges": 1, "labels": [0, 1, 2, 3, 4, 5, 6, 8, 8]}, "no 7"),
        ({"n_merges": 1, "labels": [1] * 9}, "no 0"),
        ({"n_merges": 1, "labels": [0] * 8 + [2**62]}, "no 1"),
        ({"n_merges": 1, "labels": [0] * 8}, r"labels has shape \(8,\)"),
        ({"n_merges": 1, "groups": [0] * 10}, r"groups has shape \(10,\)"),
        ({"n_merges": 1, "groups": np.zeros(9, np.uint64) + 2**63}, "groups has 9223372036854775808"),
        ({"n_merges": 1, "cannot_link": [(0, 9)]}, r"cannot_link\[0\] is \(0, 9\)"),
        ({"n_merges": 1, "cannot_link": [0, 1, 2]}, r"cannot_link has shape \(3,\)"),
        ({"n_merges": 1, "cannot_link": [(0, 1)], "labels": [0] * 9}, r"\(0, 1\), which labels put into one class 0"),
    ],
)
def test_bad_values(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bottom_up(unit_rows(9, 2), **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_merges": 1.5}, "n_merges=1.5"),
        ({"n_merges": True}, "n_merges=True"),
        ({"n_merges": 1, "size_penalty": None}, "size_penalty=None"),
        ({"n_merges": 1, "labels": [0.0] * 9}, "labels must hold integers"),
        ({"n_merges": 1, "groups": ["a"] * 9}, "groups must hold integers"),
        ({"n_merges": 1, "cannot_link": [(0.0, 1.0)]}, "cannot_link must hold integers"),
        ({"n_merges": 1, "progress": 3}, "progress=3"),
    ],
)
def test_bad_types(arguments: dict, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        bottom_up(unit_rows(9, 2), **arguments)
