from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.data.crops import write_crops
from reid.data.mot import parse_mot, read_mot
from reid.data.readers import read_dataset


def sequence(root: Path, text: str, *, file: str = "gt/gt.txt", frames: int = 0, fps: str | None = "10") -> Path:
    """A sequence whose frame f has pixel value 20 f at row r, column c: red 20 f, green r, blue c."""
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(text)
    if fps is not None:
        (root / "seqinfo.ini").write_text(f"[Sequence]\nname={root.name}\nframeRate={fps}\nimDir=img1\n")
    for f in range(1, frames + 1):
        (root / "img1").mkdir(exist_ok=True)
        pixels = np.zeros((60, 80, 3), np.uint8)
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = 20 * f, np.arange(60)[:, None], np.arange(80)
        Image.fromarray(pixels).save(root / "img1" / f"{f:06d}.png")
    return root


ONE = "1,7,1,1,20,30,1,1,1\n1,8,41.4,11.4,20,30,1,1,1\n3,7,11,1,20,30,1,1,1\n2,9,5,5,20,30,0,1,1\n"
TWO = "2,7,1,1,20,30,1,1,1\n3,11,71,1,20,30,1,1,1\n"


def two_cameras(root: Path) -> Path:
    sequence(root / "cam2", TWO, frames=3)
    sequence(root / "cam10", ONE, frames=3)
    return root


def test_ground_truth_of_two_cameras(tmp_path: Path) -> None:
    data = read_mot(two_cameras(tmp_path))
    assert [s.name for s in data.sequences] == ["cam2", "cam10"]
    assert data.camid.tolist() == [2, 2, 10, 10, 10]
    assert data.frame.tolist() == [2, 3, 1, 1, 3]
    assert data.pid.tolist() == [7, 11, 7, 8, 7]
    assert data.tracklet.tolist() == [0, 1, 2, 3, 2]
    assert data.time.tolist() == [0.1, 0.2, 0.0, 0.0, 0.2]
    assert data.clock.tolist() == [0, 0, 1, 1, 1]
    notes = data.describe()
    assert any("1 boxes of the ground truth are flagged 0" in note for note in notes)
    assert any("1 ids occur in several sequences" in note for note in notes)
    apart = read_mot(tmp_path, shared_ids=False, common_clock=True)
    assert apart.pid.tolist() == apart.tracklet.tolist()
    assert set(apart.clock) == {0}


def test_tracker_output_and_detections(tmp_path: Path) -> None:
    tracker = sequence(tmp_path / "a", "1,3,5,5,10,20,0.9,-1,-1,-1\n", file="bytetrack.txt")
    data = read_mot(tracker)
    assert (data.sequences[0].source, data.pid.tolist(), data.tracklet.tolist()) == ("tracker", [-1], [0])
    detections = sequence(tmp_path / "b", "1 -1 5 5 10 20 0\n", file="det/det.txt")
    data = read_mot(detections)
    assert (data.sequences[0].source, data.tracklet.tolist()) == ("det", [-1])
    sequence(detections, ONE)
    assert read_mot(detections).sequences[0].source == "gt"
    assert read_mot(detections, source="det").sequences[0].source == "det"
    with pytest.raises(FileNotFoundError, match="no boxes of the kind tracker"):
        read_mot(detections, source="tracker")


def test_lone_files(tmp_path: Path) -> None:
    (tmp_path / "gt_cam1.txt").write_text(ONE)
    (tmp_path / "gt_cam2.txt").write_text(TWO)
    (tmp_path / "readme.txt").write_text("1, 2, many\n")
    data = read_mot(tmp_path, fps=25)
    assert [(s.camid, s.source) for s in data.sequences] == [(1, "gt"), (2, "gt")]
    assert read_mot(tmp_path / "gt_cam2.txt").sequences[0].fps is None
    with pytest.raises(ValueError, match=r"MOT ground truth, 2 sequences: 5 boxes.*cut them out with reid-data crops"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no box"),
        ("1,2,3,4,5\n", "line 1: '1,2,3,4,5': must be frame,id"),
        ("1,2,3,4,5,6\n1,a,3,4,5,6\n", "line 2"),
        ("1,2,nan,4,5,6\n", "line 1"),
        ("0,2,3,4,5,6\n", "frame 0, id 2: frames count from 1"),
        ("1,-2,3,4,5,6\n", "ids from 0"),
        ("1.5,2,3,4,5,6\n", "frames count from 1"),
        ("1,2,3,4,0,6\n", "a box of 0 x 6 pixels"),
        ("1,2,3,4,5,6\n1,2,9,9,5,6\n", "id 2 stands twice in frame 1"),
    ],
)
def test_bad_lines(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_mot(sequence(tmp_path, text))


def test_bad_settings_and_info(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no gt/gt\.txt"):
        read_mot(tmp_path)
    root = sequence(tmp_path / "cam1", ONE, fps="0")
    with pytest.raises(ValueError, match="frameRate=0: must be above 0"):
        read_mot(root)
    assert read_mot(root, fps=5).sequences[0].fps == 5
    with pytest.raises(ValueError, match=r"fps=-1: must be above 0"):
        read_mot(root, fps=-1)
    (root / "seqinfo.ini").write_text("frameRate=3\n")
    with pytest.raises(ValueError, match=r"no section \[Sequence\]"):
        read_mot(root)


def test_crops_are_read_back(tmp_path: Path) -> None:
    data = read_mot(two_cameras(tmp_path / "mot"), common_clock=True)
    done = write_crops(data, tmp_path / "out")
    assert (done.written, done.tracks, done.lost_tracks, done.small) == (5, 4, 0, 0)
    read = read_dataset(tmp_path / "out")
    assert (read.layout, len(read.train)) == ("table", 5)
    assert read.train.camid.tolist() == data.camid.tolist()
    assert read.train.pid.tolist() == data.pid.tolist()
    assert read.train.tracklet.tolist() == data.tracklet.tolist()
    assert read.train.start.tolist() == data.time.tolist()
    assert read.train.clock.tolist() == data.clock.tolist()
    assert read.train.by_tracklet().n_frames.tolist() == [1, 1, 2, 1]
    with Image.open(read.train.frames[3][0]) as crop:  # left 41.4, top 11.4, 20 x 30, the first pixel is 1, 1
        assert crop.size == (20, 30)
        corner = crop.getpixel((0, 0))
    assert isinstance(corner, tuple)
    assert np.abs(np.array(corner) - (20, 10, 40)).max() <= 3  # JPEG
    with Image.open(read.train.frames[1][0]) as crop:  # reaches 10 pixels beyond the frame
        assert crop.size == (10, 30)


def test_every_and_min_height(tmp_path: Path) -> None:
    data = read_mot(two_cameras(tmp_path / "mot"))
    done = write_crops(data, tmp_path / "odd", every=2)
    assert (done.written, done.tracks, done.lost_tracks) == (4, 3, 1)
    with pytest.raises(ValueError, match="no box is left: 5 are lower than 31 pixels"):
        write_crops(data, tmp_path / "none", min_height=31)
    with pytest.raises(ValueError, match="every=0"):
        write_crops(data, tmp_path / "none", every=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mot", "odd"]
    with pytest.raises(ValueError, match="is not an empty folder"):
        write_crops(data, tmp_path / "odd")


def test_tracker_crops_have_no_identities(tmp_path: Path) -> None:
    root = sequence(tmp_path / "mot", ONE, file="mine.txt", frames=3)
    write_crops(read_mot(root), tmp_path / "out")
    train = read_dataset(tmp_path / "out").train
    assert set(train.pid) == {-1}
    assert len(set(train.tracklet)) == 3


def test_crops_need_frames_and_a_rate(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"sequence cam1: no pictures of its frames.*ffmpeg"):
        write_crops(read_mot(sequence(tmp_path / "cam1", ONE)), tmp_path / "out")
    root = sequence(tmp_path / "cam2", ONE, frames=2)
    with pytest.raises(FileNotFoundError, match=r"1 of 2 frames have no picture in .*img1: 3"):
        write_crops(read_mot(root), tmp_path / "out")
    root = sequence(tmp_path / "cam3", ONE, frames=3, fps=None)
    with pytest.raises(ValueError, match="frame rate unknown: give --fps"):
        write_crops(read_mot(root), tmp_path / "out")
    (root / "img1" / "000001.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"000001\.png: can't be read"):
        write_crops(read_mot(root, fps=5), tmp_path / "out")
    (root / "img1" / "x1.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="are both frame 1"):
        write_crops(read_mot(root, fps=5), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_vehicle_tracks_of_three_cameras(real_data: Path) -> None:
    folder = real_data / "metadata" / "hcmc_vehicle_tracks"
    data = read_mot(folder, fps=25, common_clock=True)
    assert [len(s.boxes.frame) for s in data.sequences] == [18_663, 11_617, 28_809]
    assert [s.camid for s in data.sequences] == [1, 2, 3]
    assert len(np.unique(data.tracklet)) == 108 + 96 + 139
    shared = [set(s.boxes.track.tolist()) for s in data.sequences]
    assert (len(shared[0] & shared[1]), len(shared[0] & shared[2])) == (96, 106)
    assert len(parse_mot(folder / "gt_cam3.txt").frame) == 28_809
