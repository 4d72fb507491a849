"""Imports go one way: data -> models -> features -> clustering, memory -> methods -> training -> ... -> cli."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

ORDER = [
    {"files", "processes", "devices"}, {"config"}, {"data"}, {"models"},
    {"features", "feature_parquet", "feature_table"}, {"clustering", "memory", "losses"}, {"methods"},
    {"evaluation"}, {"report"}, {"training"}, {"checking"}, {"extraction"}, {"exporting"},
    {"groups", "queries"}, {"cli"},
]  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
"""`training` stands above `evaluation` and `report`, which it calls after each round and at the end."""


def _package() -> Path:
    spec = importlib.util.find_spec("reid")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def test_no_upward_import() -> None:
    upward = []
    for path in sorted(_package().rglob("*.py")):
        room = path.relative_to(_package()).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [f"reid.{a.name}" for a in node.names] if node.module == "reid" else [node.module]
            for name in names:
                if name.startswith("reid.") and LEVEL[name.split(".")[1]] > LEVEL[room]:
                    upward.append(f"{path.relative_to(_package())} imports {name}")
    assert not upward
    assert {p.name.removesuffix(".py") for p in _package().iterdir() if not p.name.startswith("_")} >= {
        "data",
        "cli",
    }


def test_only_log_and_cli_print() -> None:
    printing = []
    for path in sorted(_package().rglob("*.py")):
        relative = path.relative_to(_package()).as_posix()
        if relative.startswith("cli/") or relative == "training/log.py":
            continue
        calls = (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call))
        printing += [relative for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not printing
