"""What a look at every picture finds: in a folder of all kinds, and between the splits of a data set."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from mixed import BAD, draw_mixed, scene
from PIL import Image

from reid.data.inspection import REPAIR, TRAITS, Finding, find_problems, look_at
from reid.data.readers import read_dataset
from reid.data.twins import files_of


def _found(root: Path, **settings: int) -> tuple[list[Finding], int]:
    data = read_dataset(root)
    files = files_of(data)
    return find_problems(files, look_at(files.paths), data.root, **settings)


def _of(findings: list[Finding], kind: str) -> dict[str, str]:
    return {finding.path: finding.detail for finding in findings if finding.kind == kind}


def test_a_folder_of_all_kinds(tmp_path: Path) -> None:
    root = draw_mixed(tmp_path / "mixed")
    files = files_of(read_dataset(root))
    assert len(files.paths) == 50
    looks = look_at(files.paths, workers=3)
    assert len(looks.readable) == 45
    counted = dict(zip(TRAITS, looks.traits.sum(axis=0).tolist(), strict=True))
    assert counted == {"turned": 3, "cmyk": 2, "deep": 2, "alpha": 2, "animated": 1}
    sizes = {os.path.basename(path): tuple(size) for path, size in zip(files.paths, looks.sizes.tolist(), strict=True)}
    assert sizes["portrait00.jpg"] == (120, 60)
    assert sizes["turned6.jpg"] == (60, 120)  # stored upright, shown lying
    assert sizes["turned3.jpg"] == (120, 60)

    findings, in_tracklets = find_problems(files, looks, root)
    assert in_tracklets == 0
    unreadable = _of(findings, "unreadable")
    assert unreadable.keys() == BAD.keys()
    assert all(reason in unreadable[name] for name, reason in BAD.items())
    assert _of(findings, "tiny") == {"tiny.png": "40 x 9 pixels (height x width)"}
    assert _of(findings, "duplicate") == {"same.jpg": "train; same bytes as portrait03.jpg (train)"}
    near = _of(findings, "near-duplicate")
    assert {name: detail.split()[5] for name, detail in near.items()} == {
        "recompressed.jpg": "half.png" if "half.png" in near.get("recompressed.jpg", "") else "portrait04.jpg",
        "portrait05.jpg": "half.png",
    }
    assert len(findings) == 5 + 1 + 1 + 2
    assert [list(REPAIR).index(f.kind) for f in findings] == sorted(list(REPAIR).index(f.kind) for f in findings)


def test_threads_and_blocks_change_nothing(tmp_path: Path) -> None:
    paths = []
    for i in range(70):  # more than two blocks of files
        scene(i, (20, 24)).save(tmp_path / f"{i:02d}.png")
        paths.append(str(tmp_path / f"{i:02d}.png"))
    said: list[int] = []
    threads = set()

    def progress(done: int, total: int, stage: str) -> None:
        assert (total, stage) == (70, "looking at pictures")
        threads.add(threading.get_ident())
        said.append(done)

    one, many = look_at(paths, workers=1), look_at(paths, workers=5, progress=progress)
    for name in ("sizes", "traits", "digests", "bits", "thumbnails"):
        assert np.array_equal(getattr(one, name), getattr(many, name))
    assert len(np.unique(one.bits)) == 70
    assert said == sorted(said)
    assert said[-1] == 70
    assert threads == {threading.get_ident()}


def _market(root: Path, names: dict[str, Path | int]) -> Path:
    """A set in Market-1501 layout; a value is a seed to draw by, or a file to copy."""
    for name, what in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, int):
            scene(what).save(path, quality=92)
        else:
            shutil.copy(root / what, path)
    return root


def test_the_same_picture_on_two_sides(tmp_path: Path) -> None:
    root = _market(
        tmp_path / "set",
        {
            "bounding_box_train/0001_c1s1_000001_00.jpg": 1,
            "bounding_box_train/0001_c2s1_000002_00.jpg": 2,
            "bounding_box_train/0002_c1s1_000003_00.jpg": Path("bounding_box_train/0001_c2s1_000002_00.jpg"),
            "query/0003_c1s1_000004_00.jpg": 4,
            "query/0004_c1s1_000005_00.jpg": 5,
            "bounding_box_test/0003_c1s1_000006_00.jpg": Path("query/0003_c1s1_000004_00.jpg"),  # left out by the rule
            "bounding_box_test/0004_c2s1_000007_00.jpg": Path("query/0004_c1s1_000005_00.jpg"),
            "bounding_box_test/0003_c2s1_000008_00.jpg": Path("bounding_box_train/0001_c1s1_000001_00.jpg"),
            "bounding_box_test/0004_c3s1_000009_00.jpg": 9,
        },
    )
    findings, _ = _found(root)
    assert _of(findings, "leak") == {
        "bounding_box_test/0003_c2s1_000008_00.jpg": "gallery, identity 3, camera 2; same bytes as "
        "bounding_box_train/0001_c1s1_000001_00.jpg (train, identity 1, camera 1); what is trained on is tested with"
    }
    assert _of(findings, "two-identities").keys() == {"bounding_box_train/0002_c1s1_000003_00.jpg"}
    assert _of(findings, "query-in-gallery").keys() == {"bounding_box_test/0004_c2s1_000007_00.jpg"}
    assert _of(findings, "duplicate").keys() == {"bounding_box_test/0003_c1s1_000006_00.jpg"}
    assert len(findings) == 4


def test_near_copies_on_two_sides_and_within_tracklets(tmp_path: Path) -> None:
    for name, seed, quality in (("a", 1, 95), ("b", 1, 60), ("c", 1, 40), ("d", 1, 70), ("e", 2, 95), ("f", 2, 60)):
        scene(seed).save(tmp_path / f"{name}.jpg", quality=quality)
    (tmp_path / "samples.csv").write_text(
        "path,split,pid,camid,tracklet\n"
        "a.jpg,train,1,1,7\nb.jpg,train,1,1,7\nc.jpg,train,,,\n"
        "d.jpg,query,2,1,\ne.jpg,gallery,2,2,8\nf.jpg,gallery,3,2,8\n"
    )
    findings, in_tracklets = _found(tmp_path)
    assert in_tracklets == 1  # b
    assert _of(findings, "near-leak").keys() == {"d.jpg"}
    assert _of(findings, "near-duplicate").keys() == {"c.jpg"}
    assert _of(findings, "near-two-identities").keys() == {"f.jpg"}
    assert len(findings) == 3


def test_a_picture_that_is_query_and_gallery(tmp_path: Path) -> None:
    for i, name in enumerate(("train", "known", "unknown", "other")):
        scene(i).save(tmp_path / f"{name}.jpg")
    (tmp_path / "samples.csv").write_text(
        "path,split,pid,camid\ntrain.jpg,train,9,1\nknown.jpg,query,1,1\nknown.jpg,gallery,1,1\n"
        "unknown.jpg,query,1,\nunknown.jpg,gallery,1,\nother.jpg,gallery,1,2\n"
    )
    findings, _ = _found(tmp_path)
    assert [(f.path, f.kind) for f in findings] == [("unknown.jpg", "query-in-gallery")]


def test_special_files_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    looks = look_at([str(tmp_path / "pipe.jpg"), str(tmp_path / "gone.jpg")])
    assert looks.reasons == ("not a regular file", "No such file or directory")


def test_sixteen_bits_of_colour_are_seen(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(20 * 6) for _ in range(20))
    head = struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "rgb16.png").write_bytes(png)
    Image.new("RGB", (20, 20)).save(tmp_path / "rgb8.png")
    looks = look_at([str(tmp_path / "rgb16.png"), str(tmp_path / "rgb8.png")])
    assert looks.traits[:, list(TRAITS).index("deep")].tolist() == [True, False]


def test_real_pictures(real_data: Path) -> None:
    findings, _ = _found(real_data / "uit_vehicle_reid_128")
    assert findings == []


@pytest.mark.parametrize("tiny", [0, 200])
def test_what_is_tiny(tmp_path: Path, tiny: int) -> None:
    scene(1, (60, 120)).save(tmp_path / "a.png")
    findings, _ = _found(tmp_path, tiny=tiny)
    assert [f.kind for f in findings] == ["tiny"] * (tiny == 200)
