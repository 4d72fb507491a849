from __future__ import annotations

import csv
import errno
import io
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.files import atomic_path, cell, csv_text, text_of, write_text


def test_old_file_survives_an_error(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["figures.json"]


def test_error_names_the_file_that_was_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a" / "figures.json"
    with pytest.raises(OSError, match=r"figures\.json") as caught, atomic_path(path) as temporary:
        temporary.unlink()
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))
    assert ".tmp" not in str(caught.value)


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_file_size_limit_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_text(path, "old")
    code = f"import sys; from reid.files import write_text; write_text({str(path)!r}, 'x' * 1_000_000)"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # noqa: E731
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode != 0
    assert str(path) in done.stderr
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@given(st.lists(st.text(alphabet="=+-@'\t\r\n\",;a1.\x00é", max_size=8), min_size=1, max_size=4))
def test_no_text_of_a_table_is_a_formula_and_each_comes_back(names: list[str]) -> None:
    text = csv_text(["name", "value"], [(name, -0.5) for name in names])
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == ["name", "value"]
    assert [text_of(row[0]) for row in rows[1:]] == names
    for row in rows[1:]:
        assert row[1] == "-0.5"
        assert row[0][:1] not in {"=", "+", "-", "@", "\t", "\r"} or row[0].lstrip("+-").replace(".", "", 1).isdigit()


def test_numbers_are_no_formulas() -> None:
    assert [cell(t) for t in ("-1", "+2.5e-3", "-1.jpg", "=1", "'-x", "plain")] == [
        "-1", "+2.5e-3", "'-1.jpg", "'=1", "''-x", "plain",
    ]  # fmt: skip
