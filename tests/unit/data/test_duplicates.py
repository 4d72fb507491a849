"""Near-duplicates: what counts as one, and that none is missed or counted twice."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from mixed import scene
from PIL import Image

from reid.data.duplicates import MAX_BITS, _count_bits, exact_groups, near_pairs, signature


def _near(a: Image.Image, b: Image.Image) -> bool:
    parts = [signature(picture.convert("RGB")) for picture in (a, b)]
    pairs = list(near_pairs(np.array([p.bits for p in parts]), np.array([p.thumbnail for p in parts])))
    assert len(pairs) <= 1
    return bool(pairs)


def _recompressed(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.mark.parametrize("seed", range(8))
def test_copies_are_found_and_others_are_not(seed: int) -> None:
    picture = scene(seed)
    assert _near(picture, _recompressed(picture, 40))
    assert _near(picture, picture.resize((30, 60), Image.Resampling.BICUBIC))
    assert _near(picture, picture.point(lambda v: min(255, int(1.1 * v))))
    assert not _near(picture, scene(seed + 100))
    assert not _near(picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def test_pictures_of_one_colour() -> None:
    grey, noisy = Image.new("RGB", (40, 80), (90, 90, 90)), Image.new("RGB", (40, 80), (92, 92, 92))
    assert _near(grey, noisy)
    assert not _near(grey, Image.new("RGB", (40, 80), (250, 250, 250)))


def test_all_pairs_and_each_once() -> None:
    rng = np.random.default_rng(0)
    thumbnails = np.zeros((300, 256), np.uint8)
    thumbnails[:] = rng.integers(0, 256, 256)
    bits = rng.integers(0, 2**64, 300, dtype=np.uint64)
    for i in range(1, 300, 2):  # each second one differs from the one before in 0 to 8 bits
        flipped = sum(1 << bit for bit in rng.choice(64, i % 9, replace=False).tolist())
        bits[i] = bits[i - 1] ^ np.uint64(flipped)
    found = [tuple(pair) for part in near_pairs(bits, thumbnails) for pair in part.tolist()]
    wanted = [(i, j) for i, j in combinations(range(300), 2) if bin(int(bits[i] ^ bits[j])).count("1") <= MAX_BITS]
    assert len(wanted) > 90
    assert len(found) == len(set(found))
    assert set(found) == set(wanted)


def test_thumbnails_decide() -> None:
    rng = np.random.default_rng(1)
    bits = np.zeros(3, np.uint64)
    thumbnails = rng.integers(0, 256, (3, 256)).astype(np.uint8)
    thumbnails[2] = thumbnails[0]
    assert [part.tolist() for part in near_pairs(bits, thumbnails)] == [[[0, 2]]]


def test_many_that_look_alike_take_linear_time_and_each_finds_one() -> None:
    n = 3000
    pairs = list(near_pairs(np.zeros(n, np.uint64), np.full((n, 256), 90, np.uint8)))
    assert sum(len(part) for part in pairs) <= 50 * n
    assert set(np.concatenate(pairs)[:, 1].tolist()) == set(range(1, n))


def test_none_and_one() -> None:
    for n in (0, 1):
        assert list(near_pairs(np.zeros(n, np.uint64), np.zeros((n, 256), np.uint8))) == []


def test_ones_are_counted() -> None:
    words = np.random.default_rng(2).integers(0, 2**64, 500, dtype=np.uint64)
    words[:2] = 0, 2**64 - 1
    assert _count_bits(words).tolist() == [bin(int(word)).count("1") for word in words]


def test_equal_bytes() -> None:
    digests = np.array([b"b", b"a", b"b", b"c", b"a", b"b"], dtype="V16")
    assert [g.tolist() for g in exact_groups(digests, np.arange(6))] == [[0, 2, 5], [1, 4]]
    assert [g.tolist() for g in exact_groups(digests, np.array([1, 2, 5]))] == [[2, 5]]
    assert exact_groups(digests, np.array([], dtype=np.int64)) == []
