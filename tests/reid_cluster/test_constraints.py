"""Time overlap and constrained DBSCAN: against golden vectors, the reference, and what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_JOBS, assert_refused, digest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array

from reid_cluster import constrained_dbscan, dbscan, jaccard_graph, reference, time_overlap

GOLDEN = Path(__file__).parent.parent / "golden"
LINE = np.abs(np.arange(6.0)[:, None] - np.arange(6.0)).astype(np.float32)


def golden(name):
    return dict(np.load(GOLDEN / f"aux_{name}.npz"))


def cut_at(d, cut):
    """All pairs up to `cut`, zeros stored."""
    rows, columns = np.nonzero(d <= cut)
    return coo_array((d[rows, columns], (rows, columns)), d.shape).tocsr()


# --- time overlap ---


def both(*args, **kwargs):
    """The pairs, after a look at whether the reference finds the same."""
    pairs = time_overlap(*args, **kwargs)
    assert pairs.dtype == np.int32
    np.testing.assert_array_equal(pairs, reference.time_overlap(*args, **kwargs))
    return pairs


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pairs_all", {}),
        ("pairs_cross_camera", {"scope": "cross"}),
        ("pairs_margin_minus30", {"margin": -30}),
        ("pairs_exempt_2_8_and_3_5", {"exempt": [(8, 2), (3, 5)]}),
    ],
)
def test_golden_pairs(name, options):
    z = golden("toc_pairs")
    start, end = (z[f"local_{side}"] + z["camera_offset"][z["camera"] - 1] - 1 for side in ("start", "end"))
    np.testing.assert_array_equal(start, z["common_start"])
    np.testing.assert_array_equal(both(start, end, camera=z["camera"], **options), z[name])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_overlap_equals_the_reference(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = data.draw(st.integers(1, 60))
    start = rng.integers(0, data.draw(st.sampled_from([8, 100])), n)
    end = start + rng.integers(0, data.draw(st.sampled_from([1, 8, 100])), n)
    if data.draw(st.booleans()):
        start, end = np.where(rng.random(n) < 0.1, np.nan, start / 4), np.where(rng.random(n) < 0.1, np.nan, end / 4)
    options = {"margin": data.draw(st.sampled_from([0, 2, -2, 0.5, -0.25]))}
    options["scope"] = data.draw(st.sampled_from(["all", "cross", "same"]))
    options["exempt"] = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3))
    options["camera"] = rng.integers(-1, 4, n)
    options["clock"] = data.draw(st.sampled_from([None, rng.integers(-1, 2, n), np.zeros(n, int)]))
    wanted = both(start, end, **options)
    for n_jobs in (1, 2, 3, 7):
        np.testing.assert_array_equal(time_overlap(start, end, n_jobs=n_jobs, **options), wanted)


def test_spans_that_touch_overlap_and_unknown_ones_do_not():
    assert both([0, 5, 9], [5, 8, 9]).tolist() == [[0, 1]]
    assert both([3, 3, 3], [3, 3, 4]).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert both([-7.0, -5.0], [-5.0, np.nan]).tolist() == []
    assert both([0, 0, 0], [9, 9, 9], camera=[-1, 1, 1]).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert both([0, 0, 0], [9, 9, 9], camera=[-1, 1, 1], scope="same").tolist() == [[1, 2]]
    assert both([0, 0, 0], [9, 9, 9], camera=[-1, 1, 2], exempt={(5, 6)}).tolist() == [[1, 2]]
    assert both([0, 0, 0, 0], [9, 9, 9, 9], clock=[-1, -1, 4, 4]).tolist() == [[2, 3]]
    assert both([7], [7]).shape == (0, 2)


def test_a_negative_margin_compares_ends_with_starts():
    assert both([0, 10], [100, 15], margin=-30).tolist() == []
    assert both([0, 40], [100, 45], margin=-30).tolist() == [[0, 1]]
    assert both([0, 80], [100, 900], margin=-30).tolist() == []


def test_large_integers_are_exact():
    now = 1_700_000_000_123_456_789  # nanoseconds: one is less than float64 sees at this height
    for kind in (np.int64, np.uint64):
        start, end = np.array([now, now + 2], kind), np.array([now + 1, now + 3], kind)
        assert time_overlap(start, end).tolist() == []
        assert time_overlap(start, end, margin=1).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match=r"start and end go from 0 to 1700000000123456789: count in a coarser unit"):
        time_overlap([0, 0], [0, now])


@pytest.mark.parametrize(
    ("start", "end", "options", "error", "words"),
    [
        ([0, 7], [1, 5], {}, ValueError, r"end\[1\] is 5 and lies before start\[1\], 7: swap"),
        ([0.0, 1.0], [1.0, np.inf], {}, ValueError, r"end\[1\] is inf: must be finite"),
        ([-np.inf], [0.0], {}, ValueError, r"start\[0\] is -inf"),
        ([0, 1], [1], {}, ValueError, "start has 2 entries and end 1"),
        ([], [], {}, ValueError, "start has shape"),
        ([[0]], [[1]], {}, ValueError, "start has shape"),
        (["a"], [1], {}, TypeError, "start must hold real numbers"),
        (np.array(["2026-01-01"], "M8[s]"), [1], {}, TypeError, "start must hold .*datetime64.*seconds"),
        ([0], [True], {}, TypeError, "end must hold real numbers"),
        (None, [1], {}, TypeError, "start"),
        ([0], [1], {"camera": [1, 2]}, ValueError, "camera has shape"),
        ([0], [1], {"camera": ["c1"], "scope": "same"}, TypeError, "camera must hold integers"),
        ([0], [1], {"clock": [0.5]}, TypeError, "clock must hold integers"),
        ([0], [1], {"scope": "both"}, ValueError, "scope='both': must be one of 'all', 'cross', 'same'"),
        ([0], [1], {"scope": "cross"}, ValueError, "camera=None: give the camera"),
        ([0], [1], {"exempt": [(1, 2)]}, ValueError, "camera=None: give the camera"),
        ([0], [1], {"margin": np.nan}, ValueError, "margin=nan"),
        ([0], [1], {"margin": "1"}, ValueError, "margin='1'"),
        ([0], [1], {"margin": None}, TypeError, "margin=None"),
        ([0], [1], {"exempt": "2-8,3-5", "camera": [1]}, TypeError, r"exempt='2-8,3-5': must be pairs"),
        ([0], [1], {"exempt": 5, "camera": [1]}, TypeError, "exempt=5: must be pairs"),
        ([0], [1], {"exempt": [1, 2, 3], "camera": [1]}, ValueError, "exempt has shape"),
        ([0], [1], {"progress": 5}, TypeError, "progress=5"),
    ],
)
def test_time_overlap_refuses(start, end, options, error, words):
    with pytest.raises(error, match=words) as caught:
        time_overlap(start, end, **options)
    assert "\n" not in str(caught.value)


def test_more_pairs_than_memory_are_refused_before_the_work():
    start = np.zeros(3_000_000)
    with pytest.raises(MemoryError, match=r"a list of 4499998500000 pairs that overlap needs 54000\.0 GB"):
        time_overlap(start, start)


# --- constrained DBSCAN ---


def clusters(distances, eps, links, min_samples=4, relaxed=None):
    """Labels, after a look at whether reference, graph and all thread counts give the same."""
    wanted = reference.constrained_dbscan(distances, eps, links, min_samples, relaxed=relaxed)
    graph = cut_at(distances, max(np.float32(eps), np.float32(eps * abs(relaxed or 0))))
    for n_jobs in (1, 2, 3, 7):
        for given_as in (distances, graph):
            found = constrained_dbscan(given_as, eps, links, min_samples, relaxed=relaxed, n_jobs=n_jobs)
            assert found.dtype == np.int64
            np.testing.assert_array_equal(found, wanted)
    return found


@pytest.mark.parametrize("name", ["jaccard", "nolinks", "euclid"])
def test_golden_labels(name):
    z = golden(f"icdbscan_{name}")
    for i, (eps, min_samples, relaxed) in enumerate(zip(z["eps"], z["min_samples"], z["relaxed"], strict=True)):
        found = clusters(z["distances"], eps, z["cannot_link_pairs"], min_samples, relaxed)
        np.testing.assert_array_equal(found, z["labels_ascending"][i])
        if name == "nolinks":
            np.testing.assert_array_equal(dbscan(z["distances"], eps, min_samples), found)


def test_golden_hand_made_cases():
    z = golden("icdbscan_tiny")
    for c in range(z["n_cases"]):
        case = {key.removeprefix(f"c{c}_"): value for key, value in z.items() if key.startswith(f"c{c}_")}
        options = (case["eps"], case["pairs"], int(case["min_samples"]), float(case["relaxed"]))
        found = clusters(case["distances"], *options)
        np.testing.assert_array_equal(found, case["labels_ascending"])


def test_golden_second_epoch_begins_anew():
    z, first = golden("icdbscan_state"), golden("icdbscan_jaccard")
    links, before = first["cannot_link_pairs"], digest(first["cannot_link_pairs"])
    options = (float(z["eps"]), links, int(z["min_samples"]))
    one = clusters(first["distances"], *options, relaxed=0)
    np.testing.assert_array_equal(clusters(z["distances2"], *options, relaxed=0), z["labels2_ascending"])
    np.testing.assert_array_equal(clusters(first["distances"], *options, relaxed=0), one)
    assert digest(links) == before
    assert (z["labels2_ascending"] != z["labels2_carried"]).any()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_cluster_holds_a_linked_pair(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = data.draw(st.integers(1, 60))
    points = rng.normal(size=(n, 2)).astype(np.float32)
    d = np.linalg.norm(points[:, None] - points, axis=2)
    if data.draw(st.booleans()):  # many ties, zeros, no triangle inequality
        d = rng.integers(0, 6, (n, n)).astype(np.float32) / 4
        d = np.minimum(d, d.T) if data.draw(st.booleans()) else d
    links = rng.integers(0, n, (data.draw(st.sampled_from([0, 1, n, 5 * n])), 2))
    eps, min_samples = data.draw(st.sampled_from([0.25, 0.5, 1.0])), data.draw(st.integers(1, 6))
    relaxed = data.draw(st.sampled_from([None, 0, 0.5, 1, -0.5, -1]))
    found = clusters(d, eps, links, min_samples, relaxed)
    both_ways = np.minimum(d, d.T)
    for i, j in links:
        drop = relaxed is not None and (both_ways[i, j] <= np.float32(eps * abs(relaxed))) == (relaxed >= 0)
        assert i == j or drop or found[i] == -1 or found[i] != found[j]
    sizes = np.bincount(found[found >= 0])
    assert (sizes >= min_samples).all()
    itself = np.repeat(np.arange(n), 2).reshape(-1, 2)
    mixed = np.concatenate([links[rng.permutation(len(links))][:, ::-1], links, itself])
    options = {"min_samples": min_samples, "relaxed": relaxed}
    np.testing.assert_array_equal(constrained_dbscan(d, eps, mixed, **options), found)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.sampled_from([0.2, 0.5, 1.0]), st.integers(1, 6))
def test_without_links_it_is_dbscan(seed, n, eps, min_samples):
    points = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    d = np.linalg.norm(points[:, None] - points, axis=2)
    plain, found = dbscan(d, eps, min_samples), clusters(d, eps, [], min_samples)
    if (np.bincount(plain[plain >= 0]) >= min_samples).all():
        np.testing.assert_array_equal(found, plain)
    else:  # a core point whose border points went to an earlier cluster: the only difference
        assert found.max() < plain.max()


def test_a_chain_does_not_lead_round_a_link():
    assert clusters(LINE, 1, [(0, 5)], 2).tolist() == [0, 0, 0, 0, 0, -1]
    assert clusters(LINE, 1, [(2, 3)], 2).tolist() == [0, 0, 0, 1, 1, 1]
    everything = np.argwhere(~np.eye(6, dtype=bool))
    assert clusters(LINE, 1, everything, 2).tolist() == [-1] * 6
    assert clusters(LINE, 1, everything, 1).tolist() == [0, 1, 2, 3, 4, 5]


def test_small_clusters_are_dissolved():
    # 1 takes 0, which forbids 2; two are too few, so that 2 may take 1 afterwards.
    assert clusters(LINE, 1, [(0, 2)], 3).tolist() == [-1, 0, 0, 0, 0, 0]
    # Without links it is the only difference to dbscan: here a core point's neighbours went to the cluster before.
    z = golden("icdbscan_tiny")
    assert dbscan(z["c13_distances"], 0.2, 4).tolist() == [0, 0, 0, 0, 1, 1]
    assert clusters(z["c13_distances"], 0.2, [], 4).tolist() == [0, 0, 0, 0, -1, -1]


def test_relaxed():
    links = [(2, 3), (0, 5)]
    assert clusters(LINE, 1, links, 2, None).tolist() == [0, 0, 0, 1, 1, 1]
    assert clusters(LINE, 1, links, 2, 0).tolist() == [0, 0, 0, 1, 1, 1]
    assert clusters(LINE, 1, links, 2, 1).tolist() == [0, 0, 0, 0, 0, -1]  # (2, 3) look too alike
    assert clusters(LINE, 1, links, 2, 5).tolist() == [0] * 6
    assert clusters(LINE, 1, links, 2, -1).tolist() == [0, 0, 0, 1, 1, 1]
    assert clusters(LINE, 1, links, 2, -0.5).tolist() == [0] * 6  # no linked pair is that near
    zeros = np.zeros((2, 2), np.float32)
    assert clusters(zeros, 1, [(0, 1)], 2, None).tolist() == [-1, -1]
    assert clusters(zeros, 1, [(0, 1)], 2, 0).tolist() == [0, 0]


def test_links_of_any_integer_type():
    wanted = [0, 0, 0, 1, 1, 1]
    for kind in (np.int8, np.uint8, np.int32, np.int64, np.uint64, ">i4"):
        assert constrained_dbscan(LINE, 1, np.array([[2, 3]], kind), 2).tolist() == wanted
    assert constrained_dbscan(LINE, 1, np.array([[2, 9, 3]])[:, ::2], 2).tolist() == wanted
    for nothing in ([], np.empty((0, 2)), time_overlap([0], [1])):
        assert constrained_dbscan(LINE, 1, nothing, 2).tolist() == [0] * 6


@pytest.mark.parametrize(
    ("links", "error", "words"),
    [
        ([(0, 1), (2, 6)], ValueError, r"cannot_link\[1\] is \(2, 6\): samples are numbered from 0 to 5"),
        ([(-1, 1)], ValueError, r"cannot_link\[0\] is \(-1, 1\)"),
        ([(0, 2**40)], ValueError, r"cannot_link\[0\] is \(0, "),
        (np.array([[2**32 + 1, 0]]), ValueError, r"cannot_link\[0\] is "),
        (np.array([[2**64 - 1, 0]], np.uint64), ValueError, r"cannot_link\[0\] is "),
        ([(0, 1, 2)], ValueError, r"cannot_link has shape \(1, 3\)"),
        ([0, 1], ValueError, r"cannot_link has shape \(2,\)"),
        ([(0.0, 1.0)], TypeError, "cannot_link must hold integers"),
        (np.ones((6, 6), bool), TypeError, "cannot_link must hold integers"),
        ([("a", "b")], TypeError, "cannot_link must hold integers"),
        (None, TypeError, "cannot_link"),
    ],
)
def test_bad_links_are_refused_by_row(links, error, words):
    with pytest.raises(error, match=words):
        constrained_dbscan(LINE, 1, links)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"eps": 0}, ValueError, "eps=0"),
        ({"eps": np.inf}, ValueError, "eps=inf"),
        ({"eps": 1e-60}, ValueError, "eps="),
        ({"min_samples": 0}, ValueError, "min_samples=0"),
        ({"min_samples": 2.5}, TypeError, "min_samples=2.5"),
        ({"relaxed": np.nan}, ValueError, "relaxed=nan"),
        ({"relaxed": "a"}, ValueError, "relaxed='a'"),
        ({"relaxed": True}, ValueError, "relaxed=True"),
        ({"relaxed": [1, 2]}, TypeError, "relaxed="),
        ({"distances": np.zeros((2, 3))}, ValueError, "must be square"),
        ({"distances": np.full((6, 6), np.nan)}, ValueError, r"distances\[0, 0\] is NaN"),
        ({"distances": csr_array((6, 6)).tocoo()}, TypeError, "give distances.tocsr"),
    ],
)
def test_constrained_dbscan_refuses(options, error, words):
    with pytest.raises(error, match=words):
        constrained_dbscan(**{"distances": LINE, "eps": 1, "cannot_link": [(0, 1)], **options})


def test_reach_beyond_the_cut_is_refused():
    graph = jaccard_graph(np.eye(12), 4, 1, max_distance=0.6)
    for relaxed in (1.2, -1.2):
        constrained_dbscan(graph, 0.5, [], relaxed=relaxed)
    with pytest.raises(ValueError, match=r"eps=0\.7: the graph holds"):
        constrained_dbscan(graph, 0.7, [])
    for relaxed in (1.3, -2):
        with pytest.raises(ValueError, match=r"eps\*\|relaxed\|=.*: the graph holds .* max_distance=0\.6"):
            constrained_dbscan(graph, 0.5, [], relaxed=relaxed)


def test_many_links_and_a_long_chain_stop_when_told():
    class Stop(Exception):
        pass

    def stop(done, total, stage):
        stages.add(stage)
        if stage == "clusters":
            raise Stop

    n, stages = 300_000, set()
    i = np.arange(n - 1)
    chain = coo_array((np.ones(n - 1, np.float32), (i, i + 1)), (n, n)).tocsr()
    links = np.random.default_rng(0).integers(0, n, (3 * n, 2))
    with pytest.raises(Stop):
        constrained_dbscan((chain + chain.T).tocsr(), 1, links, 2, relaxed=-1, progress=stop)
    assert {"count links", "order rows", "relax links", "core points"} <= stages


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case):
    assert_refused(lambda n: time_overlap([0], [1], n_jobs=n), case, "n_jobs")
    assert_refused(lambda n: constrained_dbscan(LINE, 1, [], n_jobs=n), case, "n_jobs")
