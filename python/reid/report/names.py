"""Names of pictures in a CSV file of pairs, as `--constraints` finds them again."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from reid.data.records import Samples

__all__ = ["PairNames"]


class PairNames:
    """Names of samples: relative to the data's root, longer where that is the end of several paths.

    Parameters
    ----------
    samples : Samples
    root : Path, optional
        Folder of the data.
    """

    def __init__(self, samples: Samples, root: Path | None) -> None:
        self.samples, self.root = samples, None if root is None else os.path.abspath(root)
        self._by_name: dict[str, list[tuple[str, int]]] = {}
        for i, frames in enumerate(samples.frames):
            for frame in frames:
                self._by_name.setdefault(os.path.basename(frame), []).append((os.path.normpath(frame), i))

    def name(self, i: int) -> str | None:
        """The name of sample i: of its middle frame; None where no name would be read back."""
        frames = self.samples.frames[i]
        path = os.path.normpath(frames[len(frames) // 2])
        for name in [*self._relative(path), path]:
            if self._rows(name) == {i}:
                # Readers strip cells, and table programs take some first letters for a formula.
                name = "./" + name if name[0] in "=+-@\t\r'" or name != name.lstrip() else name
                return name if name == name.strip() else None
        return None

    def line(self, a: int, b: int) -> bytes | None:
        """The line of a pair up to its relation; None where a name would not be read back."""
        names = self.name(a), self.name(b)
        if names[0] is None or names[1] is None:
            return None
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow([*names, ""])  # it quotes cells with these letters only
        return os.fsencode(text.getvalue().removesuffix("\r\n"))

    def _relative(self, path: str) -> list[str]:
        if self.root is None or not path.startswith(self.root.rstrip(os.sep) + os.sep):
            return []
        short = os.path.relpath(path, self.root)
        return [short, os.path.join(os.path.basename(self.root), short)]

    def _rows(self, name: str) -> set[int]:
        found = self._by_name.get(os.path.basename(name), [])
        exact = {i for path, i in found if path == name}
        return exact or {i for path, i in found if path.endswith(os.sep + name)}
