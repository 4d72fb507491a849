"""``reid-extract``: features of pictures, in one file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reid.cli.run import UsageError, parse, run, with_file
from reid.extraction.settings import ExtractConfig

__all__ = ["main"]


@dataclass(frozen=True)
class Command(ExtractConfig):
    """The settings as flags, and those of the command alone."""

    path: tyro.conf.Positional[Path]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("features.npz")
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-extract``."""
    kept = "what was done is kept: the same command goes on from there"
    raise SystemExit(run("reid-extract", lambda: _command(sys.argv[1:]), kept=kept))


def _command(argv: list[str]) -> None:
    default = with_file(ExtractConfig, Command(tyro.MISSING), argv)
    command = parse(
        Command, argv, program="reid-extract", default=default,
        description="Compute the features of pictures, with a trained network (--run) or an untrained one (--weights). "
        "An interrupted call goes on where it was when it is called again.",
    )  # fmt: skip
    try:
        command.check_network()
    except ValueError as error:
        raise UsageError(str(error)) from None
    from reid.extraction.extract import extract_features  # torch is loaded when there is something to compute

    extract_features(command)


if __name__ == "__main__":
    main()
