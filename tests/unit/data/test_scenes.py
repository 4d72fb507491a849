"""Frames and MOT files of the built-in pedestrians: cut out again, they are the crops that were drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.data.crops import write_crops
from reid.data.mot import read_mot
from reid.data.pictures import decode
from reid.data.readers import read_dataset
from reid.data.scenes import write_mot
from reid.data.synthetic import FRAME_STEP, FRAMES_PER_SECOND, SyntheticConfig, draw

CONFIG = SyntheticConfig(train_persons=6, test_persons=1, frames=3)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mot(CONFIG, tmp_path_factory.mktemp("scene") / "mot")


def test_crops_of_the_frames_are_the_drawn_ones(scene: Path, tmp_path: Path) -> None:
    drawn = draw(CONFIG)
    write_crops(read_mot(scene, common_clock=True), tmp_path / "crops", min_height=1)
    train = read_dataset(tmp_path / "crops").train
    keys = list(zip(drawn.camid.tolist(), (drawn.frame // FRAME_STEP).tolist(), drawn.pid.tolist(), strict=True))
    found = np.rint(train.start * FRAMES_PER_SECOND / FRAME_STEP).astype(int)
    shift = min(frame for _, frame, _ in keys) - found.min()
    rows = list(zip(train.camid.tolist(), (found + shift).tolist(), train.pid.tolist(), strict=True))
    assert sorted(rows) == sorted(keys)
    for row, frames in zip(rows, train.frames, strict=True):
        before = drawn.images[keys.index(row)].transpose(2, 0, 1).astype(int)
        assert np.abs(decode(frames[0], *before.shape[1:]) - before).mean() < 4  # written as JPEG twice


def test_a_trackers_numbers_tell_nothing_between_cameras(scene: Path) -> None:
    drawn = draw(CONFIG)
    tracks = read_mot(scene, source="tracker")
    assert (tracks.pid < 0).all()
    assert len(np.unique(tracks.tracklet)) == len(np.unique(drawn.tracklet))
    truth = read_mot(scene, source="gt")
    assert set(truth.pid.tolist()) == set(drawn.pid.tolist())


def test_no_two_figures_of_a_frame_stand_in_one_place(scene: Path) -> None:
    for sequence in read_mot(scene, source="gt").sequences:
        spots = list(zip(sequence.boxes.frame.tolist(), sequence.boxes.box[:, 0].tolist(), strict=True))
        assert len(set(spots)) == len(spots)
