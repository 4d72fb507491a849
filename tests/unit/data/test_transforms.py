from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.data import transforms
from reid.data.transforms import PIXEL_STATS, Augment, normalize

MEAN, STD = PIXEL_STATS["imagenet"]
NOTHING = {"flip": 0.0, "area": (1.0, 1.0), "ratio": None}
EVERYTHING = Augment(
    ratio=None,
    shift=0.08,
    gain=0.35,
    channel_gain=0.35,
    saturation=0.5,
    gamma=0.5,
    blur=0.3,
    noise=0.03,
    erase=0.5,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pictures(b: int = 6, h: int = 16, w: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(rng(seed).integers(0, 256, (b, 3, h, w), dtype=np.uint8))


def raw(augment: Augment, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return what `augment` makes of the pictures in [0, 1]."""
    return augment(images, rng(seed), mean=(0, 0, 0), std=(1, 1, 1))


def test_normalize_is_the_formula() -> None:
    images = pictures()
    out = normalize(images, MEAN, STD)
    expected = (images.double().numpy() / 255 - np.reshape(MEAN, (1, 3, 1, 1))) / np.reshape(STD, (1, 3, 1, 1))
    assert out.dtype == torch.float32
    assert np.allclose(out.numpy(), expected, atol=1e-5)


def test_nothing_asked_for_is_normalize() -> None:
    images = pictures()
    before = images.clone()
    out = Augment(**NOTHING)(images, rng(), mean=MEAN, std=STD)
    assert torch.equal(out, normalize(images, MEAN, STD))
    assert torch.equal(images, before)


def test_flip_alone_is_a_mirror() -> None:
    images = pictures()
    out = raw(Augment(**NOTHING | {"flip": 1.0}), images)
    assert torch.allclose(out, images.flip(-1) / 255, atol=1e-5)


def test_flip_half_mirrors_some() -> None:
    images = pictures(64)
    out = raw(Augment(**NOTHING | {"flip": 0.5}), images)
    same = (out - images / 255).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (out - images.flip(-1) / 255).abs().amax((1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all()
    assert 16 <= int(same.sum()) <= 48


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), h=st.integers(1, 20), w=st.integers(1, 20))
def test_everything_is_finite_in_range_and_repeatable(seed: int, h: int, w: int) -> None:
    images = pictures(5, h, w, seed)
    images[0], images[1] = 0, 255
    out = raw(EVERYTHING, images, seed)
    assert out.shape == images.shape
    assert torch.isfinite(out).all()
    assert 0 <= float(out.min()) <= float(out.max()) <= 1 + 1e-5
    assert torch.equal(out, raw(EVERYTHING, images, seed))


def test_seeds_differ() -> None:
    assert not torch.equal(raw(EVERYTHING, pictures(), 1), raw(EVERYTHING, pictures(), 2))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    h=st.integers(4, 64),
    w=st.integers(4, 64),
    ratio=st.sampled_from([None, (2.0, 3.0)]),
)
def test_boxes_lie_inside(seed: int, h: int, w: int, ratio: tuple[float, float] | None) -> None:
    box, fits = transforms._draw_boxes(rng(seed), 50, h, w, (0.64, 1.0), ratio)
    top, left, height, width = box[fits].T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= h + 1e-9).all()
    assert (left + width <= w + 1e-9).all()
    share = height * width / (h * w)
    assert ((share >= 0.64 - 1e-9) & (share <= 1 + 1e-9)).all()
    if ratio is None:
        assert fits.all()
        assert np.allclose(height / width, h / w)
    else:
        assert ((height / width >= 2 - 1e-9) & (height / width <= 3 + 1e-9)).all()


def test_tries_fail_as_often_as_computed() -> None:
    # 2:1 pictures: one try fits with probability .475 (area r / 2 <= 1), all ten fail with .525^10 = .0016.
    _, fits = transforms._draw_boxes(rng(), 100_000, 64, 32, (0.64, 1.0), (2.0, 3.0))
    assert 1 - fits.mean() == pytest.approx(0.525**10, rel=0.25)


def test_a_box_that_never_fits_is_the_whole_picture() -> None:
    images = pictures(h=8, w=16)
    out = raw(Augment(flip=0.0, area=(0.9, 1.0), ratio=(2.0, 3.0)), images)
    assert torch.allclose(out, images / 255, atol=1e-5)


def test_crop_shows_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(_rng, b, h, w, area, ratio):
        return np.tile([2.0, 1.0, 8.0, 4.0], (b, 1)), np.ones(b, dtype=bool)

    monkeypatch.setattr(transforms, "_draw_boxes", fixed)
    images = pictures(h=16, w=8)
    out = raw(Augment(flip=0.0), images)
    expected = torch.nn.functional.interpolate(
        # One pixel more on each side: the resampling sees the neighbours of the box.
        images[:, :, 1:11, 0:6].float() / 255,
        scale_factor=2,
        mode="bilinear",
        align_corners=False,
    )[:, :, 2:-2, 2:-2]
    assert torch.allclose(out, expected, atol=1e-5)


def test_shift_repeats_the_border() -> None:
    images = pictures(b=20)
    out = raw(Augment(**NOTHING | {"shift": 1.0}), images)
    assert torch.isfinite(out).all()
    assert float(out.min()) >= float(images.min()) / 255 - 1e-6
    assert not torch.allclose(out, images / 255, atol=1e-2)


def test_gamma_keeps_black_and_white() -> None:
    images = torch.zeros(4, 3, 6, 4, dtype=torch.uint8)
    images[:, :, 3:] = 255
    assert torch.equal(raw(Augment(**NOTHING | {"gamma": 0.5}), images), images / 255)
    grey = torch.full((50, 3, 2, 2), 128, dtype=torch.uint8)
    exponent = np.log(raw(Augment(**NOTHING | {"gamma": 0.5}), grey)[:, 0, 0, 0].numpy()) / np.log(128 / 255)
    assert (np.abs(np.log(exponent)) <= 0.5 + 1e-5).all()
    assert np.log(exponent).std() > 0.15


def test_gain_is_common_and_channel_gain_is_not() -> None:
    images = torch.full((50, 3, 2, 2), 100, dtype=torch.uint8)
    common = raw(Augment(**NOTHING | {"gain": 0.3}), images)[:, :, 0, 0]
    assert torch.allclose(common[:, :1].expand(-1, 3), common)
    single = raw(Augment(**NOTHING | {"channel_gain": 0.3}), images)[:, :, 0, 0]
    assert float(single.std(1).min()) > 0
    for out in (common, single):
        assert (torch.log(out / (100 / 255)).abs() <= 0.3 + 1e-5).all()


def test_saturation_moves_between_grey_and_colour() -> None:
    grey = torch.full((4, 3, 2, 2), 77, dtype=torch.uint8)
    assert torch.allclose(raw(Augment(**NOTHING | {"saturation": 1.0}), grey), grey / 255, atol=1e-6)
    images = pictures()
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    # Small enough that nothing is clipped in the middle of the range.
    images = images // 4 + 96
    out = raw(Augment(**NOTHING | {"saturation": 0.3}), images)
    assert torch.allclose((out * luma).sum(1), (images / 255 * luma).sum(1), atol=1e-5)
    assert not torch.allclose(out, images / 255, atol=1e-3)


def test_blur_spreads_a_point() -> None:
    images = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 255
    out = raw(Augment(**NOTHING | {"blur": 1.0}), images)[0, 0]
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    assert torch.allclose(out[1:4, 1:4], kernel[:, None] * kernel)
    assert float(out.sum()) == pytest.approx(1.0)


def test_noise_has_its_deviation() -> None:
    images = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    out = raw(Augment(**NOTHING | {"noise": 0.05}), images)
    assert float((out - 128 / 255).std()) == pytest.approx(0.05, rel=0.03)


def test_pad_moves_a_picture_by_whole_pixels_into_black() -> None:
    images = torch.randint(1, 256, (50, 3, 12, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    moved = raw(Augment(**NOTHING | {"pad": 3}), images)
    framed = torch.nn.functional.pad(images / 255, (3, 3, 3, 3))
    seen = set()
    for out, whole in zip(moved, framed, strict=True):
        places = [(i, j) for i in range(7) for j in range(7)]
        found = [(i, j) for i, j in places if torch.allclose(out, whole[:, i : i + 12, j : j + 8], atol=1e-5)]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) > 15


def test_erase_fills_a_rectangle_with_the_mean_pixel() -> None:
    images = torch.full((200, 3, 32, 16), 255, dtype=torch.uint8)
    out = Augment(**NOTHING | {"erase": 0.5})(images, rng(), mean=MEAN, std=STD)
    gone = (out == 0).all(1)  # (B, H, W)
    share = gone.float().mean((1, 2))
    erased = share > 0
    assert 70 <= int(erased.sum()) <= 130
    assert float(share[erased].min()) > 0.015  # sides are rounded to whole pixels
    assert float(share[erased].max()) < 0.33
    for mask in gone[erased]:
        assert torch.equal(mask, mask.any(1)[:, None] & mask.any(0)[None])
    assert torch.equal((out == 0).any(1), gone)


@pytest.mark.parametrize(
    "bad",
    [
        {"flip": 1.5},
        {"blur": -0.1},
        {"noise": float("nan")},
        {"gamma": float("inf")},
        {"area": (0.0, 1.0)},
        {"area": (0.9, 0.5)},
        {"area": (0.5, 1.2)},
        {"ratio": (2.0, float("inf"))},
        {"erase_area": (0.1,)},
    ],
)
def test_augment_names_a_bad_value(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Augment(**bad)


def test_wrong_pictures_and_statistics_are_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        normalize(pictures().float(), MEAN, STD)
    with pytest.raises(TypeError, match=r"\(3, 16, 8\)"):
        Augment()(pictures()[0], rng(), mean=MEAN, std=STD)
    with pytest.raises(ValueError, match="standard deviations"):
        normalize(pictures(), MEAN, (0.1, 0.0, 0.1))
