"""Small trees of every layout, wrong levels and missing files; real names and tables where there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from reid.data.clocks import DUKE_FPS
from reid.data.layouts import cuhk03, duke, duke_video, market1501, mars, msmt17, vehicleid, veri776
from reid.data.readers import LAYOUTS, read_dataset


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def lines(file: Path, *text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in text))


def duke_tree(root: Path) -> Path:
    return touch(
        root,
        *("bounding_box_train/0001_c2_f0046182.jpg", "bounding_box_train/0001_c5_f0000001.jpg"),
        *("query/0005_c1_f0044158.jpg", "bounding_box_test/0005_c2_f0046985.jpg"),
    )


def duke_video_tree(root: Path, ending: str = "") -> Path:
    return touch(
        root,
        *(f"train{ending}/0001/0003/0001_C6_F{k:04d}_X{30823 + 5 * k}.jpg" for k in (1, 2, 3)),
        f"train{ending}/0001/0001/0001_C1_F0001_X44158.jpg",
        f"query{ending}/0002/0001/0002C2F0001X50000.jpg",
        *(f"gallery{ending}/0002/0001/0002_C3_F000{k}_X5000{k}.jpg" for k in (1, 2)),
        f"gallery{ending}/7140/0001/7140_C2_F0044_D200413.jpg",
    )


def msmt17_tree(root: Path, train: str = "train", test: str = "test") -> Path:
    name = "{0:04d}/{0:04d}_{1:03d}_{2:02d}_0303morning_0008_{1}{3}.jpg"
    parts = {
        "list_train": [(0, 0, 1, ""), (0, 1, 14, "_ex"), (1, 0, 2, "")],
        "list_val": [(1, 1, 3, "")],
        "list_query": [(0, 0, 4, "")],
        "list_gallery": [(0, 1, 5, ""), (1, 0, 15, "")],
    }
    for file, entries in parts.items():
        names = [name.format(*entry) for entry in entries]
        folder = train if file in ("list_train", "list_val") else test
        touch(root / folder, *names)
        lines(root / f"{file}.txt", *(f"{text} {entry[0]}" for text, entry in zip(names, entries, strict=True)))
    return root


def mars_tree(root: Path) -> Path:
    train = ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0001F001.jpg"]
    test = ["00-1C1T0001F001.jpg", "0000C1T0001F001.jpg", "0002C1T0001F001.jpg", "0002C6T0003F001.jpg"]
    test.append("0002C6T0003F002.jpg")
    for folder, names in (("bbox_train", train), ("bbox_test", test)):
        touch(root / folder, *(f"{name[:4]}/{name}" for name in names))
        lines(root / "info" / f"{folder[5:]}_name.txt", *names)
    info = root / "info"
    savemat(info / "tracks_train_info.mat", {"track_train_info": np.array([[1, 2, 1, 1], [3, 3, 1, 2]])})
    rows = np.array([[1, 1, -1, 1], [2, 2, 0, 1], [3, 3, 2, 1], [4, 5, 2, 6]])
    savemat(info / "tracks_test_info.mat", {"track_test_info": rows})
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([[3]])})
    return root


def veri_tree(root: Path) -> Path:
    lines(root / "name_train.txt", "0001_c001_00016450_0.jpg", "0001_c002_00016460_0.jpg", "0009_c002_00000000_0.jpg")
    return touch(
        root,
        *("image_train/0001_c001_00016450_0.jpg", "image_train/0001_c002_00016460_0.jpg"),
        *("image_query/0002_c002_00030600_0.jpg", "image_test/0002_c003_00030650_0.jpg"),
    )


def vehicleid_tree(root: Path) -> Path:
    lists = root / "train_test_split"
    lines(lists / "train_list.txt", "0000003 7", "0000001 7", "0000002 8")
    lines(lists / "test_list_800.txt", "0000012 9", "0000010 9", "0000011 9", "0000013 10", "0000014 10")
    lines(lists / "test_list_1600.txt", "0000012 9")
    return touch(root, *(f"image/{n:07d}.jpg" for n in (1, 2, 3, 10, 11, 12, 13, 14)))


def cuhk03_tree(root: Path, *, matlab: bool = True) -> Path:
    names = ["1_001_1_01.png", "1_001_2_06.png", "5_002_1_01.png", "5_002_2_06.png"]
    touch(root / "images_detected", *names)
    if matlab:
        cells = np.array([[name] for name in names], dtype=object)
        content = {"filelist": cells, "train_idx": [[1], [2]], "query_idx": [[3]], "gallery_idx": [[4]]}
        savemat(root / "cuhk03_new_protocol_config_detected.mat", content)
    else:
        paths = [[f"/home/someone/images_detected/{name}", 0, 0] for name in names]
        split = {"train": paths[:2], "query": paths[2:3], "gallery": paths[3:]}
        (root / "splits_new_detected.json").write_text(json.dumps([split]))
    return root


def personx_tree(root: Path) -> Path:
    for background in (1, 4):
        touch(
            root / str(background),
            *("bounding_box_train/0004_c1s1_01.jpg", "query/0001_c1s1_32.jpg", "bounding_box_test/0001_c1s1_01.jpg"),
        )
    return root


TREES: dict[str, Callable[[Path], Path]] = {
    "dukemtmc-reid": duke_tree, "dukemtmc-videoreid": duke_video_tree, "msmt17": msmt17_tree, "mars": mars_tree,
    "veri776": veri_tree, "vehicleid": vehicleid_tree, "cuhk03": cuhk03_tree, "personx": personx_tree,
}  # fmt: skip


@pytest.mark.parametrize("layout", TREES)
def test_told_apart_from_here_above_and_below(tmp_path: Path, layout: str) -> None:
    root = TREES[layout](tmp_path / "above" / "data")
    data = read_dataset(root)
    assert (data.layout, data.root) == (layout, root)
    assert all(note.endswith(".") and note.isprintable() for note in data.notes)
    assert len(data.fingerprint()) == 64
    above = read_dataset(root.parent)
    assert (above.layout, above.root) == (layout, root)
    assert above.notes[-1] == "Found in its folder data."
    assert read_dataset(root).fingerprint() == above.fingerprint()


@pytest.mark.parametrize(
    ("layout", "part"),
    [
        ("dukemtmc-reid", "query"), ("dukemtmc-videoreid", "train"), ("dukemtmc-videoreid", "train/0001"),
        ("msmt17", "test"), ("mars", "bbox_train"), ("mars", "bbox_train/0001"), ("mars", "info"),
        ("veri776", "image_test"), ("vehicleid", "image"), ("cuhk03", "images_detected"),
    ],
)  # fmt: skip
def test_a_part_of_a_layout_is_named(tmp_path: Path, layout: str, part: str) -> None:
    root = TREES[layout](tmp_path)
    title = next(known.title for known in LAYOUTS if known.name == layout)
    expected = f"t is a part of a {title} layout: for identities and cameras give {root}"
    if part == "info":
        with pytest.raises(ValueError, match="no pictures") as caught:
            read_dataset(root / part)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        data = read_dataset(root / part)
        assert data.layout == "folder"
        assert any(expected in note for note in data.notes)


def test_several_data_sets_in_a_folder(tmp_path: Path) -> None:
    veri_tree(tmp_path / "VeRi")
    mars_tree(tmp_path / "MARS")
    with pytest.raises(ValueError, match=r"holds 2 data sets \(MARS, VeRi\): give the folder of one"):
        read_dataset(tmp_path)
    touch(tmp_path, "own.jpg")
    assert read_dataset(tmp_path).layout == "folder"


@pytest.mark.parametrize(
    ("layout", "file", "message"),
    [
        ("msmt17", "list_train.txt", "list_train.txt is missing: the MSMT17 layout needs it; it lies in the same"),
        ("msmt17", "list_val.txt", "list_val.txt is missing"),
        ("msmt17", "train/0000/0000_000_01_0303morning_0008_0.jpg", "list_train.txt: 1 of 3 pictures are not in"),
        ("mars", "info/query_IDX.mat", "query_IDX.mat is missing: the MARS layout"),
        ("mars", "info/test_name.txt", "test_name.txt is missing"),
        ("mars", "bbox_test/0002/0002C6T0003F002.jpg", "test_name.txt: 1 of 5 pictures are not in"),
        ("vehicleid", "train_test_split/train_list.txt", "train_list.txt is missing"),
        ("vehicleid", "image/0000002.jpg", "train_list.txt: 1 of 3 pictures"),
        ("cuhk03", "cuhk03_new_protocol_config_detected.mat", "config_detected.mat is missing"),
        ("cuhk03", "images_detected/5_002_1_01.png", "1 of 1 pictures are not in"),
        ("dukemtmc-reid", "bounding_box_test/0005_c2_f0046985.jpg", "no pictures"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, layout: str, file: str, message: str) -> None:
    root = TREES[layout](tmp_path)
    (root / file).unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=message.replace(".", r"\.")) as caught:
        read_dataset(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "folder", "missing"),
    [
        ("msmt17", "test", "test is missing"), ("mars", "info", "published apart"),
        ("mars", "bbox_test", "bbox_test is missing"), ("veri776", "image_train", "image_train is missing"),
        ("veri776", "image_query", "image_query is missing"), ("vehicleid", "image", "image is missing"),
        ("cuhk03", "images_detected", "images_detected is missing"),
        ("dukemtmc-videoreid", "train", "train is missing"), ("dukemtmc-videoreid", "query", "query is missing"),
        ("dukemtmc-reid", "bounding_box_train", "bounding_box_train is missing"),
    ],
)  # fmt: skip
def test_a_folder_that_is_missing(tmp_path: Path, layout: str, folder: str, missing: str) -> None:
    root = TREES[layout](tmp_path / "data")
    (root / folder).rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=missing):
        read_dataset(root)


def test_duke(tmp_path: Path) -> None:
    data = read_dataset(duke_tree(tmp_path))
    assert data.query is not None
    assert data.train.camid.tolist() == [2, 5]
    # Frame 44158 of camera 1 is frame 49700 of the master clock, camera 5 is the master.
    assert data.query.start.tolist() == [49_700 / DUKE_FPS]
    assert data.train.start[1] == 1 / DUKE_FPS
    assert set(data.train.clock) == {0}
    assert any("withdrawn by its authors" in note for note in data.notes)
    beyond = duke.parse_duke(["0001_c9_f0000001.jpg"])
    assert np.isnan(beyond.start).all()
    assert beyond.clock.tolist() == [-1]


@pytest.mark.parametrize("ending", ["", "_split"])
def test_duke_video(tmp_path: Path, ending: str) -> None:
    data = read_dataset(duke_video_tree(tmp_path, ending))
    assert data.query is not None
    assert data.gallery is not None
    assert [len(row) for row in data.train.frames] == [1, 3]
    assert data.train.camid.tolist() == [1, 6]
    assert data.gallery.pid.tolist() == [2, 7140]
    tracklets = [*data.train.tracklet, *data.query.tracklet, *data.gallery.tracklet]
    assert tracklets == list(range(5))
    seconds = (data.train.end - data.train.start) * DUKE_FPS
    np.testing.assert_allclose(seconds, [0, 10], atol=1e-9)
    assert (data.train.start[1] * DUKE_FPS).round() == 30828 + 22402 - 1
    assert any("withdrawn" in note for note in data.notes)


def test_duke_video_wrong_trees(tmp_path: Path) -> None:
    root = duke_video_tree(tmp_path / "a")
    touch(root, "train/0001/0003/0001_C5_F0099_X30823.jpg")
    with pytest.raises(ValueError, match="0003 holds frames of several cameras"):
        read_dataset(root)
    root = touch(tmp_path / "b", "train/0001/0001_C5_F0099_X30823.jpg")
    with pytest.raises(ValueError, match="must lie in train/PERSON/TRACKLET"):
        read_dataset(root)
    root = touch(tmp_path / "c", "train_split/0001/0001/0001C1T0001F001.jpg")
    with pytest.raises(ValueError, match="frames of MARS that somebody repacked"):
        read_dataset(root)
    with pytest.raises(ValueError, match="cameras 1 to 8"):
        duke_video.parse_duke_video(["0001_C9_F0001_X00001.jpg"])


@pytest.mark.parametrize(("folders", "release"), [(("train", "test"), "V1"), (("mask_train_v2", "mask_test_v2"), "V2")])
def test_msmt17(tmp_path: Path, folders: tuple[str, str], release: str) -> None:
    data = read_dataset(msmt17_tree(tmp_path, *folders))
    assert data.query is not None
    assert data.gallery is not None
    assert data.train.pid.tolist() == [0, 0, 1, 1]
    assert data.train.camid.tolist() == [1, 14, 2, 3]
    assert data.gallery.camid.tolist() == [5, 15]
    assert np.isnan(data.train.start).all()
    assert f"release {release}" in data.notes[0]
    lines(tmp_path / "list_query.txt", "../outside/0000_000_01_0303morning_0008_0.jpg 0")
    with pytest.raises(ValueError, match="leads out of"):
        read_dataset(tmp_path)
    lines(tmp_path / "list_query.txt", "0000_000_01_0303morning_0008_0.jpg")
    with pytest.raises(ValueError, match=r"list_query\.txt entry 1: .* must be a name and a number"):
        read_dataset(tmp_path)


def test_msmt17_without_lists_is_recognised(tmp_path: Path) -> None:
    root = msmt17_tree(tmp_path)
    for file in root.glob("list_*.txt"):
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"list_train\.txt is missing"):
        read_dataset(root)


def test_mars(tmp_path: Path) -> None:
    data = read_dataset(mars_tree(tmp_path))
    assert data.query is not None
    assert data.gallery is not None
    assert [len(row) for row in data.train.frames] == [2, 1]
    assert data.query.tracklet.tolist() == [4]
    assert (data.gallery.pid.tolist(), data.gallery.camid.tolist()) == ([0, 2], [1, 6])
    assert data.gallery.tracklet.tolist() == [3, 5]
    assert np.isnan(data.train.start).all()
    assert set(data.train.clock) == {-1}
    assert any("1 junk tracklets (pid -1) left out; the gallery holds 1 distractors" in note for note in data.notes)


def test_mars_tables_of_another_release(tmp_path: Path) -> None:
    root = mars_tree(tmp_path)
    info = root / "info"
    good = (info / "train_name.txt").read_text()
    lines(info / "train_name.txt", *reversed(good.split()))
    with pytest.raises(ValueError, match="not of one release"):
        read_dataset(root)
    lines(info / "train_name.txt", good.split()[0])
    with pytest.raises(ValueError, match="the tables go up to 3"):
        read_dataset(root)
    (info / "train_name.txt").write_text(good)
    (info / "query_IDX.mat").write_bytes(b"no matlab")
    with pytest.raises(ValueError, match="no MATLAB 5 file"):
        read_dataset(root)
    savemat(info / "query_IDX.mat", {"query_IDX": np.array([[9]])})
    with pytest.raises(ValueError, match="different rows from 1 to 4"):
        read_dataset(root)


def test_veri(tmp_path: Path) -> None:
    data = read_dataset(veri_tree(tmp_path))
    assert data.query is not None
    assert data.train.camid.tolist() == [1, 2]
    assert data.query.start.tolist() == [30600 / 25]
    assert set(data.train.clock) == {0}
    assert any("name_train.txt names 1 pictures that are not there: 0009_c002" in note for note in data.notes)


def test_vehicleid(tmp_path: Path) -> None:
    data = read_dataset(vehicleid_tree(tmp_path))
    assert data.query is not None
    assert data.gallery is not None
    assert data.train.pid.tolist() == [7, 7, 8]
    assert [Path(row[0]).stem for row in data.gallery.frames] == ["0000010", "0000013"]
    assert [Path(row[0]).stem for row in data.query.frames] == ["0000011", "0000012", "0000014"]
    assert set(data.query.camid) == {-1}
    assert any("test_list_800.txt" in note for note in data.notes)
    with pytest.raises(ValueError, match="one picture a vehicle"):
        vehicleid.read_vehicleid(tmp_path, "test_list_1600.txt")
    with pytest.raises(ValueError, match="entry 2: 'x'"):
        vehicleid.parse_vehicleid(["1 2", "x"])


@pytest.mark.parametrize("matlab", [True, False])
def test_cuhk03(tmp_path: Path, matlab: bool) -> None:
    data = read_dataset(cuhk03_tree(tmp_path, matlab=matlab))
    assert data.query is not None
    assert data.gallery is not None
    assert len(set(data.train.pid)) == 1
    assert data.train.camid.tolist() == [1, 2]
    assert data.query.pid.tolist() == data.gallery.pid.tolist()
    with pytest.raises(FileNotFoundError, match="images_labeled is missing"):
        cuhk03.read_cuhk03(tmp_path, "labeled")


def test_cuhk03_other_releases(tmp_path: Path) -> None:
    touch(tmp_path / "raw", "cuhk03_release/cuhk-03.mat")
    with pytest.raises(FileNotFoundError, match=r"draw the pictures out of cuhk-03\.mat"):
        read_dataset(tmp_path / "raw")
    touch(tmp_path / "classic", "splits_classic_detected.json", "images_detected/1_001_1_01.png")
    with pytest.raises(FileNotFoundError, match="classic splits ask for another protocol"):
        read_dataset(tmp_path / "classic")
    root = cuhk03_tree(tmp_path / "broken", matlab=False)
    (root / "splits_new_detected.json").write_text("[{}]")
    with pytest.raises(ValueError, match="no list of splits of CUHK03"):
        read_dataset(root)


def test_personx(tmp_path: Path) -> None:
    data = read_dataset(personx_tree(tmp_path / "many"))
    assert data.query is not None
    assert data.train.camid.tolist() == [1, 4]
    assert data.query.camid.tolist() == [1, 4]
    one = read_dataset(tmp_path / "many" / "4")
    assert (one.layout, one.train.camid.tolist()) == ("personx", [1])
    named = touch(tmp_path / "PersonX", "bounding_box_train/0001_c10_05.jpg")
    assert (read_dataset(named).layout, read_dataset(named).train.camid.tolist()) == ("personx", [10])


def test_market_clocks(tmp_path: Path) -> None:
    found = market1501.parse_market1501(
        ["0002_c1s1_000450_03.jpg", "a/0003_c1s2_000450_01.jpg", "-1_c6s4_000025_00.jpg"]
    )
    assert found.clock.tolist() == [101, 102, 604]
    assert found.start.tolist() == [18, 18, 1]
    assert market1501.parse_market1501(["0002_c1s100_1_1.jpg"]).clock.tolist() == [-1]
    # A copy whose frame numbers are place-holders must not tell that all its pictures were taken at once.
    root = touch(tmp_path, *(f"bounding_box_train/{k:04d}_c1s1_000000_00.jpg" for k in range(60)))
    data = read_dataset(root)
    assert np.isnan(data.train.start).all()
    assert set(data.train.clock) == {-1}
    assert any("no frame numbers" in note for note in data.notes)


def test_market_renamed(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"bounding_box_train/{name}" for name in ("0000_c1_0000.jpg", "12_c15_morning_3.png")))
    data = read_dataset(root)
    assert (data.layout, data.train.pid.tolist(), data.train.camid.tolist()) == ("market1501", [0, 12], [1, 15])
    assert np.isnan(data.train.start).all()


@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (duke.parse_duke, "0002_c1s1_000451_03.jpg"), (duke_video.parse_duke_video, "0001C1T0001F001.jpg"),
        (msmt17.parse_msmt17, "0000_c1.jpg"), (mars.parse_mars, "0001C1F0001.jpg"), (veri776.parse_veri776, "1_c1.jpg"),
        (cuhk03.parse_cuhk03, "6_001_3_01.png"), (market1501.parse_market1501, "٢_c1s1_1_1.jpg"),
    ],
)  # fmt: skip
def test_names_of_another_form(parse: Callable[[list[str]], object], name: str) -> None:
    with pytest.raises(ValueError, match=r"1 names are not like .*rename them, or give a table"):
        parse([name])


def test_mars_tables_of_the_original(real_data: Path) -> None:
    tables = mars.read_tables(real_data / "metadata" / "mars")
    assert (len(tables.train), len(tables.test), len(tables.query), len(tables.gallery)) == (8298, 12180, 1980, 9330)
    frames = [int((table[:, 1] - table[:, 0] + 1).sum()) for table in (tables.train, tables.test)]
    assert frames == [509_914, 681_089]
    # 636 published test identities: 634 persons, distractors and junk.
    assert [len(np.unique(table[:, 2])) for table in (tables.train, tables.test)] == [625, 636]
    assert sorted(set(tables.test[:, 3])) == [1, 2, 3, 4, 5, 6]
    assert (tables.test[tables.query, 2] > 0).all()


def test_veri_names_of_the_original(real_data: Path) -> None:
    text = (real_data / "metadata" / "veri776" / "keypoint_test.txt").read_text()
    names = sorted({line.split()[0] for line in text.splitlines() if line.strip()})
    found = veri776.parse_veri776(names)
    assert len(names) == 11_579
    assert len(np.unique(found.pid)) == 200
    assert sorted(set(found.camid)) == list(range(1, 20))
    assert (found.start.min(), found.start.max()) == (0, 89_990 / 25)
    # One vehicle in two cameras within the same second: only where the views overlap.
    pairs = set()
    for pid in np.unique(found.pid):
        rows = np.flatnonzero(found.pid == pid)
        near = np.abs(found.start[rows, None] - found.start[rows]) == 0
        a, b = np.nonzero(near & (found.camid[rows, None] < found.camid[rows]))
        pairs |= set(zip(found.camid[rows[a]].tolist(), found.camid[rows[b]].tolist(), strict=True))
    assert pairs
    assert pairs <= set(veri776.OVERLAPPING)


def test_market_names_of_the_original(real_data: Path) -> None:
    lists = real_data / "metadata" / "market1501"
    names = [name for part in ("train", "probe", "gallery") for name in (lists / f"{part}.txt").read_text().split()]
    found = market1501.parse_market1501(names)
    assert len(names) == 36_036
    assert (found.pid == -1).sum() == 3819
    assert len(np.unique(found.clock)) == 6 + 3 + 3 + 6 + 3 + 4
