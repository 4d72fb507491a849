"""Travel times between cameras, learned from clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.clustering.travel_times import (
    Moments,
    TravelTimes,
    learn_travel_times,
    read_travel_times,
    write_travel_times,
)
from reid.data.records import Samples

GOLDEN = Path(__file__).parents[2] / "golden"
ROWS, COLUMNS = (slice(None), None), (None, slice(None))


def walks(seed: int = 0, people: int = 80, noise: float = 5.0) -> tuple[np.ndarray, Moments]:
    """People who pass cameras 0, 1 and 3 in that order, 100 and 300 seconds apart, two pictures in each."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 6)
    camid = np.tile([0, 0, 1, 1, 3, 3], people)
    way = np.tile([0.0, 2.0, 100.0, 102.0, 400.0, 402.0], people)
    time = rng.uniform(0, 1e5, people)[who] + way + noise * rng.normal(size=len(who))
    return who, Moments(camid, time, np.full(len(who), -1))


def table_of_pairs(times: TravelTimes, moments: Moments) -> np.ndarray:
    index = np.arange(len(moments.time))
    return times.plausibility(moments.take(ROWS), moments.take(COLUMNS), index[:, None] < index)


def test_histogram_of_st_reid() -> None:
    g = np.load(GOLDEN / "aux_streid_histogram.npz")
    moments = Moments(g["cameras"], g["frames"].astype(np.float64), np.full(len(g["frames"]), -1))
    width = float(g["bin_width"])
    times = learn_travel_times(
        g["labels"], moments, bin_width=width, sigma=width * float(g["sigma_bins"]), n_bins=int(g["n_bins"]),
        norm="sum", unseen="zero", same_camera=False,
    )  # fmt: skip
    assert times.cameras.tolist() == g["used_cameras"].tolist()
    np.testing.assert_allclose(times.table, g["smoothed"], rtol=0, atol=1e-8)
    pairs = moments.take(g["pair_index"])
    p = times.plausibility(pairs.take(ROWS), pairs.take(COLUMNS), False)  # st-ReID: later is strictly later
    np.testing.assert_allclose(p, g["p"], rtol=0, atol=1e-9)


def test_lookup_is_exact() -> None:
    g = np.load(GOLDEN / "aux_scp_sts.npz")
    middle = (g["span_start"] + g["span_end"]) / 2
    cameras = np.unique(g["camera"])
    times = TravelTimes(g["sts_table"], np.arange(len(g["sts_table"])), float(g["bin_width"]))
    assert cameras.max() < len(g["sts_table"])
    assert (table_of_pairs(times, Moments(g["camera"], middle, np.zeros(len(middle), np.int64))) == g["p"]).all()


def test_p_is_symmetric_and_ties_go_by_index() -> None:
    who, moments = walks()
    moments = moments._replace(time=np.round(moments.time / 200) * 200)  # many ties
    times = learn_travel_times(who, moments)
    p = table_of_pairs(times, moments)
    assert (p == p.T).all()
    assert 0 <= p.min() < 0.05
    assert p.max() == 1
    tie = TravelTimes(np.array([[[1.0], [2.0]], [[3.0], [4.0]]]), np.array([0, 1]), 1.0)
    both = Moments(np.array([0, 1]), np.zeros(2), np.zeros(2, np.int64))
    assert table_of_pairs(tie, both)[0, 1] == 2  # row 0 counts as the later one: [camera 0][camera 1]


def test_frequent_times_are_plausible() -> None:
    who, moments = walks()
    times = learn_travel_times(who, moments)
    assert times.cameras.tolist() == [0, 1, 3]
    assert 0.5 < 4 * times.bin_width < 10  # the spread of the gaps is some 5 seconds
    at = Moments(np.array([3, 3, 0, 1]), np.array([300.0, 900.0, 300.0, 3.0]), np.full(4, -1))
    origin = Moments(np.array([1, 1, 1, 1]), np.zeros(4), np.full(4, -1))
    p = times.plausibility(at, origin)
    assert p[0] > 0.8
    assert p[1] == 0
    assert p[2] > 0.1  # nobody goes from 1 to 0: what all pairs of cameras give, of which 300 s is one
    assert p[3] > 0.5  # within camera 1
    zero = learn_travel_times(who, moments, unseen="zero")
    assert zero.plausibility(at, origin)[2] == 0


def test_a_clock_that_is_wrong_shifts_and_harms_nothing() -> None:
    who, moments = walks()
    late = moments._replace(time=moments.time + 40.0 * (moments.camid == 1))
    here = learn_travel_times(who, moments, bin_width=1.0, sigma=4.0)
    there = learn_travel_times(who, late, bin_width=1.0, sigma=4.0)
    p, q = table_of_pairs(here, moments), table_of_pairs(there, late)
    cross = (moments.camid[:, None] != moments.camid) & (who[:, None] == who)
    np.testing.assert_allclose(p[cross], q[cross], atol=1e-6)  # 40 is a whole number of bins


@pytest.mark.parametrize("scale", [1e-3, 60.0, 86400.0])
def test_automatic_widths_follow_the_unit(scale: float) -> None:
    who, moments = walks()
    one = learn_travel_times(who, moments)
    other = learn_travel_times(who, moments._replace(time=moments.time * scale))
    assert other.bin_width == pytest.approx(one.bin_width * scale)
    assert other.table.shape == one.table.shape


def test_what_is_unknown_is_neutral() -> None:
    who, moments = walks(people=10)
    times = learn_travel_times(who, moments)
    one = Moments(np.array([0, -1, 7, 0, 0]), np.array([0, 0, 0, np.nan, 0.0]), np.array([-1, -1, -1, -1, 5]))
    other = Moments(np.full(5, 1), np.full(5, 1e9), np.full(5, -1))
    p = times.plausibility(one, other)
    assert p[0] == 0
    assert np.isinf(p[1:]).all()
    nothing = learn_travel_times(np.full(60, -1), moments)
    assert not nothing.seen
    assert np.isinf(table_of_pairs(nothing, moments)).all()


def test_only_times_of_one_clock_are_compared() -> None:
    who, moments = walks(people=20)
    parted = moments._replace(clock=np.where(moments.camid == 3, 1, 0), time=moments.time + 1e6 * (moments.camid == 3))
    times = learn_travel_times(who, parted)
    whole = learn_travel_times(who[moments.camid != 3], moments.take(moments.camid != 3))
    assert np.isinf(table_of_pairs(times, parted)[(parted.clock[:, None] != parted.clock)]).all()
    assert (times.table[:2, :2] == whole.table).all()
    paths = ["x"] * 3
    clock = Moments.of(Samples.from_paths(paths, start=[1, 2, 3], end=[3, 4, 5])).clock
    assert (clock == clock[0]).all()
    some = Moments.of(Samples.from_paths(paths, start=[1, 2, 3], end=[3, 4, 5], clock=[0, -1, 0]))
    assert some.time.tolist()[::2] == [2, 4]
    assert np.isnan(some.time[1])


def test_one_camera_alone() -> None:
    times = learn_travel_times(
        np.array([0, 0, 1, 1]), Moments(np.zeros(4, int), np.array([0, 3, 50, 54.0]), np.zeros(4))
    )
    assert times.table.shape[:2] == (1, 1)
    assert times.seen


def test_a_large_cluster_weighs_as_a_small_one() -> None:
    labels = np.array([0] * 30 + [1, 1])
    time = np.array([float(i) for i in range(30)] + [0.0, 200.0])
    moments = Moments(np.zeros(32, np.int64), time, np.zeros(32, np.int64))
    table = learn_travel_times(labels, moments, bin_width=100.0, sigma=1.0, norm="sum").table[0, 0]
    np.testing.assert_allclose(table[[0, 2]], 0.5, atol=1e-6)


def test_file(tmp_path: Path) -> None:
    who, moments = walks(people=5)
    times, path = learn_travel_times(who, moments), tmp_path / "own.npz"
    write_travel_times(path, times)
    again = read_travel_times(path)
    assert (again.table == times.table).all()
    assert (again.cameras.tolist(), again.bin_width) == (times.cameras.tolist(), times.bin_width)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"table": np.ones((2, 2))}, "shape"),
        ({"table": -np.ones((2, 2, 3))}, "negative"),
        ({"table": np.full((2, 2, 3), np.nan)}, "NaN"),
        ({"table": np.ones((3, 3, 4))}, "shape"),
        ({"cameras": np.array([1, 0])}, "ascending"),
        ({"bin_width": 0.0}, "bin_width=0"),
        ({"bin_width": np.array([1.0, 2.0])}, "not a table"),
        ({"table": None}, "needs table, cameras and bin_width"),
    ],
)
def test_a_file_that_is_wrong_is_named(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    values = {"table": np.ones((2, 2, 3)), "cameras": np.array([0, 1]), "bin_width": 2.0} | changed
    path = tmp_path / "own.npz"
    np.savez(path, **{name: value for name, value in values.items() if value is not None})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message) as caught:
        read_travel_times(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_travel_times(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("table")
    with pytest.raises(ValueError, match="not a table"):
        read_travel_times(tmp_path / "text.npz")


def test_bad_requests() -> None:
    who, moments = walks(people=3)
    with pytest.raises(ValueError, match="no sample has a camera"):
        learn_travel_times(who, moments._replace(camid=np.full(18, -1)))
    with pytest.raises(ValueError, match="give at least"):
        learn_travel_times(who, moments, bin_width=1e-5, sigma=1.0)
