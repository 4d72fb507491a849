"""``reid-search``: find the pictures nearest to a query."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from reid.cli.run import UsageError, parse, run, with_file
from reid.data.records import printable
from reid.queries.config import SearchConfig

if TYPE_CHECKING:
    from reid.queries.search import Search

__all__ = ["main"]


@dataclass(frozen=True)
class Command(SearchConfig):
    """Find the pictures nearest to a query in a feature table, and how far to believe them."""

    path: tyro.conf.Positional[str] = tyro.MISSING
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    json: bool = False
    """Print one JSON object instead of tables."""
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-search``."""
    raise SystemExit(run("reid-search", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def _command(argv: list[str]) -> None:
    default = with_file(SearchConfig, Command(), argv)
    command = parse(Command, argv, program="reid-search", description=Command.__doc__ or "", default=default)
    if not command.query and command.query_features is None:
        raise UsageError("query: is missing: name pictures to search for, or give --query-features")
    from reid.queries.search import search  # heavy modules are loaded when there is something to search

    found = search(command, quiet=command.json)
    if command.json:
        print(json.dumps(found.as_json(), indent=1))
        return
    _print(found)
    _print_calibration(found)
    if found.output is not None:
        print(f"results: {printable(found.output)}")
    print(f"next: {'--output FILE.csv to keep the results' if found.output is None else _more(command)}")


def _more(command: Command) -> str:
    return "--rerank orders by shared neighbours" if not command.rerank else "reid-cluster groups the whole table"


def _print(found: Search) -> None:
    for query in found.queries:
        camera = f"  (camera {query.camid})" if query.camid >= 0 else ""
        print(f"query: {printable(query.name)}{camera}")
        if not query.results:
            print("  nothing")
            continue
        print("  rank  distance  probability  false at most  camera      pid  path")
        for r in query.results:
            p = "-" if r.probability is None else f"{r.probability:.3f}"
            f = "-" if r.false_share is None else f"{r.false_share:.3f}"
            camera, pid = ("-" if number < 0 else str(number) for number in (r.camid, r.pid))
            print(f"  {r.rank:>4}  {r.distance:8.4f}  {p:>11}  {f:>13}  {camera:>6}  {pid:>7}  {printable(r.path)}")


def _print_calibration(found: Search) -> None:
    c = found.calibration
    for kind, fit in c.fits.items():
        print(
            f"probability, {kind}: from {c.counts['same']:,} pairs of one tracklet and {c.counts[kind]:,} seen at one "
            f"time; reliability error {fit.error:.3f}; one pair in {1 / fit.prior:,.0f} is taken to be one identity"
        )
    if c.fits:
        print("  (pictures of one tracklet are easier to match than those of two visits: it is optimistic for these)")
    for reason in c.reasons:
        print(f"note: {reason}")


if __name__ == "__main__":
    main()
