from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from reid.files import atomic_path, write_text


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
