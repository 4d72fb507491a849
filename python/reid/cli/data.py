"""``reid-data``: make data, and look at them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro.conf

from reid.cli.run import UsageError, parse, run
from reid.config import nearest

__all__ = ["main"]


@dataclass(frozen=True)
class Synthetic:
    """Draw synthetic walkers and write them in the layout of Market-1501 (and a table, samples.csv)."""

    folder: tyro.conf.Positional[Path]
    """Folder to be made; must not hold anything yet."""
    level: Literal["mild", "hard"] = "mild"
    """mild: colours differ little between cameras; hard: casts, textures and look-alikes as in real life."""
    seed: int = 0
    """Seed; the same seed draws the same pictures."""
    height: int = 64
    """Picture height in pixels."""
    width: int = 32
    """Picture width in pixels."""
    train_persons: int = 72
    """Persons to train on."""
    test_persons: int = 32
    """Persons to evaluate with; none of them is in the training set."""
    debug: bool = False
    """Show where an error comes from."""


USAGE = """usage: reid-data ACTION ...

Make data for re-identification. Actions:

  synthetic FOLDER   draw synthetic walkers in the layout of Market-1501

`reid-data ACTION --help` lists an action's flags.
"""


def main() -> None:
    """Entry point of ``reid-data``."""
    raise SystemExit(run("reid-data", lambda: _command(sys.argv[1:])))


def _command(argv: list[str]) -> None:
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
    elif argv[0] == "synthetic":
        _synthetic(parse(Synthetic, argv[1:], program="reid-data synthetic", description=Synthetic.__doc__ or ""))
    else:
        raise UsageError(f"action={argv[0]!r}: {nearest(argv[0], ['synthetic'])}")


def _synthetic(asked: Synthetic) -> None:
    from reid.data.synthetic import SyntheticConfig, write_market

    config = SyntheticConfig(
        level=asked.level, seed=asked.seed, height=asked.height, width=asked.width,
        train_persons=asked.train_persons, test_persons=asked.test_persons,
    )  # fmt: skip
    root = write_market(config, asked.folder)
    print(f"results: {root}  (bounding_box_train, query, bounding_box_test, samples.csv)")
    print(f"next: reid-train --method buc --data {root}")


if __name__ == "__main__":
    main()
