from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from reid.data.readers import read_dataset
from reid.data.records import Samples
from reid.data.table import read_table


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(samples: Samples, root: Path) -> list[str]:
    return [os.path.relpath(row[0], root) for row in samples.frames]


def table(root: Path, text: str | bytes, name: str = "samples.csv") -> Path:
    touch(root, "a.jpg", "b.jpg", "sub/c.jpg")
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return root / name


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_table(tmp_path: Path, newline: str, delimiter: str, bom: str) -> None:
    rows = ["path,split,pid,camid,time_start,time_end,tracklet,clock,frame"]
    rows += [
        "a.jpg,train,007,1,1.5,2,3,0,17",
        '"b.jpg",query,,,,,,,',
        "",
        "sub/c.jpg,Gallery,-1,2,4e1,,0,-1,",
    ]
    table(tmp_path, bom + newline.join(rows).replace(",", delimiter))
    data = read_dataset(tmp_path)
    assert data.layout == "table"
    assert data.name == tmp_path.name
    assert names(data.train, tmp_path) == ["a.jpg"]
    assert (data.train.pid[0], data.train.camid[0], data.train.tracklet[0], data.train.clock[0]) == (
        7,
        1,
        3,
        0,
    )
    assert (data.train.start[0], data.train.end[0]) == (1.5, 2.0)
    assert data.query is not None
    assert data.gallery is not None
    assert data.query.pid.tolist() == [-1]
    assert np.isnan(data.query.start[0])
    assert (data.gallery.start[0], data.gallery.end[0]) == (40.0, 40.0)


def test_table_without_splits_is_all_train_in_its_order(tmp_path: Path) -> None:
    data = read_dataset(table(tmp_path, "path\nsub/c.jpg\na.jpg\n", "list.CSV"))
    assert names(data.train, tmp_path) == ["sub/c.jpg", "a.jpg"]
    assert (data.name, data.query) == ("list", None)


def test_frames_stand_in_for_times(tmp_path: Path) -> None:
    data = read_table(table(tmp_path, "path,frame,tracklet\na.jpg,9,0\nb.jpg,8,0\nsub/c.jpg,,0"))
    assert data.train.start[:2].tolist() == [9.0, 8.0]
    assert names(data.train.by_tracklet(), tmp_path) == ["b.jpg"]
    assert any("frame numbers stand in" in note for note in data.notes)


def test_without_a_column_clock_times_share_one_and_frames_have_their_cameras(tmp_path: Path) -> None:
    times = read_table(table(tmp_path, "path,camid,time_start\na.jpg,3,9\nb.jpg,4,8\nsub/c.jpg,4,"))
    assert times.train.clock.tolist() == [0, 0, -1]
    frames = read_table(table(tmp_path, "path,camid,frame\na.jpg,3,9\nb.jpg,4,8\nsub/c.jpg,,1"))
    assert frames.train.clock.tolist() == [3, 4, -1]


def test_table_takes_absolute_paths_inside_and_quoted_names(tmp_path: Path) -> None:
    touch(tmp_path, 'odd ,;"\u2028\n.jpg')
    text = f'path\n{tmp_path}/a.jpg\n"odd ,;""\u2028\n.jpg"\n'
    assert names(read_table(table(tmp_path, text)).train, tmp_path) == ["a.jpg", 'odd ,;"\u2028\n.jpg']


def test_query_pictures_may_be_in_the_gallery(tmp_path: Path) -> None:
    data = read_table(table(tmp_path, "path,split,pid\na.jpg,query,1\na.jpg,gallery,1\nb.jpg,gallery,1\n"))
    assert len(data.train) == 0
    assert "1 pictures are both query and gallery." in data.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("path\n", "no lines below the header"),
        ("pid\n1\n", "no column path"),
        ("path,colour\na.jpg,red\n", "unknown column 'colour'"),
        ("path,pid,pid\na.jpg,1,1\n", "column pid stands there twice"),
        ("path,pid\na.jpg,1\nb.jpg\n", "line 3: 1 cells, the header has 2"),
        ("path,pid\n\na.jpg,1,2\n", "line 3: 3 cells"),
        ("path,pid\na.jpg,1\nb.jpg,3.0\n", "line 3: pid '3.0'"),
        ("path,camid\na.jpg,nan\n", "line 2: camid 'nan'"),
        ("path,tracklet\na.jpg,-2\n", "line 2: tracklet '-2'"),
        ("path,pid\na.jpg,9223372036854775808\n", "line 2: pid '9223372036854775808'"),
        (f"path,pid\na.jpg,{'0' * 5000}{'9' * 25}\n", "line 2: pid '0000"),
        ("path,pid\na.jpg,1_000\n", "line 2: pid '1_000'"),
        ("path,pid\na.jpg,٣\n", "line 2: pid"),
        ("path,time_start\na.jpg,inf\n", "line 2: time_start 'inf'"),
        ("path,time_start\na.jpg,1e999\n", "line 2: time_start '1e999'"),
        ("path;time_start\na.jpg;1,5\n", "line 2: time_start '1,5'"),
        ("path,time_end\na.jpg,1\n", "line 2: time_end without time_start"),
        ("path,time_start,time_end\na.jpg,2,1\n", "line 2: time_end 1 lies before"),
        ("path,split\na.jpg,test\n", "line 2: split 'test'"),
        ("path,split\na.jpg,query\n", "no line has split gallery"),
        ("path,split\na.jpg,gallery\n", "no line has split query"),
        ("path,pid\n ,1\n", "line 2: path is empty"),
        ("path\n../a.jpg\n", r"line 2: path '\.\./a.jpg' holds '\.\.'"),
        ("path\nsub/../a.jpg\n", r"holds '\.\.'"),
        ("path\n/etc/passwd\n", "leads out of"),
        ("path\nsub\n", "not a regular file"),
        ("path,pid\na.jpg,1\nb.jpg,1\n./a.jpg,2\n", "lines 2 and 4: './a.jpg' has pid 1 and 2"),
        ("path\na.jpg\na.jpg\n", "stands in train and in train"),
        ("path,split\na.jpg,train\na.jpg,query\nb.jpg,gallery\n", "stands in train and in query"),
        ("path,split\na.jpg,query\na.jpg,gallery\na.jpg,gallery\n", "lines 2 and 4"),
        ('path\n"a.jpg\n', "check quotes"),
        ("path\na.jpg\0\n", "line 2: a NUL character"),
        ("path\na.jpg\n".encode("utf-16"), "line 1: not UTF-8"),
        ("path\na.jpg\né.jpg\n".encode("latin-1"), "line 3: not UTF-8"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_dataset(table(tmp_path, text))
    assert "samples.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_files_are_counted(tmp_path: Path) -> None:
    text = "path\na.jpg\n" + "".join(f"{i}.jpg\n" for i in range(8)) + "a.jpg/x.jpg\n"
    with pytest.raises(FileNotFoundError, match=r"9 of 10 files .*0\.jpg, .*4\.jpg and 4 more"):
        read_dataset(table(tmp_path, text))


def test_table_links_stay_inside(tmp_path: Path) -> None:
    touch(tmp_path / "outside", "x.jpg")
    path = table(tmp_path / "root", "path\nlink.jpg\n")
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "outside" / "x.jpg")
    with pytest.raises(ValueError, match="leads out of"):
        read_dataset(path)


def test_leading_zeros_of_any_length_are_dropped(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, f"path,pid\na.jpg,{'0' * 5000}12\n")).train.pid.tolist() == [12]


def test_parquet_reads_as_csv(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: no Parquet")
    from pyarrow import parquet

    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"x")
    columns = {"path": ["a.jpg", "b.jpg", "c.jpg"], "pid": [3.0, None, float("nan")], "camid": [1, 2, None]}
    columns["time_start"] = [0.25, 1.0, None]
    parquet.write_table(pyarrow.table(columns), tmp_path / "samples.parquet")
    data = read_dataset(tmp_path)
    assert (data.layout, data.name) == ("table", tmp_path.name)
    assert data.train.pid.tolist() == [3, -1, -1]
    assert data.train.camid.tolist() == [1, 2, -1]
    assert data.train.start[:2].tolist() == [0.25, 1.0]
    assert read_dataset(tmp_path / "samples.parquet").fingerprint() == data.fingerprint()
    (tmp_path / "samples.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(ValueError, match=r"samples\.parquet: no Parquet table"):
        read_dataset(tmp_path)
    parquet.write_table(pyarrow.table({"path": ["a.jpg"], "colour": ["red"]}), tmp_path / "samples.parquet")
    with pytest.raises(ValueError, match="unknown column 'colour'"):
        read_dataset(tmp_path)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "samples.parquet").write_bytes(b"x")
    with pytest.raises(ImportError, match=r"Parquet needs the package pyarrow: pip install 'reid-cluster\[parquet\]'"):
        read_dataset(tmp_path)
