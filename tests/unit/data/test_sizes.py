"""The size that a run takes by itself: by the shape of the pictures as one sees them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from reid.data.records import Samples
from reid.data.sizes import usual_size


def _save(path: Path, size: tuple[int, int], orientation: int = 1) -> str:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (90, 120, 60)).save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize(
    ("size", "orientation", "wanted"),
    [
        ((40, 60), 1, (256, 128)), ((60, 40), 1, (128, 256)), ((50, 50), 1, (128, 128)),
        ((60, 40), 6, (256, 128)), ((60, 40), 8, (256, 128)), ((60, 40), 3, (128, 256)),
    ],
)  # fmt: skip
def test_by_the_shape_after_turning(
    tmp_path: Path, size: tuple[int, int], orientation: int, wanted: tuple[int, int]
) -> None:
    assert usual_size(Samples.from_paths([_save(tmp_path / "a.jpg", size, orientation)])) == wanted


def test_the_median_counts_and_bad_files_do_not(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    paths = [str(tmp_path / "bad.jpg"), str(tmp_path / "gone.jpg")]
    paths += [_save(tmp_path / f"{i}.png", (30, 60) if i else (60, 30)) for i in range(5)]
    assert usual_size(Samples.from_paths(paths)) == (256, 128)
    assert usual_size(Samples.from_paths(paths[:2])) == (128, 128)
