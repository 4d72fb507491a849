"""``reid-export``: a run's network for others."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reid.cli.run import parse, run, with_file
from reid.exporting.settings import ExportConfig

__all__ = ["main"]


@dataclass(frozen=True)
class Command(ExportConfig):
    """The settings as flags, and those of the command alone."""

    run: tyro.conf.Positional[Path]
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-export``."""
    raise SystemExit(run("reid-export", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def _command(argv: list[str]) -> None:
    default = with_file(ExportConfig, Command(tyro.MISSING), argv)
    command = parse(
        Command, argv, program="reid-export", default=default,
        description="Write a run's network for others: weights, a model card, and ONNX.",
    )  # fmt: skip
    from reid.exporting.export import export  # torch is loaded when there is something to write

    export(command)


if __name__ == "__main__":
    main()
