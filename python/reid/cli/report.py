"""``reid-report``: the report of a run, or of several side by side."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro.conf

from reid.cli.run import UsageError, parse, run, with_file
from reid.report.settings import ReportConfig

__all__ = ["main"]


@dataclass(frozen=True)
class Command:
    """The report's settings, and the command's own flags."""

    settings: tyro.conf.OmitArgPrefixes[ReportConfig]
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-report``."""
    raise SystemExit(run("reid-report", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def _command(argv: list[str]) -> None:
    settings = with_file(ReportConfig, ReportConfig(), argv)
    description = ReportConfig.__doc__ or ""
    command = parse(Command, argv, program="reid-report", description=description, default=Command(settings))
    asked = command.settings
    if not asked.runs:
        raise UsageError("RUN: name a folder that reid-train wrote, or several")
    asked = dataclasses.replace(asked, runs=tuple(folder.expanduser() for folder in asked.runs))
    from reid.report.page import write_report  # loads torch

    page = write_report(asked)
    print(f"results: {page}  ({page.stat().st_size / 1e6:.1f} MB, one file, works offline)")
    print(f"next: open {page}" + (f"; reid-review {asked.runs[0]} to mark pairs" if len(asked.runs) == 1 else ""))


if __name__ == "__main__":
    main()
