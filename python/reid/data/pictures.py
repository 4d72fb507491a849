"""Pixels: every frame is decoded once, before training, and kept as bytes, or decoded when needed where they are too
many; a bad file is found at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reid import processes
from reid.data.decoding import cores, decode, opened, read_pixels, reason
from reid.data.records import Samples, printable

__all__ = ["Files", "Pictures", "UnreadablePictures", "decode", "free_memory"]

_CHUNK = 32


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


class Files:
    """Picture files that are decoded when they are asked for, in threads.

    Parameters
    ----------
    paths : sequence of F str
    height, width : int
        Size that every picture is resized to.
    workers : int
        Threads (Pillow decodes without the interpreter lock).
    """

    def __init__(self, paths: Sequence[str], height: int, width: int, workers: int) -> None:
        self.paths, self.height, self.width, self.workers = paths, height, width, workers
        self._pool = ThreadPoolExecutor(workers)

    def __len__(self) -> int:
        return len(self.paths)

    def request(self, index: NDArray[np.int64]) -> Callable[..., torch.Tensor]:
        """Begin to decode the files `index` (B,); the result (progress=None) waits for uint8 (B, 3, H, W)."""
        paths = [self.paths[i] for i in index]
        pixels = np.empty((len(paths), 3, self.height, self.width), dtype=np.uint8)

        def work(i: int) -> None:
            pixels[i] = read_pixels(paths[i], self.height, self.width)

        futures = self._start(work, len(paths))

        def wait(progress: Callable[[int, int], None] | None = None) -> torch.Tensor:
            self._finish(futures, paths, progress)
            return torch.from_numpy(pixels)

        return wait

    def check_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Read the head of every file. Raises UnreadablePictures with all that are no pictures."""

        def work(i: int) -> None:
            with opened(self.paths[i]):
                pass

        self._finish(self._start(work, len(self)), self.paths, progress)

    def _start(self, work: Callable[[int], None], count: int) -> list[Future[list[tuple[int, str]]]]:
        """Call work(i) for every i below `count`, in the threads; a future gives what failed of its share."""
        size = max(1, min(_CHUNK, count // (4 * self.workers)))

        def some(begin: int) -> list[tuple[int, str]]:
            failures = []
            for i in range(begin, min(begin + size, count)):
                try:
                    work(i)
                except MemoryError:
                    raise
                except Exception as error:  # Pillow raises nearly any type on a broken file
                    failures.append((i, reason(error)))
            return failures

        return [self._pool.submit(some, begin) for begin in range(0, count, size)]

    @staticmethod
    def _finish(
        futures: list[Future[list[tuple[int, str]]]],
        paths: Sequence[str],
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Wait, and raise UnreadablePictures if any failed."""
        failures: list[tuple[int, str]] = []
        try:
            for k, future in enumerate(futures, start=1):
                failures += future.result()
                if progress is not None:
                    progress(len(paths) * k // len(futures), len(paths))
        finally:
            for future in futures:
                future.cancel()
        if failures:
            raise UnreadablePictures(tuple((paths[i], reason) for i, reason in failures), len(paths))


@dataclass(frozen=True, eq=False)
class Pictures:
    """The frames of N samples as bytes of one size, held in memory or decoded when they are asked for.

    Parameters
    ----------
    frames : uint8 tensor (F, 3, H, W), or Files
        All frames, in the order of the samples. Read them by `rows`, `request` or `stream`.
    first : int64 array (N + 1,)
        Rows first[i]:first[i + 1] are the frames of sample i.
    """

    frames: torch.Tensor | Files
    first: NDArray[np.int64]

    def __post_init__(self) -> None:
        frames = self.frames
        if isinstance(frames, torch.Tensor) and (
            frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3
        ):
            raise TypeError(f"frames are {frames.dtype} {tuple(frames.shape)}: must be uint8 (F, 3, H, W)")
        first = np.asarray(self.first)
        total = len(frames)
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
        memory_limit: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Pictures:
        """Decode every frame of `samples`, or look at each file's head where the pixels are too many.

        Parameters
        ----------
        samples : Samples
        height, width : int
            Size that every frame is resized to, pixels.
        workers : int
            Threads; 0 = one a core.
        memory_limit : int, optional
            Bytes that the pixels may take in memory; None = half of what is free. Beyond it frames are decoded
            whenever they are asked for: the same bytes, and no more memory than a few batches take.
        progress : callable (done, total), optional
            Called from this thread.

        Returns
        -------
        Pictures

        Raises
        ------
        UnreadablePictures
            Some files can't be read; all are tried first.
        """
        if height < 1 or width < 1:
            raise ValueError(f"height={height}, width={width}: must be at least 1 pixel")
        if workers < 0:
            raise ValueError(f"workers={workers}: must be 0 (one a core) or more")
        if memory_limit is None:
            memory_limit = free_memory() // 2 // processes.local_rank()[1]
        first = np.concatenate([[0], np.cumsum(samples.n_frames)]).astype(np.int64)
        files = Files([path for row in samples.frames for path in row], height, width, workers or cores())
        if len(files) * 3 * height * width <= memory_limit:
            return cls(files.request(np.arange(len(files)))(progress), first)
        files.check_all(progress)
        return cls(files, first)

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def n_frames(self) -> int:
        """Number of frames F of all samples."""
        return len(self.frames)

    @property
    def held(self) -> bool:
        """Whether all pixels lie in memory."""
        return isinstance(self.frames, torch.Tensor)

    @property
    def height(self) -> int:
        """Height of every frame, pixels."""
        return self.frames.shape[2] if isinstance(self.frames, torch.Tensor) else self.frames.height

    @property
    def width(self) -> int:
        """Width of every frame, pixels."""
        return self.frames.shape[3] if isinstance(self.frames, torch.Tensor) else self.frames.width

    def name(self, row: int) -> str:
        """First file of sample `row`, printable; empty where the pixels lie in memory."""
        return "" if isinstance(self.frames, torch.Tensor) else printable(self.frames.paths[int(self.first[row])])

    def rows(self, index: NDArray[np.int64]) -> torch.Tensor:
        """The frames `index` (B,) as uint8 (B, 3, H, W).

        Raises
        ------
        UnreadablePictures
            A file that has to be decoded now can't be.
        """
        return self.request(index)()

    def request(self, index: NDArray[np.int64]) -> Callable[[], torch.Tensor]:
        """Begin to decode the frames `index` (B,), and go on at once; what is returned gives them (see `rows`)."""
        frames = self.frames
        if isinstance(frames, torch.Tensor):
            held = frames
            return lambda: held[torch.from_numpy(index)]
        return frames.request(index)

    def stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[torch.Tensor]:
        """The frames of each of `parts`, the next ones being decoded while the last are worked on."""
        waiting: Callable[[], torch.Tensor] | None = None
        for part in parts:
            ahead = self.request(part)
            if waiting is not None:
                yield waiting()
            waiting = ahead
        if waiting is not None:
            yield waiting()


def free_memory() -> int:
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
