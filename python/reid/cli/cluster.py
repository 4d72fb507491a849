"""``reid-cluster``: group pictures of one identity."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reid.cli.run import parse, run, with_file
from reid.groups.config import ClusterConfig

__all__ = ["main"]


@dataclass(frozen=True)
class Command(ClusterConfig):
    """Group pictures of one identity and write the groups as a CSV table."""

    path: tyro.conf.Positional[str] = tyro.MISSING
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("labels.csv")
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-cluster``."""
    raise SystemExit(run("reid-cluster", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def _command(argv: list[str]) -> None:
    default = with_file(ClusterConfig, Command(), argv)
    command = parse(Command, argv, program="reid-cluster", description=Command.__doc__ or "", default=default)
    from reid.groups.cluster import cluster  # heavy modules are loaded when there is something to cluster

    cluster(command)


if __name__ == "__main__":
    main()
