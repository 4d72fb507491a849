"""What a report of private data must not tell: where folders lie."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from reid.report.folder import Round, RunFolder

__all__ = ["without_folders"]

_FOLDERS = re.compile(r"(?<![\w.~])(?:~|\.{1,2})?(?:/[^/\s'\"=,;:]+)*/(?=[^/\s])")
"""The folders of an absolute or home path in a text; names with spaces in them are known from the settings."""


def without_folders(run: RunFolder) -> RunFolder:
    """The same run with folders taken out of settings, facts and warnings: paths keep their last name only."""
    known = {str(v) for v in run.settings.values() if isinstance(v, str) and "/" in v}
    known |= {str(v) for v in (run.fact("data", "root"), run.fact("source", "root")) if v}
    # Longest first: one may lie within another.
    folders = sorted({k.rstrip("/").rpartition("/")[0] + "/" for k in known} - {"/"}, key=len, reverse=True)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for folder in folders:
                value = value.replace(folder, "/")
            return _FOLDERS.sub("", value)
        if isinstance(value, dict):
            return {clean(k): clean(v) for k, v in value.items()}
        return [clean(v) for v in value] if isinstance(value, list) else value

    return dataclasses.replace(
        run, settings=clean(run.settings), facts=clean(run.facts),
        rounds=[Round(r.number, clean(r.values)) for r in run.rounds],
    )  # fmt: skip
