"""Reading a run folder: what is dropped, what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.files import csv_text
from reid.report.folder import read


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("text", [None, "", "\n\n", '{"round": 1, "lo'])
def test_no_round(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.jsonl: no rounds in it"):
        read(tmp_path)


def test_broken_last_line_is_dropped(tmp_path: Path) -> None:
    lines = [b'{"round": 0}', b'{"round": 1, "stop": "a\xe2\x80\xa8b"}', b'{"round": 2, "x": "\xe2\x80']
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    run = read(tmp_path)
    assert [r.number for r in run.rounds] == [0, 1]
    assert run.rounds[1].values["stop"] == "a\u2028b"


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"round": "1"}', '{"round": -1}', '{"round": true}'])
def test_broken_line_within(tmp_path: Path, line: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"round": 0}}\n{line}\n{{"round": 2}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not an object with a `round`"):
        read(tmp_path)


def test_rounds_are_ordered_and_the_later_line_holds(tmp_path: Path) -> None:
    lines = [
        '{"round": 2, "loss": 1}',
        '{"round": 1, "loss": true}',
        '{"round": 2, "loss":5, "selected": true}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    run = read(tmp_path)
    assert [(r.number, r.get("loss")) for r in run.rounds] == [(1, None), (2, 5)]
    assert run.untrained is None
    assert run.last is run.selected is run.rounds[1]
    assert run.best is None


def test_best_is_the_first_of_equals(tmp_path: Path) -> None:
    lines = [f'{{"round": {k}, "mAP": {value}}}\n' for k, value in enumerate((0.0, 0.5, 0.5))]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    best = read(tmp_path).best
    assert best is not None
    assert best.number == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", "{"),
        ("run.json", "[1]"),
        ("config.toml", "a = "),
        ("labels.csv", "path,camid,tracklet,label\na.png,0,0,x\n"),
        ("labels.csv", "path,camid,tracklet,label\na.png,0\n"),
        ("labels.csv", "file,label\na.png,0\n"),
        ("labels/round-001.npz", "no archive"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"round": 0}\n')
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"remove the file to go on without it") as caught:
        read(tmp_path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_from_the_last_stored_labels(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"round": 0}\n')
    (tmp_path / "labels").mkdir()
    np.savez(tmp_path / "labels" / "round-999.npz", labels=np.zeros(9, dtype=np.int64))
    np.savez(tmp_path / "labels" / "round-1000.npz", labels=np.array([-1, 0, 0, 2]))
    run = read(tmp_path)
    assert run.sizes == {-1: 1, 0: 2, 2: 1}
    assert not run.members


@pytest.mark.parametrize("instances", ["tracklet", "image"])
def test_a_clustered_tracklet_is_one_member_by_its_middle_frame(tmp_path: Path, instances: str) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"round": 0}\n')
    (tmp_path / "run.json").write_text(f'{{"instances": "{instances}"}}')
    rows = ["z.jpg,1,7,0", "a.jpg,1,7,0", "m.jpg,1,7,0", "alone.jpg,1,-1,0", "other.jpg,2,-1,0", "b.jpg,1,8,-1"]
    (tmp_path / "labels.csv").write_text("path,camid,tracklet,label\n" + "\n".join(rows) + "\n")
    run = read(tmp_path)
    paths = {label: [m.path for m in members] for label, members in run.members.items()}
    if instances == "tracklet":
        assert paths == {0: ["a.jpg", "alone.jpg", "other.jpg"], -1: ["b.jpg"]}
        assert (run.sizes, run.unit) == ({0: 3, -1: 1}, "tracklets")
    else:
        assert paths == {0: ["z.jpg", "a.jpg", "m.jpg", "alone.jpg", "other.jpg"], -1: ["b.jpg"]}
        assert (run.sizes, run.unit) == ({0: 5, -1: 1}, "pictures")


def test_names_of_labels_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"round": 0}\n')
    rows = [("=1.jpg", 1, -1, 0), ("'-2.jpg", 2, -1, 0)]
    (tmp_path / "labels.csv").write_text(csv_text(["path", "camid", "tracklet", "label"], rows))
    assert [member.path for _, member in read(tmp_path).rows] == ["=1.jpg", "'-2.jpg"]
