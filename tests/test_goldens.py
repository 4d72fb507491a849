"""Every golden file is used by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent


def _named(source: str, stems: list[str]) -> set[str]:
    """Stems that a test file names: in a string, or in an f-string whose gaps are filled by strings of the file."""
    nodes = list(ast.walk(ast.parse(source)))
    words = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    patterns = [_pattern(n) for n in nodes if isinstance(n, ast.JoinedStr)]

    def said(text: str, depth: int = 2) -> bool:
        if text in words or f"{text}.npz" in words:
            return True
        matches = (pattern.fullmatch(text) for pattern in patterns) if depth else ()
        return any(match and all(said(part, depth - 1) for part in match.groups()) for match in matches)

    return {stem for stem in stems if said(stem)}


def _pattern(text: ast.JoinedStr) -> re.Pattern[str]:
    parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else "(.+)" for p in text.values]
    return re.compile("".join(parts).removesuffix(re.escape(".npz")))


def test_every_golden_file_is_used() -> None:
    stems = sorted(path.stem for path in (TESTS / "golden").glob("*.npz"))
    assert len(stems) > 80
    used = set()
    for path in TESTS.rglob("*.py"):
        used |= _named(path.read_text(encoding="utf-8"), stems)
    assert sorted(set(stems) - used) == []


def test_only_whole_names_count() -> None:
    stems = ["ccc_prune", "ccc_prune_hdc", "cc_cm"]
    assert _named('load("ccc_prune_hdc.npz")', stems) == {"ccc_prune_hdc"}
    assert _named('for name in ("prune", "cm"):\n    load(f"ccc_{name}.npz")', stems) == {"ccc_prune"}
    assert _named('"""What cc_cm and ccc_prune say."""', stems) == set()
    nested = 'golden("a")\nfor n in ("main",):\n    load(f"hdc_{n}")\ndef load(name):\n    np.load(f"ccc_{name}.npz")'
    assert _named(nested, ["ccc_hdc_main", "ccc_hdc_other"]) == {"ccc_hdc_main"}
