"""What a run says while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["Log"]

_PLAIN_EVERY = 30.0
"""Seconds between two lines about one long step where there is no terminal."""


class Log:
    """Messages, one line a round, and the progress of the step that is going on.

    Parameters
    ----------
    quiet : bool, default False
        Say nothing (for use from Python).
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(file=sys.stdout, quiet=quiet, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._said = 0.0

    def say(self, text: str) -> None:
        """One line."""
        self.end_stage()
        self._console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that should not be overlooked."""
        self.end_stage()
        self._console.print(f"warning: {text}", style="yellow", markup=False)

    def round(self, row: Mapping[str, Any], rounds: int) -> None:
        """One line with the figures of a round."""
        parts = [f"round {row['round']:>2}/{rounds}" if row["round"] else "untrained  "]
        if "n_clusters" in row:
            parts.append(f"{row['n_clusters']:>6} clusters")
        if "loss" in row:
            parts.append(f"loss {row['loss']:.3f}")
        if "reciprocity" in row:
            parts.append(f"reciprocity {100 * row['reciprocity']:.1f}")
        if "mAP" in row:
            parts.append(f"mAP {100 * row['mAP']:.1f}  rank-1 {100 * row['rank1']:.1f}")
        if "oracle_ari" in row:
            parts.append(f"oracle ARI {row['oracle_ari']:.2f}")
        parts.append(f"{row['seconds']:.1f} s")
        self.say("  ".join(parts))

    def progress(self, done: int, total: int, stage: str) -> None:
        """How far the present step is. A change of `stage` begins a new bar."""
        if self._console.is_terminal and not self._console.quiet:
            if self._bar is None or stage != self._stage:
                self.end_stage()
                self._bar = Progress(
                    TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                    console=self._console, transient=True,
                )  # fmt: skip
                self._task = self._bar.add_task(stage, total=total)
                self._bar.start()
            assert self._task is not None
            self._bar.update(self._task, completed=done)
            self._stage = stage
            return
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._said = stage, now
        elif now - self._said >= _PLAIN_EVERY:
            self._said = now
            self._console.print(f"  {stage}: {done} of {total}", markup=False)

    def end_stage(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._stage = ""
