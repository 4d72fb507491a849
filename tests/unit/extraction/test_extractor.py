"""`reid.FeatureExtractor`: pictures of all kinds, the numbers of reid-extract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reid
from reid.feature_table import read_features
from reid.models.embedder import Embedder, save_embedder


@pytest.mark.parametrize("flip", [False, True])
def test_same_numbers_as_the_command(walkers: Path, random_run: Path, tmp_path: Path, flip: bool) -> None:
    asked = reid.ExtractConfig(
        walkers, run=random_run, output=tmp_path / "f.npz", split="gallery", flip=flip, batch_size=16
    )
    table = read_features(reid.extract_features(asked, quiet=True))
    paths = [row[0] for row in table.samples.frames]
    for extractor in (
        reid.FeatureExtractor(random_run, batch_size=16, flip=flip),
        reid.FeatureExtractor.like(table.facts, batch_size=16),
    ):
        assert (extractor.height, extractor.width) == (32, 16)
        np.testing.assert_array_equal(extractor(paths), table.features)


def test_paths_images_and_arrays_are_alike(walkers: Path, random_run: Path) -> None:
    paths = sorted((walkers / "query").iterdir())[:5]
    extractor = reid.FeatureExtractor(random_run, batch_size=2)
    wanted = extractor([str(path) for path in paths])
    assert wanted.shape == (5, extractor.n_features)
    assert wanted.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(wanted, axis=1), 1, atol=1e-5)
    images = [Image.open(path) for path in paths]
    np.testing.assert_array_equal(extractor(images), wanted)
    np.testing.assert_array_equal(extractor([images[0], images[0]]), extractor([paths[0], paths[0]]))
    np.testing.assert_array_equal(extractor([np.asarray(image) for image in images]), wanted)
    mixed = [paths[0], images[1], np.asarray(images[2]), paths[3], images[4]]
    np.testing.assert_array_equal(extractor(mixed), wanted)
    assert extractor([]).shape == (0, extractor.n_features)


def test_images_are_turned_as_files_are(random_run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    extractor = reid.FeatureExtractor(random_run)
    from_file = extractor([tmp_path / "a.png"])
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(extractor([image]), from_file)
    np.testing.assert_array_equal(extractor([np.rot90(pixels, -1)]), from_file)


def test_what_is_no_picture(random_run: Path, tmp_path: Path) -> None:
    extractor = reid.FeatureExtractor(random_run)
    with pytest.raises(TypeError, match="give a list"):
        extractor("a.jpg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"pictures\[1\] is an array float64 \(4, 4, 3\): must be uint8"):
        extractor([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))])
    with pytest.raises(TypeError, match=r"pictures\[0\] is a int"):
        extractor([3])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"pictures\[0\]: 32-bit float"):
        extractor([Image.new("F", (4, 4))])
    with pytest.raises(ValueError, match=r"gone\.jpg: No such file"):
        extractor([tmp_path / "gone.jpg"])
    with pytest.raises(ValueError, match="batch_size=0"):
        reid.FeatureExtractor(random_run, batch_size=0)
    with pytest.raises(ValueError, match="device='gpu'"):
        reid.FeatureExtractor(random_run, device="gpu")


def test_a_network_that_has_changed(walkers: Path, random_run: Path, tmp_path: Path) -> None:
    network = Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3)
    save_embedder(tmp_path / "n.safetensors", network)
    asked = reid.ExtractConfig(
        walkers, weights=str(tmp_path / "n.safetensors"), output=tmp_path / "f.npz", split="query", height=32, width=16
    )
    facts = read_features(reid.extract_features(asked, quiet=True)).facts
    reid.FeatureExtractor.like(facts)
    save_embedder(tmp_path / "n.safetensors", Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3, seed=1))
    with pytest.raises(ValueError, match=r"n\.safetensors: has changed"):
        reid.FeatureExtractor.like(facts)
    with pytest.raises(ValueError, match="do not say which network"):
        reid.FeatureExtractor.like({})
