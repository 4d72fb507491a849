"""Every golden file is used by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent


def _named(source: str, stems: list[str]) -> set[str]:
    """Stems that a test file names: in a string, or in an f-string whose gaps are filled by strings of the file."""
    tree = ast.parse(source)
    words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    named = {stem for stem in stems if words & {stem, f"{stem}.npz"}}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [re.escape(p.value) if isinstance(p, ast.Constant) else "(.+)" for p in node.values]
            pattern = re.compile("".join(map(str, parts)).removesuffix(re.escape(".npz")))
            found = ((stem, pattern.fullmatch(stem)) for stem in stems)
            named |= {stem for stem, match in found if match and words.issuperset(match.groups())}
    return named


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
