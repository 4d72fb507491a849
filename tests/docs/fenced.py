"""The fenced blocks of a page."""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each block, in order."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))
