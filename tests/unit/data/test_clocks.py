from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.data import clocks
from reid.data.records import Dataset, Samples


def data(clock: list[int], camid: tuple[int, ...] = (1, 1, 2, 3), *, test: bool = False) -> Dataset:
    train = Samples.from_paths(
        ["a", "b", "c", "d"], camid=np.array(camid), clock=np.array(clock),
        start=[0.0, 1.0, 2.0, np.nan], end=[5.0, 6.0, 7.0, np.nan],
    )  # fmt: skip
    other = Samples.from_paths(["e"], camid=[2], clock=[clock[2]], start=[9.0]) if test else None
    return Dataset("x", "table", Path("."), train, other, other, ("Read.",))


def table(tmp_path: Path, text: str) -> list[clocks.Offset]:
    (tmp_path / "offsets.csv").write_text(text)
    return clocks.read_offsets(tmp_path / "offsets.csv")


def test_duke_master_frames() -> None:
    seconds = clocks.duke_seconds([1, 5, 9, 0], [44_158, 1, 1, 1])
    np.testing.assert_allclose(seconds[:2] * clocks.DUKE_FPS, [49_700, 1])
    assert np.isnan(seconds[2:]).all()


def test_market_offsets_put_sequences_one_behind_the_other() -> None:
    offsets = clocks.market_offsets()
    assert len(offsets) == 25
    assert offsets[1, 101] == 0
    assert offsets[2, 203] == (163_691 + 164_677) / 25


def test_a_table_joins_clocks(tmp_path: Path) -> None:
    offsets = table(tmp_path, "camid,offset_seconds\n1,-10\n2,0.5\n")
    out = clocks.shift_clocks(data([4, 4, 7, -1], test=True), offsets)
    assert out.train.start[:3].tolist() == [-10, -9, 2.5]
    assert out.train.end[:3].tolist() == [-5, -4, 7.5]
    assert out.train.clock.tolist() == [8, 8, 8, -1]
    assert out.query is not None
    assert (out.query.start.tolist(), out.query.clock.tolist()) == ([9.5], [8])
    assert out.notes[-1] == "Times of 2 cameras shifted by the table of clock offsets, which now share one clock."


def test_cameras_left_out_keep_their_clock(tmp_path: Path) -> None:
    offsets = table(tmp_path, "\ufeffcamid;offset_seconds\n2;1\n")
    kept = clocks.shift_clocks(data([0, 0, 0, -1]), offsets)  # one common clock: camera 2 is put right on it
    assert (kept.train.start[2], kept.train.clock.tolist()) == (3.0, [0, 0, 0, -1])
    unknown = clocks.shift_clocks(data([-1, -1, -1, -1]), offsets)
    assert unknown.train.clock.tolist() == [-1, -1, 0, -1]


def test_a_line_for_each_clock(tmp_path: Path) -> None:
    several = data([101, 102, 201, -1])
    with pytest.raises(ValueError, match=r"camera 1 has 2 clocks \(101, 102\): add a column clock"):
        clocks.shift_clocks(several, table(tmp_path, "camid,offset_seconds\n1,0\n"))
    out = clocks.shift_clocks(several, table(tmp_path, "camid,clock,offset_seconds\n1,101,0\n1,102,100\n"))
    assert out.train.start[:3].tolist() == [0, 101, 2]
    assert out.train.clock.tolist() == [202, 202, 201, -1]
    with pytest.raises(ValueError, match="camera 1 has no clock 5"):
        clocks.shift_clocks(several, table(tmp_path, "camid,clock,offset_seconds\n1,5,0\n"))


@pytest.mark.parametrize("camera", [3, 9])
def test_cameras_without_times(tmp_path: Path, camera: int) -> None:
    with pytest.raises(ValueError, match=rf"camera {camera} has no times in the data \(those that have: 1, 2\)"):
        clocks.shift_clocks(data([0, 0, 0, -1]), table(tmp_path, f"camid,offset_seconds\n{camera},1\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera,offset\n1,2\n", "columns camera, offset: must be camid"),
        ("", "columns : must be camid"),
        ("camid,offset_seconds\n", "no lines below"),
        ("camid,offset_seconds\n1\n", "line 2: 1 cells"),
        ("camid,offset_seconds\n\n-1,2\n", "line 3: camid '-1': must be a whole"),
        ("camid,offset_seconds\n1,nan\n", "line 2: offset_seconds 'nan'"),
        ("camid,offset_seconds\n1,x\n", "offset_seconds 'x'"),
        ("camid,offset_seconds\n1,2\n1,3\n", "line 3: camera 1 is listed twice"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table(tmp_path, text)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        clocks.read_offsets(tmp_path / "x.csv")
