"""What cameras and clocks do to distances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import reid_cluster
from reid.clustering.eps import eps_from_share
from reid.clustering.pseudo import GraphConfig, PseudoLabels
from reid.clustering.side import SideConfig, modify, sts_factor, travel_times_of
from reid.clustering.travel_times import Moments, TravelTimes, learn_travel_times, write_travel_times
from reid.data.records import Samples
from reid.methods.buc import BucConfig

GOLDEN = Path(__file__).parents[2] / "golden"


def golden() -> tuple[Any, Moments, TravelTimes]:
    g = np.load(GOLDEN / "aux_scp_sts.npz")
    middle = (g["span_start"] + g["span_end"]) / 2
    times = TravelTimes(g["sts_table"], np.arange(len(g["sts_table"])), float(g["bin_width"]))
    return g, Moments(g["camera"], middle, np.zeros(len(middle), np.int64)), times


def whole(distances: np.ndarray) -> csr_array:
    """All pairs stored, the zeros too."""
    n = len(distances)
    columns = np.tile(np.arange(n, dtype=np.int32), n)
    return csr_array((distances.reshape(-1).copy(), columns, np.arange(0, n * n + 1, n)), shape=(n, n))


def dense(graph: Any) -> np.ndarray:
    return np.asarray(graph.todense())


@pytest.fixture
def walkers_by_time() -> tuple[np.ndarray, np.ndarray, Samples]:
    """40 people in three cameras, two tracklets in each; pairs of people look alike, but come at other times."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(40), 6)
    camid = np.tile([0, 0, 1, 1, 2, 2], 40)
    look = rng.normal(size=(20, 32))[np.arange(40) // 2] + 0.7 * rng.normal(size=(40, 32))
    place = rng.normal(size=(3, 32))
    x = look[who] + 0.5 * place[camid] + 0.5 * rng.normal(size=(len(who), 32))
    start = rng.uniform(0, 1e5, 40)[who] + np.tile([0, 5, 100, 105, 300, 305], 40) + 10 * rng.normal(size=len(who))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    samples = Samples.from_paths([f"{i}.jpg" for i in range(len(who))], camid=camid, start=start, end=start + 2)
    return x.astype(np.float32), who, samples


def labeller(samples: Samples, **settings: Any) -> PseudoLabels:
    return PseudoLabels(GraphConfig(**{"k1": 12, "k2": 4, "min_samples": 3, "eps": 0.5, **settings}), samples)


def test_distances_of_the_authors() -> None:
    g, moments, times = golden()
    graph = whole(g["jaccard"])
    before = graph.data.copy()
    c, strength, decay = float(g["lambda_c"]), float(g["lambda_s"]), float(g["gamma"])
    off = ~np.eye(len(g["jaccard"]), dtype=bool)
    for kind, settings in (("scp", {"scp": c}), ("sts", {"times": times})):
        found = dense(modify(graph, moments, strength=strength, decay=decay, **settings))[:8]
        np.testing.assert_allclose(found[off[:8]], g[f"dist_{kind}_rows0_7"][off[:8]], rtol=0, atol=5e-7)
    both = dense(modify(graph, moments, scp=c, times=times, strength=strength, decay=decay))
    np.testing.assert_allclose(both[off], g["dist_scpsts"][off], rtol=0, atol=5e-7)
    assert (both == both.T).all()
    assert (both[~off] == g["jaccard"][~off]).all()
    assert (graph.data == before).all()


@pytest.mark.parametrize("kind", ["plain", "scp", "sts", "scpsts", "plain_fixed"])
def test_pipeline_of_the_authors(kind: str) -> None:
    """Distances, eps, labels and centres from what is stored."""
    (g, moments, times), p = golden(), np.load(GOLDEN / "aux_pipeline.npz")
    graph = modify(
        whole(g["jaccard"]), moments, scp=float(p["lambda_c"]) * ("scp" in kind),
        times=times if "sts" in kind else None, strength=float(p["lambda_s"]), decay=float(p["gamma"]),
    )  # fmt: skip
    eps = float(p["fixed_eps"])
    if kind != "plain_fixed":
        eps = eps_from_share(graph, float(p["rho"]), zero_tol=0).eps
    assert eps == pytest.approx(float(p[f"{kind}_eps"]), abs=2e-6)
    labels = reid_cluster.dbscan(graph, eps, int(p["min_samples"]))
    assert labels.tolist() == p[f"{kind}_labels"].tolist()
    assert labels.max() + 1 == p[f"{kind}_num_clusters"]
    if f"{kind}_classifier_weight" in p.files:
        centers = np.stack([p["features"][labels == c].mean(0) for c in range(labels.max() + 1)])
        centers /= np.linalg.norm(centers, axis=1, keepdims=True)
        np.testing.assert_allclose(centers, p[f"{kind}_classifier_weight"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cut", [0.5, 0.8, 1.0])
def test_sparse_is_dense(cut: float, walkers_by_time: tuple[np.ndarray, np.ndarray, Samples]) -> None:
    """What is stored is what the formula over all pairs gives up to the cut, and no more."""
    x, who, samples = walkers_by_time
    moments = Moments.of(samples)
    times = learn_travel_times(who, moments)
    graph = modify(reid_cluster.jaccard_graph(x, 12, 4, max_distance=cut), moments, scp=0.05, times=times)
    assert graph.max_distance == cut  # type: ignore[attr-defined]
    index, camid = np.arange(len(x)), samples.camid
    sides = moments.take((slice(None), None)), moments.take((None, slice(None)))
    p = times.plausibility(*sides, index[:, None] < index)
    formula = (reid_cluster.jaccard(x, 12, 4) + np.float32(0.05) * (camid[:, None] == camid)) * sts_factor(p, 0.6, 8)
    np.fill_diagonal(formula, 0)
    stored = np.zeros(formula.shape, dtype=bool)
    stored[np.repeat(index, np.diff(graph.indptr)), graph.indices] = True
    # At cut 1 the kernel leaves out J = 1 exactly, which is no neighbour of any eps.
    inside = (formula <= np.float32(cut)) & (reid_cluster.jaccard(x, 12, 4) < 1)
    assert (stored == inside).all()
    assert (dense(graph)[stored] == formula[stored]).all()
    for eps in (0.3, 0.5):
        assert (reid_cluster.dbscan(graph, eps, 3) == reid_cluster.dbscan(formula, eps, 3)).all()


def test_blocks_do_not_change_the_result(
    walkers_by_time: tuple[np.ndarray, np.ndarray, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reid.clustering import side

    x, who, samples = walkers_by_time
    moments = Moments.of(samples)
    graph, times = reid_cluster.jaccard_graph(x, 12, 4), learn_travel_times(who, moments)
    one = modify(graph, moments, scp=0.01, times=times)
    monkeypatch.setattr(side, "BLOCK", 13)
    assert (modify(graph, moments, scp=0.01, times=times) != one).nnz == 0


def test_off_is_plain(walkers_by_time: tuple[np.ndarray, np.ndarray, Samples]) -> None:
    x, _, samples = walkers_by_time
    plain, graph = reid_cluster.jaccard_graph(x, 12, 4, max_distance=0.5), labeller(samples).graph(x, 0.5)
    for name in ("data", "indices", "indptr"):
        assert getattr(graph, name).tobytes() == getattr(plain, name).tobytes()
    nothing = Samples.from_paths(["x"] * len(x), camid=samples.camid)
    assert (labeller(nothing)(x).labels == labeller(samples)(x).labels).all()


def test_unknown_cameras_and_times_change_nothing(walkers_by_time: tuple[np.ndarray, np.ndarray, Samples]) -> None:
    x, who, samples = walkers_by_time
    moments = Moments.of(samples)
    times = learn_travel_times(who, moments)
    blind = moments._replace(camid=np.where(who < 20, -1, moments.camid))
    plain = reid_cluster.jaccard_graph(x, 12, 4)
    graph = modify(plain, blind, scp=0.01, times=times)
    assert (dense(graph)[who < 20] == dense(plain)[who < 20]).all()
    assert (dense(graph)[who >= 20] != dense(plain)[who >= 20]).any()


def test_times_part_people_who_look_alike(walkers_by_time: tuple[np.ndarray, np.ndarray, Samples]) -> None:
    x, who, samples = walkers_by_time
    plain, timed = labeller(samples)(x).labels, labeller(samples, sts=True)(x).labels

    def purity(labels: np.ndarray) -> float:
        sizes = [np.bincount(who[labels == c]) for c in range(labels.max() + 1)]
        return sum(s.max() for s in sizes) / max(sum(s.sum() for s in sizes), 1)

    assert purity(timed) > purity(plain) + 0.1


def test_the_first_round_bootstraps_and_later_ones_look_back(
    walkers_by_time: tuple[np.ndarray, np.ndarray, Samples],
) -> None:
    x, _, samples = walkers_by_time
    moments, settings = Moments.of(samples), {"sts": True, "scp": 0.01}
    pseudo = labeller(samples, **settings)
    start = modify(reid_cluster.jaccard_graph(x, 12, 4, max_distance=0.5), moments, scp=0.01)
    first = learn_travel_times(reid_cluster.dbscan(start, 0.5, 3), moments)

    def expected(times: TravelTimes) -> np.ndarray:
        graph = reid_cluster.jaccard_graph(x, 12, 4, max_distance=0.5)
        return reid_cluster.dbscan(modify(graph, moments, scp=0.01, times=times), 0.5, 3)

    one = pseudo(x).labels
    assert (one == expected(first)).all()
    two = pseudo(x).labels
    assert (two == expected(learn_travel_times(one, moments))).all()
    static = labeller(samples, sts_static=True, **settings)
    assert (static(x).labels == one).all()
    assert (static(x).labels == one).all()
    resumed = labeller(samples, sts_static=True, **settings)
    resumed.restore(static.state())
    assert (resumed(x).labels == one).all()
    assert "sts_table" in static.state()
    assert "sts_table" not in pseudo.state()


def test_eps_by_share_is_found_again_when_times_join(walkers_by_time: tuple[np.ndarray, np.ndarray, Samples]) -> None:
    x, _, samples = walkers_by_time
    plain, timed = labeller(samples, eps="share"), labeller(samples, eps="share", sts=True)
    assert timed(x).facts["eps"] > plain(x).facts["eps"]
    assert timed.state()["eps"][1] == 2
    eps = timed.state()["eps"][0]
    assert timed(x).facts["eps"] == eps


def test_a_table_of_the_user(walkers_by_time: tuple[np.ndarray, np.ndarray, Samples], tmp_path: Path) -> None:
    x, who, samples = walkers_by_time
    times = learn_travel_times(who, Moments.of(samples))
    write_travel_times(tmp_path / "own.npz", times)
    own = labeller(samples, sts=True, sts_table=str(tmp_path / "own.npz"))
    graph = reid_cluster.jaccard_graph(x, 12, 4, max_distance=0.5)
    expected = reid_cluster.dbscan(modify(graph, Moments.of(samples), times=times), 0.5, 3)
    assert (own(x).labels == expected).all()
    assert own.state().keys() == {"labels"}
    config = SideConfig(sts_table=str(tmp_path / "own.npz"))
    assert (travel_times_of(config, samples, np.full(len(x), -1)).table == times.table).all()
    write_travel_times(tmp_path / "own.npz", TravelTimes(times.table, times.cameras + 50, 1.0))
    with pytest.raises(ValueError, match="none of these data"):
        labeller(samples, sts=True, sts_table=str(tmp_path / "own.npz"))


def test_methods_without_these_settings_learn_times_too(
    walkers_by_time: tuple[np.ndarray, np.ndarray, Samples],
) -> None:
    _, who, samples = walkers_by_time
    times = learn_travel_times(who, Moments.of(samples))
    assert (travel_times_of(BucConfig(), samples, who).table == times.table).all()


def test_no_cluster_means_no_times(walkers_by_time: tuple[np.ndarray, np.ndarray, Samples]) -> None:
    x, _, samples = walkers_by_time
    found = labeller(samples, sts=True, eps=0.01, min_samples=50, k1=8)(x)
    assert "times say nothing yet" in found.warnings[0]
    assert found.stop


def test_what_is_missing_is_said() -> None:
    bare = Samples.from_paths(["x"] * 9)
    with pytest.raises(ValueError, match=r"scp=0\.01: needs camera ids"):
        labeller(bare, scp=0.01)
    with pytest.raises(ValueError, match="sts=True: needs camera ids"):
        labeller(bare, sts=True)
    with pytest.raises(ValueError, match="sts=True: needs the times"):
        labeller(Samples.from_paths(["x"] * 9, camid=np.zeros(9, dtype=int)), sts=True)
    for wrong in ({"scp": -0.1}, {"scp": np.inf}, {"sts_gamma": 0.0}, {"sts_lambda": np.nan}, {"sts_norm": "mean"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GraphConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels='mutual'"):
        GraphConfig(sts=True, labels="mutual")


def test_settings_say_that_cameras_are_read() -> None:
    assert GraphConfig(scp=0.01).uses_cameras
    assert GraphConfig(sts=True).uses_cameras
    assert not GraphConfig().uses_cameras
