from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reid.data.readers import read_dataset, read_folder, read_market1501
from reid.data.records import Samples


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def names(samples: Samples, root: Path) -> list[str]:
    return [os.path.relpath(row[0], root) for row in samples.frames]


MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c2s1_000451_03.jpg",
    "bounding_box_train/0004_c35s1_000144_00.jpg",
    "bounding_box_train/-1_c1s1_000451_03.jpg",
    "bounding_box_train/Thumbs.db",
    "query/1234567_c12s3_000001_00.jpg.jpg",
    "bounding_box_test/1234567_c3s1_000001_00.JPG",
    "bounding_box_test/0000_c3s1_000001_00.jpg",
    "bounding_box_test/-1_c3s1_000002_00.jpg",
)


def test_market(tmp_path: Path) -> None:
    data = read_dataset(touch(tmp_path, *MARKET))
    assert data.layout == "market1501"
    assert data.train.pid.tolist() == [2, 2, 4]
    assert data.train.camid.tolist() == [1, 2, 35]
    assert data.query is not None
    assert data.gallery is not None
    assert (data.query.pid.tolist(), data.query.camid.tolist()) == ([1234567], [12])
    assert data.gallery.pid.tolist() == [-1, 0, 1234567]
    assert any("1 junk pictures (pid -1) left out" in note for note in data.notes)
    assert any("1 distractors" in note for note in data.notes)
    assert all(note.endswith(".") for note in data.notes)


def test_market_in_its_archive_folder(tmp_path: Path) -> None:
    touch(tmp_path / "Market-1501-v15.09.15", *MARKET)
    data = read_dataset(tmp_path)
    assert (data.layout, data.name) == ("market1501", "Market-1501-v15.09.15")


def test_market_train_only(tmp_path: Path) -> None:
    data = read_dataset(touch(tmp_path, *MARKET[:3]))
    assert data.query is None
    assert data.gallery is None
    assert any("nothing can be evaluated" in note for note in data.notes)


def test_market_query_needs_its_gallery(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="bounding_box_test is missing"):
        read_dataset(touch(tmp_path, *MARKET[:6]))


def test_market_gallery_alone_is_not_used(tmp_path: Path) -> None:
    data = read_dataset(touch(tmp_path, *MARKET[:4], *MARKET[6:]))
    assert data.gallery is None
    assert any("without query" in note for note in data.notes)


@pytest.mark.parametrize(
    "name",
    [
        "0002_c1_f0001.jpg",
        "x.jpg",
        "0002_c1s1_000451.jpg",
        "-2_c1s1_000451_03.jpg",
        "٢_c1s1_1_1.jpg",
        "9" * 19 + "_c1s1_1_1.jpg",
    ],
)
def test_market_names_wrong_names(tmp_path: Path, name: str) -> None:
    touch(tmp_path, *MARKET, f"bounding_box_train/{name}")
    with pytest.raises(ValueError, match=r"1 names are not like 0002_c1s1_000451_03\.jpg") as caught:
        read_dataset(tmp_path)
    assert name in str(caught.value)


def test_market_empty_folders(tmp_path: Path) -> None:
    touch(tmp_path, "bounding_box_train/readme.txt")
    with pytest.raises(ValueError, match=r"no pictures .*1 other files \(readme.txt\)"):
        read_dataset(tmp_path)
    touch(tmp_path, "bounding_box_train/-1_c1s1_000451_03.jpg")
    with pytest.raises(ValueError, match="only junk"):
        read_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match="bounding_box_train is missing"):
        read_market1501(tmp_path / "bounding_box_train")


def real_data() -> Path:
    folder = os.environ.get("REID_TEST_DATA")
    if folder is None:
        pytest.skip("REID_TEST_DATA is not set: no real data")
    return Path(folder)


def test_market_names_of_the_original(tmp_path: Path) -> None:
    lists = real_data() / "metadata" / "market1501"
    if not lists.is_dir():
        pytest.skip(f"no {lists}")
    for folder, file in (
        ("bounding_box_train", "train"),
        ("query", "probe"),
        ("bounding_box_test", "gallery"),
    ):
        (tmp_path / folder).mkdir()
        for name in (lists / f"{file}.txt").read_text().split():
            (tmp_path / folder / name).touch()
    data = read_dataset(tmp_path)
    assert data.query is not None
    assert data.gallery is not None
    assert (len(data.train), len(data.query), len(data.gallery)) == (12_936, 3_368, 19_732)
    assert len(np.unique(data.train.pid)) == 751
    assert np.unique(data.train.camid).tolist() == [1, 2, 3, 4, 5, 6]
    assert len(np.unique(data.query.pid)) == 750
    assert set(data.gallery.pid) == {-1, 0, *data.query.pid}


@pytest.mark.parametrize(
    ("name", "counts"), [("uit_vehicle_reid_128", (810, 162, 162)), ("holstein2025", (1893, 384, 1344))]
)
def test_real_folders(name: str, counts: tuple[int, int, int]) -> None:
    root = real_data() / name
    if not root.is_dir():
        pytest.skip(f"no {root}")
    data = read_dataset(root)
    assert data.query is not None
    assert data.gallery is not None
    assert (len(data.train), len(data.query), len(data.gallery)) == counts


def test_folder_is_sorted_by_bytes_and_skips_what_is_hidden(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("b.JPG", "a/z.png", "a.webp", "é.tif", "Z.gif", "-rf.bmp", "with space\n'\".jpeg", "😀.tiff"),
        *(".hidden.jpg", "._b.JPG", ".git/x.jpg", "__MACOSX/b.jpg", "Thumbs.db", "notes.txt"),
    )
    data = read_dataset(tmp_path)
    assert (data.layout, data.query, data.gallery) == ("folder", None, None)
    found = names(data.train, tmp_path)
    assert found == sorted(found, key=os.fsencode)
    assert set(found) == {
        "b.JPG",
        "a/z.png",
        "a.webp",
        "é.tif",
        "Z.gif",
        "-rf.bmp",
        "with space\n'\".jpeg",
        "😀.tiff",
    }
    assert (data.train.pid == -1).all()
    assert any("1 other files (notes.txt)" in note for note in data.notes)
    assert data.fingerprint() == read_folder(tmp_path).fingerprint()


def test_folder_order_does_not_depend_on_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, *(f"{i % 7}/{i}.jpg" for i in range(50)))
    before = read_folder(tmp_path).train.frames
    real = os.scandir

    class Turned:
        def __init__(self, path: str) -> None:
            self.inner = real(path)

        def __enter__(self):
            return reversed(list(self.inner))

        def __exit__(self, *_: object) -> None:
            self.inner.close()

    monkeypatch.setattr(os, "scandir", Turned)
    assert read_folder(tmp_path).train.frames == before


def test_undecodable_names_survive(tmp_path: Path) -> None:
    raw = os.fsencode(str(tmp_path)) + b"/bad\xff.jpg"
    try:
        Path(os.fsdecode(raw)).write_bytes(b"x")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    data = read_folder(tmp_path)
    assert [os.fsencode(row[0]) for row in data.train.frames] == [raw]
    assert len(data.fingerprint()) == 64
    assert all(note.isprintable() for note in data.notes)


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no pictures \(\.jpg.*0 other files"):
        read_dataset(tmp_path)
    touch(tmp_path, *(f"{i}.txt" for i in range(7)))
    with pytest.raises(ValueError, match=r"7 other files .* and 2 more"):
        read_dataset(tmp_path)


def test_missing_and_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_dataset(tmp_path / "absent")
    touch(tmp_path, "a.jpg")
    with pytest.raises(ValueError, match="is no folder"):
        read_dataset(tmp_path / "a.jpg")


def test_links_stay_inside(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "real/a.jpg", "b.jpg")
    touch(tmp_path, "outside/c.jpg")
    (root / "loop").symlink_to(root)
    (root / "real" / "up").symlink_to("..")
    (root / "again").symlink_to("real")
    (root / "b2.jpg").symlink_to("b.jpg")
    (root / "self").symlink_to("self")
    found = names(read_dataset(root).train, root)
    assert len(found) == 3
    assert {os.path.basename(name) for name in found} == {"a.jpg", "b.jpg", "b2.jpg"}
    for link, target in (("c.jpg", "outside/c.jpg"), ("folder", "outside")):
        (root / link).symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match="link that leads out"):
            read_dataset(root)
        (root / link).unlink()
    (root / "dangling.jpg").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"dangling\.jpg: neither a file"):
        read_dataset(root)


def test_a_split_folder_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "0002_c1s1_000451_03.jpg")
    (tmp_path / "market").mkdir()
    (tmp_path / "market" / "bounding_box_train").symlink_to(tmp_path / "elsewhere")
    assert read_dataset(tmp_path / "market").train.pid.tolist() == [2]


def test_special_files_are_refused_without_blocking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"pipe\.jpg: neither a file"):
        read_dataset(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        read_dataset(tmp_path / "pipe.jpg")
    (tmp_path / "pipe.jpg").unlink()
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.png")
        with pytest.raises(ValueError, match=r"s\.png: neither a file"):
            read_dataset(tmp_path)


def test_readers_do_not_import_torch() -> None:
    code = "import sys, reid.data.readers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
