"""Counts, protocols and constraints: against sets small enough to count by hand."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.data.counts import count, count_split
from reid.data.possible import constraints, protocols
from reid.data.records import Dataset, Samples


def _samples(**columns: object) -> Samples:
    n = len(next(iter(columns.values())))  # type: ignore[arg-type]
    return Samples.from_paths([f"{i}.jpg" for i in range(n)], **columns)  # type: ignore[arg-type]


def _data(train: Samples, query: Samples | None = None, gallery: Samples | None = None) -> Dataset:
    return Dataset("set", "table", Path(), train, query, gallery, ())


def _said(data: Dataset) -> dict[str, tuple[bool, str]]:
    return {p.name.split(" (")[0]: (p.possible, p.why) for p in (*protocols(data), *constraints(data))}


def test_a_small_set() -> None:
    samples = _samples(
        pid=[1, 1, 1, 2, 2, -1], camid=[1, 1, 2, 2, 3, -1], tracklet=[5, 5, 6, 7, -1, -1],
        start=[0.0, 4, 9, 3, np.nan, np.nan], clock=[0, 0, 0, 1, -1, -1],
    )  # fmt: skip
    counted = count_split(samples)
    assert counted == {
        "rows": 6, "pictures": 6, "identities": 2, "rows_without_identity": 1, "cameras": 3,
        "rows_without_camera": 1, "tracklets": 3, "rows_with_time": 4, "clocks": 2, "seconds": 9.0,
        "pictures_of_identity": [2.0, 2.25, 2.5, 2.75, 3.0],
        "pictures_of_identity_in_camera": [1.0, 1.0, 1.0, 1.25, 2.0],
        "pictures_of_tracklet": [1.0, 1.0, 1.0, 1.5, 2.0],
        "identities_of_camera": [[1, 2, 1], [2, 2, 2], [3, 1, 1]],
        "shared_identities": [[1, 2, 1], [2, 3, 1]],
    }  # fmt: skip
    assert json.loads(json.dumps(counted)) == counted


def test_rows_of_several_frames_are_tracklets() -> None:
    nothing = np.array([-1, -1])
    samples = Samples((("a", "b", "c"), ("d",)), nothing, nothing, nothing, np.full(2, np.nan), np.full(2, np.nan))
    counted = count_split(samples)
    assert (counted["rows"], counted["pictures"], counted["tracklets"]) == (2, 4, 1)
    assert counted["pictures_of_tracklet"] == [3.0] * 5
    assert (counted["pictures_of_identity"], counted["seconds"], counted["identities_of_camera"]) == (None, None, [])


def test_identities_on_both_sides() -> None:
    train, test = _samples(pid=[0, 1, 2, -1]), _samples(pid=[0, 2, 3, -1])  # 0: distractors
    counts = count(_data(train, test, test))
    assert counts["identities_in_train_and_test"] == 1
    assert list(counts["splits"]) == ["train", "query", "gallery"]
    assert list(count(_data(train))["splits"]) == ["train"]


def test_nothing_but_pictures() -> None:
    said = _said(_data(_samples(pid=[-1] * 4)))
    assert not any(possible for possible, _ in said.values())
    assert said["cross-camera"][1] == "no identities in the training set"
    assert said["time overlap"][1] == "no times"
    assert said["probability of one identity"][1] == "no tracklets and no pictures of one moment"


def test_protocols_count_queries_with_a_match() -> None:
    query = Samples.from_paths(
        ["q0", "q1", "q2", "q3"], pid=[1, 2, 3, -1], camid=[1, 1, 1, 1], start=[0.0] * 4, clock=[0] * 4
    )
    gallery = Samples.from_paths(
        ["g0", "g1", "g2", "q0"], pid=[1, 2, -1, 1], camid=[2, 1, 1, 1], start=[1.0] * 4, clock=[0] * 4
    )
    said = _said(_data(_samples(pid=[9]), query, gallery))
    assert said["cross-camera"] == (True, "1 of 4 queries have a match")
    assert said["any-camera"] == (True, "2 of 4 queries have a match")
    assert said["time-gap"] == (True, "2 of 4 queries have a match at some time")
    assert said["leave-one-out"] == (True, "4 pictures of 2 identities with two or more")
    assert said["tracklet"] == (False, "no tracklets")


def test_one_set_searches_itself() -> None:
    said = _said(_data(_samples(pid=[1, 1, 2], camid=[1, 2, 1])))
    assert said["cross-camera"] == (True, "2 of 3 queries have a match")
    assert said["time-gap"] == (False, "rows without times")
    said = _said(_data(_samples(pid=[1, 1, 2])))
    assert said["cross-camera"] == (False, "no known cameras")
    assert said["any-camera"] == (True, "2 of 3 queries have a match")
    said = _said(_data(_samples(pid=[1, 2, 3], camid=[1, 2, 3])))
    assert said["cross-camera"] == (False, "no query has its identity in another camera")


def test_clocks_decide_what_times_are_good_for() -> None:
    columns = {"camid": [1, 1, 2, 2], "tracklet": [1, 1, 2, 2], "start": [0.0, 1, 1, 2]}
    said = _said(_data(_samples(**columns, clock=[0] * 4)))
    assert said["time overlap"] == (True, "1 pairs, of different tracklets")
    assert said["same frame"] == (False, "no two pictures of one camera and moment")
    assert said["travel times"] == (True, "2 cameras on one clock")
    assert said["probability of one identity"] == (True, "fitted on 2 tracklets and 1 pairs of one moment")
    said = _said(_data(_samples(**columns, clock=[1, 1, 2, 2])))
    assert said["time overlap"][0] is False
    assert said["travel times"] == (False, "no two cameras share a clock: give --clock-offsets")
    assert said["probability of one identity"] == (False, "no pictures of one moment")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-1, 2)] * 3, st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=25))
def test_pairs_of_one_moment_are_counted_as_one_by_one(rows: list[tuple[int, ...]]) -> None:
    camid, tracklet, clock, start, length = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    samples = Samples(
        tuple((f"{i}",) for i in range(n)), np.full(n, -1), camid, tracklet, start.astype(float),
        (start + length).astype(float), clock,
    )  # fmt: skip
    pairs = [
        (i, j) for i, j in combinations(range(n), 2)
        if clock[i] == clock[j] >= 0 and not tracklet[i] == tracklet[j] >= 0
        and start[i] <= start[j] + length[j] and start[j] <= start[i] + length[i]
    ]  # fmt: skip
    said = _said(_data(samples))
    framed = [pair for pair in pairs if camid[pair[0]] == camid[pair[1]] >= 0]
    for name, found in (("time overlap", pairs), ("same frame", framed)):
        possible, why = said[name]
        assert possible == bool(found)
        assert not found or int(why.split()[0]) == len(found)


@pytest.mark.parametrize("name", ["uit_vehicle_reid_128", "holstein2025"])
def test_real_sets(real_data: Path, name: str) -> None:
    from reid.data.readers import read_dataset

    data = read_dataset(real_data / name)
    counts, said = count(data), _said(data)
    assert json.loads(json.dumps(counts)) == counts
    assert counts["splits"]["train"]["identities"] == {"uit_vehicle_reid_128": 405, "holstein2025": 41}[name]
    assert said["cross-camera"][0]
    assert said["leave-one-out"][0]
    assert not said["tracklet"][0]
