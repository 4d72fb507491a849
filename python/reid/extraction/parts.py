"""What an extraction has done so far: a folder of parts beside the output, which an interrupted call goes on from.

::

    features.npz.parts/  plan.json    what makes the features; a call with another plan is refused
                         000000.npy   features of the first rows, 000001.npy of the next ...
                         .lock        one call at a time

A part is written in one piece, so one that is there is whole. Each part is computed by itself, batch by batch: the
features do not depend on where a call was interrupted, to the last bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reid import processes
from reid.data.records import printable
from reid.feature_table import read_facts
from reid.files import TEMPORARY, atomic_path, lock_folder, write_text

__all__ = ["Parts", "part_bounds"]

Rows = NDArray[np.float32]


def part_bounds(n_frames: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Cut rows of so many frames each into parts of at most `size` frames, but of one row at least.

    >>> part_bounds(np.array([2, 2, 2, 9, 1]), 4)
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    bounds, begin, frames = [], 0, 0
    for row, count in enumerate(n_frames.tolist()):
        if row > begin and frames + count > size:
            bounds.append((begin, row))
            begin, frames = row, 0
        frames += count
    return [*bounds, (begin, len(n_frames))] if len(n_frames) else bounds


class Parts:
    """The folder of parts of one output file.

    Parameters
    ----------
    output : Path
        The file to be.
    plan : mapping
        All that makes the features: plain JSON values.
    bounds : list of (int, int)
        First row of each part, and the row behind its last.
    size : int
        D.

    Raises
    ------
    ValueError
        The folder was begun with another plan (what differs is named), is not one of parts, or is in use; the output
        is there already.
    """

    def __init__(self, output: Path, plan: Mapping[str, Any], bounds: list[tuple[int, int]], size: int) -> None:
        self.path = output.with_name(output.name + ".parts")
        self.bounds, self.size = bounds, size
        self.finished = False
        """Whether the output holds all already (a call was killed before it took the parts away)."""
        self._output = output
        self._lock: IO[str] | None = None
        self._open(json.loads(json.dumps(plan)))

    @processes.first_only
    def _open(self, plan: dict[str, Any]) -> None:
        where = printable(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{where}: is a file, but the folder of parts has this name; move it away")
        taken = f"output={printable(self._output)}: exists already; choose another name or remove it"
        if self._output.exists() and self._stored_plan() is None:
            raise ValueError(taken)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(self.path)
        try:
            for left in self.path.glob(TEMPORARY):  # by a call that was killed while it wrote
                left.unlink(missing_ok=True)
            stored = self._stored_plan()
            if stored is None:
                others = sorted(entry.name for entry in self.path.iterdir() if entry.name != ".lock")
                if others:
                    raise ValueError(f"{where}: holds {printable(others[0])}, but no plan of parts; move it away")
                write_text(self.path / "plan.json", json.dumps(plan, indent=1) + "\n")
            elif stored != plan:
                raise ValueError(
                    f"{where}: was begun with other settings or data: {_differences(stored, plan)}; call with those "
                    "again, or remove the folder to begin anew"
                )
            self.finished = self._output.exists()
            if self.finished and _facts(self._output) != plan:
                raise ValueError(taken)
        except BaseException:
            self._lock.close()
            raise

    def _stored_plan(self) -> dict[str, Any] | None:
        try:
            plan: dict[str, Any] = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{printable(self.path)}/plan.json: is damaged ({error}); remove the folder") from None
        return plan

    @processes.first_only
    def close(self) -> None:
        """Let go of the folder; one without any part is taken away."""
        if len(self.missing()) == len(self.bounds) and (self.path / "plan.json").exists():
            self.remove()
        if self._lock is not None:
            self._lock.close()

    def missing(self) -> list[int]:
        """Parts that are not there yet."""
        return [i for i in range(len(self.bounds)) if not self._file(i).exists()]

    def save(self, part: int, rows: Rows) -> None:
        """Write a part."""
        with atomic_path(self._file(part)) as temporary:
            np.save(temporary, rows)

    def blocks(self) -> Iterator[Rows]:
        """The features of all parts, in order, one part in memory at a time."""
        for part, (begin, end) in enumerate(self.bounds):
            file = self._file(part)
            try:
                rows: Rows = np.load(file, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise ValueError(f"{printable(file)}: can't be read ({error}); remove it and call again") from None
            if rows.shape != (end - begin, self.size) or rows.dtype != np.float32:
                raise ValueError(f"{printable(file)}: is no part of this extraction; remove it and call again")
            yield rows

    def remove(self) -> None:
        """Take the folder away; the plan goes last, as it tells what the rest is."""
        for part in range(len(self.bounds)):
            self._file(part).unlink(missing_ok=True)
        (self.path / "plan.json").unlink(missing_ok=True)
        shutil.rmtree(self.path)

    def _file(self, part: int) -> Path:
        return self.path / f"{part:06d}.npy"


def _facts(output: Path) -> dict[str, Any] | None:
    try:
        return read_facts(output)
    except (ValueError, OSError):
        return None


def _differences(stored: Any, now: Any, name: str = "") -> str:
    """What differs between two plans, by name."""
    if isinstance(stored, dict) and isinstance(now, dict):
        keys = [key for key in (stored | now) if stored.get(key) != now.get(key)]
        return ", ".join(_differences(stored.get(key), now.get(key), f"{name}.{key}".lstrip(".")) for key in keys)
    return f"{name} ({_short(stored)} there, {_short(now)} here)"


def _short(value: Any) -> str:
    text = printable(json.dumps(value))
    return text if len(text) <= 60 else f"{text[:20]}...{text[-8:]}"
