"""The report of a run: one offline HTML file, made from the run folder only, so it can be made again."""

from reid.report.page import write

__all__ = ["write"]
