from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.data.records import Dataset, Samples, printable, shortlist

GOLDEN = Path(__file__).parents[2] / "golden"


def table() -> Samples:
    return Samples.from_paths(
        ["c.jpg", "a.jpg", "b.jpg", "d.jpg", "e.jpg"],
        pid=[1, 2, 1, 1, 3],
        camid=[0, 1, 0, 0, 2],
        tracklet=[7, -1, 7, 7, -1],
        start=[2.0, np.nan, 1.0, np.nan, np.nan],
    )


def test_from_paths_fills_unknown_columns() -> None:
    samples = Samples.from_paths(["x", "y"])
    assert len(samples) == 2
    assert samples.frames == (("x",), ("y",))
    for column in (samples.pid, samples.camid, samples.tracklet, samples.clock):
        assert column.dtype == np.int64
        assert column.tolist() == [-1, -1]
    assert np.isnan(samples.start).all()
    assert np.isnan(samples.end).all()


def test_end_defaults_to_start_and_no_rows_are_allowed() -> None:
    assert Samples.from_paths(["x"], start=[3.5]).end.tolist() == [3.5]
    assert len(Samples.from_paths([])) == 0


def test_columns_are_private_copies() -> None:
    pid = np.array([1, 2])
    samples = Samples.from_paths(["x", "y"], pid=pid)
    pid[0] = 9
    assert samples.pid.tolist() == [1, 2]
    for name in ("pid", "camid", "tracklet", "start", "end", "clock"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(samples, name)[0] = 5


def test_take_accepts_positions_masks_and_nothing() -> None:
    samples = table()
    assert [row[0] for row in samples.take([4, 0]).frames] == ["e.jpg", "c.jpg"]
    assert samples.take(samples.pid == 1).tracklet.tolist() == [7, 7, 7]
    assert len(samples.take([])) == 0
    assert samples.take([-1]).pid.tolist() == [3]
    with pytest.raises(ValueError, match="mask needs one value for each of the 5 rows"):
        samples.take([True, False])
    with pytest.raises(IndexError):
        samples.take([5])


def test_without_pid_keeps_everything_else() -> None:
    blank = table().without_pid()
    assert blank.pid.tolist() == [-1] * 5
    assert blank.camid.tolist() == table().camid.tolist()
    assert blank.frames == table().frames


def test_by_tracklet_groups_by_first_member_in_time_order() -> None:
    grouped = table().by_tracklet()
    assert grouped.frames == (("b.jpg", "c.jpg", "d.jpg"), ("a.jpg",), ("e.jpg",))
    assert grouped.n_frames.tolist() == [3, 1, 1]
    assert grouped.pid.tolist() == [1, 2, 3]
    assert grouped.camid.tolist() == [0, 1, 2]
    assert (grouped.start[0], grouped.end[0]) == (1.0, 2.0)
    assert np.isnan(grouped.start[1:]).all()
    assert grouped.by_tracklet().frames == grouped.frames


def test_by_tracklet_does_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        grouped = table().take(rng.permutation(5)).by_tracklet()
        assert sorted(grouped.frames) == sorted(table().by_tracklet().frames)


@pytest.mark.parametrize(
    ("column", "message"),
    [("camid", "tracklet 4 holds camid 2 and 3"), ("pid", "tracklet 4 holds pid 2 and 3")],
)
def test_by_tracklet_refuses_mixed_tracklets(column: str, message: str) -> None:
    samples = Samples.from_paths(["x", "y"], tracklet=[4, 4], **{column: [3, 2]})
    with pytest.raises(ValueError, match=message):
        samples.by_tracklet()


def rows_of(lengths: list[int], **columns: np.ndarray) -> Samples:
    n, unknown = len(lengths), np.full(len(lengths), -1)
    never = np.full(n, np.nan)
    values = {"pid": unknown, "camid": unknown, "tracklet": np.arange(n), "start": never, "end": never} | columns
    return Samples(tuple(tuple(f"{i}/{k}" for k in range(length)) for i, length in enumerate(lengths)), **values)


def test_pieces_of_long_tracklets_are_those_of_the_published_code() -> None:
    golden = np.load(GOLDEN / "aux_video_sampling.npz")
    lengths, wanted = golden["dense_lengths"], golden["dense_segments_track_start_len_cam"]
    camid = np.zeros(len(lengths), dtype=np.int64)
    camid[wanted[:, 0]] = wanted[:, 3]
    pieces = rows_of(lengths.tolist(), camid=camid).split_tracklets(int(golden["dense_step"]))
    found = [
        (track, int(row[0].split("/")[1]), len(row), cam)
        for track, row, cam in zip(pieces.tracklet, pieces.frames, pieces.camid, strict=True)
    ]
    assert found == [tuple(row) for row in wanted.tolist()]
    for track, row in zip(pieces.tracklet, pieces.frames, strict=True):
        begin = int(row[0].split("/")[1])
        assert row == tuple(f"{track}/{begin + k}" for k in range(len(row)))


def test_pieces_have_the_times_of_their_frames() -> None:
    samples = rows_of([7, 1, 5], start=np.array([10.0, 3.0, np.nan]), end=np.array([16.0, 4.0, np.nan]))
    pieces = samples.split_tracklets(2)
    assert pieces.n_frames.tolist() == [2, 2, 3, 1, 2, 3]
    assert pieces.tracklet.tolist() == [0, 0, 0, 1, 2, 2]
    np.testing.assert_array_equal(pieces.start, [10, 12, 14, 3, np.nan, np.nan])
    np.testing.assert_array_equal(pieces.end, [11, 13, 16, 4, np.nan, np.nan])


@given(
    lengths=st.lists(st.integers(1, 30), max_size=5),
    step=st.integers(1, 12),
    times=st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e5)),
)
def test_pieces_hold_every_frame_once_and_stay_in_time(
    lengths: list[int], step: int, times: tuple[float, float]
) -> None:
    start = np.full(len(lengths), times[0])
    samples = rows_of(lengths, start=start, end=start + times[1])
    pieces = samples.split_tracklets(step)
    for i, row in enumerate(samples.frames):
        own = np.flatnonzero(pieces.tracklet == i)
        assert sum((pieces.frames[k] for k in own), ()) == row
        assert (pieces.start[own[0]], pieces.end[own[-1]]) == (samples.start[i], samples.end[i])
        assert (np.diff(pieces.start[own]) >= 0).all()
        assert len(own) == 1 or min(pieces.n_frames[own]) >= step
    assert pieces.n_frames.max(initial=0) < 2 * step


def test_step_must_be_positive() -> None:
    with pytest.raises(ValueError, match="step=0"):
        rows_of([3]).split_tracklets(0)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"pid": [1]}, ValueError, "frames 2, pid 1, camid 2"),
        ({"pid": [1.5, 2.0]}, TypeError, "pid has dtype float64"),
        ({"camid": [0, -2]}, ValueError, r"camid\[1\]=-2"),
        ({"tracklet": np.array([2**63, 0], dtype=np.uint64)}, ValueError, "does not fit int64"),
        ({"pid": [[1, 2]]}, ValueError, r"pid has shape \(1, 2\)"),
        ({"start": [0.0, np.inf]}, ValueError, r"start\[1\] is infinite"),
        ({"start": [0.0, 2.0], "end": [0.0, 1.0]}, ValueError, r"end\[1\]=1.0 lies before start\[1\]=2.0"),
    ],
)
def test_bad_columns_are_named(columns: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Samples.from_paths(["x", "y"], **columns)


def test_rows_must_be_tuples_with_a_frame() -> None:
    unknown, never = np.array([-1]), np.array([np.nan])
    with pytest.raises(TypeError, match=r"use Samples\.from_paths"):
        Samples(("x",), unknown, unknown, unknown, never, never)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"frames\[0\] holds no frame"):
        Samples(((),), unknown, unknown, unknown, never, never)


def test_describe_counts() -> None:
    assert table().describe() == "5 pictures, 3 identities, 3 cameras"
    assert table().by_tracklet().describe() == "5 pictures in 3 tracklets, 3 identities, 3 cameras"
    assert Samples.from_paths(["x"]).describe() == "1 picture, no identities, no cameras"


def dataset(root, pid: int = 1, order: int = 1) -> Dataset:
    names = ["a.jpg", "b.jpg"][::order]
    samples = Samples.from_paths([str(root / name) for name in names], pid=[pid, pid])
    return Dataset("x", "folder", root, samples, None, None, ())


def test_fingerprint_tells_data_apart(tmp_path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / folder / name).write_bytes(b"123")
    before = dataset(tmp_path / "one").fingerprint()
    assert len(before) == 64
    assert before == dataset(tmp_path / "two").fingerprint()
    assert before == dataset(tmp_path / "one", order=-1).fingerprint()
    assert before != dataset(tmp_path / "one", pid=2).fingerprint()
    (tmp_path / "one" / "a.jpg").write_bytes(b"1234")
    assert before != dataset(tmp_path / "one").fingerprint()
    (tmp_path / "two" / "b.jpg").rename(tmp_path / "two" / "c.jpg")
    with pytest.raises(FileNotFoundError, match=r"b\.jpg"):
        dataset(tmp_path / "two").fingerprint()


def test_query_needs_a_gallery(tmp_path) -> None:
    samples = Samples.from_paths(["x"])
    with pytest.raises(ValueError, match="gallery is missing"):
        Dataset("x", "folder", tmp_path, samples, samples, None, ())


def test_names_in_messages_can_be_printed() -> None:
    assert printable("plain ü.jpg") == "plain ü.jpg"
    for name in ("a\udcff.jpg", "a\nb.jpg", "a\x1b[31m.jpg"):
        shown = printable(name)
        assert shown.isprintable()
        shown.encode("utf-8")
    assert shortlist([str(i) for i in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
