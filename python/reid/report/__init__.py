"""The report of a run and the page of pairs to review: offline HTML files, made from what a run left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reid.report.settings import ReportConfig, ReviewConfig

if TYPE_CHECKING:
    from reid.report.page import write, write_report
    from reid.report.review import review

__all__ = ["ReportConfig", "ReviewConfig", "review", "write", "write_report"]


def __getattr__(name: str) -> Any:
    if name in ("write", "write_report"):  # they load torch
        from reid.report import page

        return getattr(page, name)
    if name == "review":
        from reid.report.review import review

        return review
    raise AttributeError(f"module 'reid.report' has no attribute {name!r}")
