"""Pixels: every frame is decoded once, before training, and kept as bytes; a bad file is found at once."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from reid import processes
from reid.data.records import Samples, printable

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
"""Formats that are opened, whatever a file is called; others are refused."""

MAX_PIXELS = 50_000_000
"""Largest picture that is decoded: a few kilobytes of PNG can claim gigabytes."""

_BEHIND_ALPHA = 127
_CHUNK = 32
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadablePictures(ValueError):
    """Some files are no pictures that can be read.

    Attributes
    ----------
    failures : tuple of (str, str)
        Path and reason of each, in the order of the samples.
    """

    def __init__(self, failures: tuple[tuple[str, str], ...], total: int) -> None:
        self.failures = failures
        listed = "; ".join(f"{printable(path)}: {reason}" for path, reason in failures[:5])
        more = f"; and {len(failures) - 5} more" if len(failures) > 5 else ""
        super().__init__(f"{len(failures)} of {total} pictures can't be read (repair or remove them): {listed}{more}")


@dataclass(frozen=True, eq=False)
class Pictures:
    """The frames of N samples as bytes of one size.

    Parameters
    ----------
    frames : uint8 tensor (F, 3, H, W)
        All frames, in the order of the samples.
    first : int64 array (N + 1,)
        Rows first[i]:first[i + 1] are the frames of sample i.
    """

    frames: torch.Tensor
    first: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.frames.dtype != torch.uint8 or self.frames.ndim != 4 or self.frames.shape[1] != 3:
            raise TypeError(f"frames are {self.frames.dtype} {tuple(self.frames.shape)}: must be uint8 (F, 3, H, W)")
        first = np.asarray(self.first)
        total = len(self.frames)
        if first.ndim != 1 or not len(first) or (first[0], first[-1]) != (0, total) or (np.diff(first) < 0).any():
            raise ValueError(f"first must rise from 0 to {total}, the number of frames, one entry more than samples")

    @classmethod
    def load(
        cls,
        samples: Samples,
        height: int,
        width: int,
        *,
        workers: int = 0,
        cache_dir: Path | None = None,
        memory_limit: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Pictures:
        """Decode every frame of `samples`.

        Parameters
        ----------
        samples : Samples
        height, width : int
            Size that every frame is resized to, pixels.
        workers : int
            Threads (Pillow decodes without the interpreter lock); 0 = one a core.
        cache_dir : Path, optional
            Where pixels go that don't fit in memory: a scratch file without a name, which vanishes with the
            object, even when the process is killed.
        memory_limit : int, optional
            Bytes that the pixels may take in memory; None = half of what is free.
        progress : callable (done, total), optional
            Called from this thread.

        Returns
        -------
        Pictures

        Raises
        ------
        UnreadablePictures
            Some files can't be decoded; all are tried first.
        MemoryError
            The pixels don't fit and there is no `cache_dir`.
        OSError
            The scratch file can't be written; says how much space it needs.
        """
        if height < 1 or width < 1:
            raise ValueError(f"height={height}, width={width}: must be at least 1 pixel")
        if workers < 0:
            raise ValueError(f"workers={workers}: must be 0 (one a core) or more")
        paths = [path for row in samples.frames for path in row]
        first = np.concatenate([[0], np.cumsum(samples.n_frames)]).astype(np.int64)
        pixels = _allocate((len(paths), 3, height, width), cache_dir, memory_limit)
        failures = _decode_all(paths, pixels, workers or _cores(), progress)
        if failures:
            raise UnreadablePictures(failures, len(paths))
        return cls(torch.from_numpy(pixels), first)

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def height(self) -> int:
        """Height of every frame, pixels."""
        return self.frames.shape[2]

    @property
    def width(self) -> int:
        """Width of every frame, pixels."""
        return self.frames.shape[3]


def decode(path: str | os.PathLike[str], height: int, width: int) -> NDArray[np.uint8]:
    """Read one picture: the only way in which pixels enter the program.

    The first frame of JPEG, PNG, BMP, WebP, TIFF and GIF files is decoded completely and turned upright as
    its EXIF says; transparent pixels are laid over grey (127), CMYK is converted to RGB, 16-bit grey is
    scaled to 8 bits; colour profiles are ignored. It is resized bilinearly, with antialiasing, without
    keeping the aspect.

    Parameters
    ----------
    path : str or path
    height, width : int

    Returns
    -------
    uint8 array (3, height, width)
        Red, green, blue.

    Raises
    ------
    ValueError
        Not a regular file, another format, broken, more than `MAX_PIXELS` pixels, or 32-bit pixels without a
        known range.
    """
    try:
        return _decode(path, height, width)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises nearly any type on a broken file
        raise ValueError(f"{printable(path)}: {_reason(error)}") from error


def _decode(path: str | os.PathLike[str], height: int, width: int) -> NDArray[np.uint8]:
    # Opening a FIFO would wait for a writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError("empty file (0 bytes)")
        file.seek(0)
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels, more than {MAX_PIXELS:,}: scale it down")
            picture.load()
            rgb = _to_rgb(picture)
            # Pillow turns TIFF files itself while loading and drops the tag, so the tag is read after that.
            upright = _UPRIGHT.get(_orientation(picture))
    if upright is not None:
        rgb = rgb.transpose(upright)
    rgb = rgb.resize((width, height), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(rgb).transpose(2, 0, 1))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        return Image.fromarray(_grey_bytes(picture)).convert("RGB")
    if picture.mode == "F":
        raise ValueError("32-bit float pixels have no agreed range: save it with 8 bits a channel")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        behind = Image.new("RGBA", rgba.size, (_BEHIND_ALPHA, _BEHIND_ALPHA, _BEHIND_ALPHA, 255))
        return Image.alpha_composite(behind, rgba).convert("RGB")
    try:
        return picture.convert("RGB")
    except ValueError as error:
        raise ValueError(f"colour mode {picture.mode} can't be converted: save it as RGB") from error


def _grey_bytes(picture: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(picture)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ValueError(f"32-bit grey values from {values.min()} to {values.max()} have no agreed range: save 16 bits")
    return np.rint(values.astype(np.float32) / 257).astype(np.uint8)


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"more than {MAX_PIXELS:,} pixels: scale the picture down"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _decode_all(
    paths: list[str], pixels: NDArray[np.uint8], workers: int, progress: Callable[[int, int], None] | None
) -> tuple[tuple[str, str], ...]:
    """Fill `pixels` (F, 3, H, W); return path and reason of what could not be read."""
    _, _, height, width = pixels.shape
    failures: dict[int, str] = {}

    def work(begin: int) -> int:
        end = min(begin + _CHUNK, len(paths))
        for i in range(begin, end):
            try:
                pixels[i] = decode(paths[i], height, width)
            except ValueError as error:
                failures[i] = _reason(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        return end - begin

    done = 0
    pool = ThreadPoolExecutor(workers)
    try:
        for future in [pool.submit(work, begin) for begin in range(0, len(paths), _CHUNK)]:
            done += future.result()
            if progress is not None:
                progress(done, len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple((paths[i], failures[i]) for i in sorted(failures))


def _allocate(shape: tuple[int, int, int, int], cache_dir: Path | None, limit: int | None) -> NDArray[np.uint8]:
    size = int(np.prod(shape, dtype=object))
    if limit is None:
        limit = _free_memory() // 2 // processes.local_rank()[1]
    if size <= limit or not size:
        return np.empty(shape, dtype=np.uint8)
    need = f"{shape[0]} frames of {shape[2]} x {shape[3]} pixels need {_gb(size)}, {_gb(limit)} are allowed"
    if cache_dir is None:
        raise MemoryError(f"{need}: give cache_dir, a folder for a scratch file, or a smaller height and width")
    cache_dir = Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache_dir) as file:
        try:
            _reserve(file, size)
        except OSError as error:
            raise OSError(
                error.errno,
                f"the scratch file needs {_gb(size)} ({error.strerror}): make space or change cache_dir",
                str(cache_dir),
            ) from error
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


def _reserve(file: IO[bytes], size: int) -> None:
    # Writing through a map on a full disk kills the process (SIGBUS), so the space is taken first.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        block = bytes(1 << 20)
        for begin in range(0, size, len(block)):
            file.write(block[: min(len(block), size - begin)])
        file.flush()


def _free_memory() -> int:
    """Return the bytes that this process may still take, by the machine and by its control group."""
    free = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024)
        group = Path("/sys/fs/cgroup")
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # not Linux, or no limit set
    if not free and hasattr(os, "sysconf"):
        free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return max(0, min(free, default=4 << 30))


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 10_000_000 else f"{size:,} bytes"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
