"""``reid-review``: a page on which a person marks pairs as same or different."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro.conf

from reid.cli.run import UsageError, parse, run, with_file
from reid.report.settings import ReviewConfig

__all__ = ["main"]


@dataclass(frozen=True)
class Command:
    """The page's settings, and the command's own flags."""

    settings: tyro.conf.OmitArgPrefixes[ReviewConfig]
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-review``."""
    raise SystemExit(run("reid-review", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def _command(argv: list[str]) -> None:
    settings = with_file(ReviewConfig, ReviewConfig(), argv)
    description = ReviewConfig.__doc__ or ""
    command = parse(Command, argv, program="reid-review", description=description, default=Command(settings))
    asked = command.settings
    if asked.source is None:
        raise UsageError("SOURCE: name a run folder, or a file of features (.npz)")
    asked = dataclasses.replace(asked, source=asked.source.expanduser())
    from reid.report.review import review  # loads torch
    from reid.training.log import Log

    log = Log()
    page = review(asked, log.progress)
    log.end_stage()
    print(f"results: {page}  ({page.stat().st_size / 1e6:.1f} MB, one file, works offline)")
    print(f"next: open {page}, mark pairs with S, D and U, download review.csv, and give it to --constraints")


if __name__ == "__main__":
    main()
