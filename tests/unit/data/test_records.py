from __future__ import annotations

import numpy as np
import pytest

from reid.data.records import Dataset, Samples, printable, shortlist


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
