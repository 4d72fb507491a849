from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data import pictures
from reid.data.pictures import Files, Pictures, UnreadablePictures, decode
from reid.data.records import Samples

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def corners(height: int = 16, width: int = 8) -> np.ndarray:
    """Return uint8 (H, W, 3): red, green / blue, white quarters."""
    out = np.zeros((height, width, 3), dtype=np.uint8)
    out[: height // 2, : width // 2] = RED
    out[: height // 2, width // 2 :] = GREEN
    out[height // 2 :, : width // 2] = BLUE
    out[height // 2 :, width // 2 :] = WHITE
    return out


def save(path: Path, image: Image.Image | np.ndarray, **options) -> Path:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


def pixel(path: Path) -> tuple[int, ...]:
    return tuple(decode(path, 1, 1)[:, 0, 0].tolist())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "webp"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = save(tmp_path / f"a.{suffix}", corners(), **options)
    out = decode(path, 16, 8)
    assert out.dtype == np.uint8
    assert out.shape == (3, 16, 8)
    assert np.array_equal(out.transpose(1, 2, 0), corners())


def test_jpeg_and_resize(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", corners(64, 64), quality=95, subsampling=0)
    out = decode(path, 8, 16)
    assert out.shape == (3, 8, 16)
    assert np.abs(out[:, 0, 0].astype(int) - RED).max() < 12
    assert np.abs(out[:, -1, 0].astype(int) - BLUE).max() < 12


def test_shrinking_averages_all_pixels(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[::2] = 255
    out = decode(save(tmp_path / "a.png", stripes), 4, 4)
    assert np.abs(out.astype(int) - 127).max() <= 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    # What is stored when an upright picture is held in each of the eight ways.
    back = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(back[orientation](corners(32, 16)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    path = save(tmp_path / f"a.{suffix}", stored, exif=exif, **options)
    out = decode(path, 32, 16).transpose(1, 2, 0).astype(int)
    assert np.abs(out - corners(32, 16)).max() < 30


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_orientation(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", corners(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(path, 16, 8).shape == (3, 16, 8)


def test_cmyk(tmp_path: Path) -> None:
    assert pixel(save(tmp_path / "a.tif", Image.new("CMYK", (4, 4), (0, 255, 255, 0)))) == RED
    jpeg = pixel(save(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100))
    assert np.abs(np.subtract(jpeg, RED)).max() < 8


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, WHITE),
        ("LA", (10, 255), (10, 10, 10)),
        ("LA", (10, 0), (127, 127, 127)),
        ("RGBA", (255, 0, 0, 0), (127, 127, 127)),
        ("RGBA", (255, 0, 0, 255), RED),
    ],
)
def test_modes(tmp_path: Path, mode: str, color, expected: tuple) -> None:
    assert pixel(save(tmp_path / "a.png", Image.new(mode, (3, 5), color))) == expected


def test_half_transparent_is_half_grey(tmp_path: Path) -> None:
    out = pixel(save(tmp_path / "a.png", Image.new("RGBA", (3, 3), (255, 255, 255, 128))))
    assert np.abs(np.subtract(out, 191)).max() <= 1


@pytest.mark.parametrize("transparency", [0, b"\0\xff"])
def test_palette_transparency(tmp_path: Path, transparency) -> None:
    image = Image.new("P", (4, 2), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (2, 0, 4, 2))
    out = decode(save(tmp_path / "a.png", image, transparency=transparency), 2, 4)
    assert out[:, 0, 0].tolist() == [127, 127, 127]
    assert out[:, 0, 3].tolist() == list(BLUE)


def test_rgb_and_grey_key_colours(tmp_path: Path) -> None:
    assert pixel(save(tmp_path / "a.png", Image.new("RGB", (2, 2), RED), transparency=RED)) == (127,) * 3
    assert pixel(save(tmp_path / "b.png", Image.new("L", (2, 2), 9), transparency=9)) == (127,) * 3


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled(tmp_path: Path, suffix: str) -> None:
    ramp = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    out = decode(save(tmp_path / f"a.{suffix}", ramp), 1, 4)
    assert out.tolist() == [[[0, 1, 128, 255]]] * 3


def test_thirty_two_bit_grey(tmp_path: Path) -> None:
    fits = np.array([[0, 65535]], dtype=np.int32)
    assert decode(save(tmp_path / "a.tif", fits), 1, 2).tolist() == [[[0, 255]]] * 3
    for value in (65536, -1):
        with pytest.raises(ValueError, match="no agreed range"):
            decode(save(tmp_path / "b.tif", fits + value), 1, 2)
    with pytest.raises(ValueError, match="32-bit float"):
        decode(save(tmp_path / "c.tif", np.array([[0.0, 1.0]], dtype=np.float32)), 1, 2)


def test_animation_shows_its_first_frame(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)
    for name in ("a.gif", "a.png", "a.webp"):
        options = {"lossless": True} if name == "a.webp" else {}
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        assert pixel(tmp_path / name) == RED


def test_one_pixel(tmp_path: Path) -> None:
    out = decode(save(tmp_path / "a.png", Image.new("RGB", (1, 1), GREEN)), 5, 3)
    assert (out == np.reshape(GREEN, (3, 1, 1))).all()


def bomb(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [8_000, 10_000, 100_000])
def test_bombs_are_refused_with_their_path(tmp_path: Path, side: int) -> None:
    with pytest.raises(ValueError, match=r"bomb\.png: .*more than 50,000,000"):
        decode(bomb(tmp_path / "bomb.png", side, side), 8, 8)


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture at all\n")
    (tmp_path / "empty.jpg").write_bytes(b"")
    save(tmp_path / "lie.png", corners(), format="PPM")
    for name, reason in (
        ("text.jpg", "not a JPEG"),
        ("empty.jpg", "0 bytes"),
        ("lie.png", "not a JPEG"),
        ("absent.jpg", "No such file"),
    ):
        with pytest.raises(ValueError, match=f"{name}: .*{reason}"):
            decode(tmp_path / name, 8, 8)
    with pytest.raises(ValueError, match="not a regular file"):
        decode(tmp_path, 8, 8)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="not a regular file"):
        decode(tmp_path / "pipe.jpg", 8, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_truncated_files_fail(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = save(tmp_path / f"whole.{suffix}", noise).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for share in np.linspace(0.01, 0.9, 25):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ValueError, match="cut"):
            decode(cut, 8, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_damaged_files_are_decoded_or_refused(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    data = np.frombuffer(save(tmp_path / f"a.{suffix}", corners(32, 32)).read_bytes(), dtype=np.uint8)
    path = tmp_path / f"b.{suffix}"
    for _ in range(60):
        damaged = data.copy()
        damaged[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert decode(path, 8, 8).shape == (3, 8, 8)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017


def tracklets(folder: Path) -> Samples:
    paths = [str(save(folder / f"{i}.png", Image.new("RGB", (4, 6), (i, 0, 0)))) for i in range(70)]
    return Samples.from_paths(paths, tracklet=[0, 0, 0, *range(1, 68)]).by_tracklet()


def test_load_keeps_the_order_for_any_number_of_threads(tmp_path: Path) -> None:
    samples = tracklets(tmp_path)
    seen: list[tuple[int, int]] = []
    for workers in (0, 1, 5):
        loaded = Pictures.load(samples, 6, 4, workers=workers, progress=lambda *done: seen.append(done))
        assert len(loaded) == len(samples) == 68
        assert (loaded.height, loaded.width) == (6, 4)
        assert loaded.frames.dtype == torch.uint8
        assert loaded.frames[:, 0, 0, 0].tolist() == list(range(70))
        assert loaded.first.tolist() == [0, *range(3, 71)]
        assert seen[-1] == (70, 70)


def test_load_lists_every_failure(tmp_path: Path) -> None:
    samples = tracklets(tmp_path)
    for i in range(7):
        (tmp_path / f"{10 * i}.png").write_bytes(b"x" * i)
    with pytest.raises(UnreadablePictures) as caught:
        Pictures.load(samples, 6, 4)
    assert [Path(path).name for path, _ in caught.value.failures] == [f"{10 * i}.png" for i in range(7)]
    text = str(caught.value)
    assert text.startswith("7 of 70 pictures can't be read")
    assert text.endswith("and 2 more")
    assert "\n" not in text
    assert f"{tmp_path}/0.png: empty file (0 bytes)" in text


def test_names_that_cannot_be_decoded_survive(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff\n.png")
    try:
        save(tmp_path / "a.png", Image.new("RGB", (2, 2), RED)).rename(name)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    assert Pictures.load(Samples.from_paths([name]), 1, 1).frames.flatten().tolist() == list(RED)
    Path(name).write_bytes(b"")
    with pytest.raises(UnreadablePictures) as caught:
        Pictures.load(Samples.from_paths([name]), 1, 1)
    assert str(caught.value).isprintable()


def test_pixels_that_do_not_fit_are_decoded_when_asked_for(tmp_path: Path) -> None:
    samples = tracklets(tmp_path)
    whole, lazy = (Pictures.load(samples, 6, 4, workers=3, memory_limit=limit) for limit in (None, 100))
    assert (whole.held, lazy.held) == (True, False)
    assert (len(lazy), lazy.n_frames, lazy.height, lazy.width) == (68, 70, 6, 4)
    index = np.array([69, 3, 3, 0, 41])
    for loaded in (whole, lazy):
        assert loaded.rows(index)[:, 0, 0, 0].tolist() == index.tolist()
        assert loaded.rows(index).dtype == torch.uint8
        assert loaded.rows(index[:0]).shape == (0, 3, 6, 4)
    parts = np.array_split(np.arange(70), 9)
    for a, b in zip(whole.stream(parts), lazy.stream(parts), strict=True):
        assert torch.equal(a, b)


def test_a_stream_is_one_part_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for three parts at most: one that is worked on, one that waits, one that is being decoded."""
    lazy = Pictures.load(tracklets(tmp_path), 6, 4, memory_limit=0)
    asked: list[int] = []
    request = Files.request
    monkeypatch.setattr(Files, "request", lambda self, index: asked.append(len(index)) or request(self, index))
    for k, pixels in enumerate(lazy.stream(np.array_split(np.arange(70), 10))):
        assert len(pixels) == 7
        assert len(asked) == min(k + 2, 10)
    assert asked == [7] * 10


def test_heads_are_read_before_anything_else(tmp_path: Path) -> None:
    samples = tracklets(tmp_path)
    (tmp_path / "5.png").write_bytes(b"")
    (tmp_path / "9.png").write_text("no picture")
    bomb(tmp_path / "11.png", 8_000, 8_000)
    with pytest.raises(UnreadablePictures) as caught:
        Pictures.load(samples, 6, 4, memory_limit=100)
    assert [Path(path).name for path, _ in caught.value.failures] == ["5.png", "9.png", "11.png"]


def test_a_file_that_breaks_off_names_itself_when_it_is_met(tmp_path: Path) -> None:
    samples = tracklets(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    data = save(tmp_path / "5.png", noise).read_bytes()
    (tmp_path / "5.png").write_bytes(data[: len(data) // 2])
    lazy = Pictures.load(samples, 6, 4, memory_limit=100)
    assert len(lazy.rows(np.arange(5))) == 5
    with pytest.raises(UnreadablePictures, match=r"1 of 70 .*5\.png: "):
        lazy.rows(np.arange(70))
    assert lazy.rows(np.array([6]))[0, 0, 0, 0] == 6


def test_free_memory_is_measured() -> None:
    assert pictures.free_memory() > 1_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [({"height": 0}, "height=0"), ({"width": -1}, "width=-1"), ({"workers": -1}, "workers=-1")],
)
def test_load_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pictures.load(Samples.from_paths([]), **{"height": 4, "width": 4} | options)


def test_no_samples_are_no_pictures() -> None:
    assert len(Pictures.load(Samples.from_paths([]), 4, 4)) == 0


def test_pictures_check_their_parts() -> None:
    frames = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    assert len(Pictures(frames, np.array([0, 1, 3]))) == 2
    with pytest.raises(ValueError, match="rise from 0 to 3"):
        Pictures(frames, np.array([0, 2]))
    with pytest.raises(TypeError, match="float32"):
        Pictures(frames.float(), np.array([0, 3]))
