"""``reid-data check`` and ``stats``: what they print, what they write, and what programs are told by the exit code."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

import reid
from reid.cli import data


class Done(NamedTuple):
    """What a command said."""

    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Call ``reid-data`` in this process, which has torch loaded, and compare its exit code."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str, cwd: Path, code: int = 0) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["reid-data", *arguments])
        with pytest.raises(SystemExit) as stop:
            data.main()
        done = Done(*capsys.readouterr())
        assert stop.value.code == code, done
        return done

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the networks unmeasured: these tests are about pictures and names."""
    monkeypatch.setattr("reid.checking.check._estimates", lambda *_: [])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of 50 mixed pictures."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "data"))
    from mixed import draw_mixed

    return draw_mixed(tmp_path_factory.mktemp("check") / "mixed")


def test_a_folder_of_all_kinds(run: Run, unmeasured: None, mixed: Path) -> None:
    done = run("check", "mixed", "--output", "problems.csv", cwd=mixed.parent, code=1)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert "! 5 can't be read (unreadable)" in lines
    assert "    empty.jpg: empty file (0 bytes)" in lines
    assert "  1 with the bytes of another (duplicate)" in lines
    assert (
        "  3 turned by EXIF, 2 CMYK, 2 16 bits a channel, 2 with transparency, 1 with several frames, " in done.stdout
    )
    assert lines[-2:] == [
        "results: problems.csv  (9 findings)",
        "next: repair or remove what is marked with !, then reid-data check mixed",
    ]
    with open(mixed.parent / "problems.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "kind", "detail"]
    assert len(rows) == 10
    assert ["empty.jpg", "unreadable", "empty file (0 bytes)"] in rows


def test_one_json_object(run: Run, mixed: Path) -> None:
    facts = json.loads(run("check", "mixed", "--json", cwd=mixed.parent, code=1).stdout)
    assert facts["usable"] is False
    assert facts["kinds"] == {"unreadable": 5, "duplicate": 1, "near-duplicate": 2, "tiny": 1}
    assert facts["shapes"]["readable"] == 45
    assert facts["counts"]["splits"]["train"]["pictures"] == 50
    assert facts["size"] == [256, 128]
    first = facts["estimates"][0]
    assert (first["weights"], first["rounds"], first["epochs"]) == ("none", 7, 32)
    assert first["pixels_bytes"] == 50 * 3 * 256 * 128
    assert first["memory_bytes"] > first["pixels_bytes"]


def test_a_sound_set_and_its_counts(run: Run, walkers: Path) -> None:
    done = run("check", str(walkers), cwd=walkers.parent)
    assert "No problems found." in done.stdout
    assert done.stdout.splitlines()[-1] == f"next: reid-train --method buc --data {walkers} --weights pip"
    text = run("stats", str(walkers), cwd=walkers.parent).stdout
    assert "train: 72 rows, 72 pictures" in text
    assert "    identities of each camera (diagonal) and of each two:" in text
    counts = json.loads(run("stats", str(walkers), "--json", cwd=walkers.parent).stdout)
    assert counts == reid.stats(reid.StatsConfig(walkers))
    assert counts["splits"]["train"]["identities"] == 6


HOSTILE = [
    b"<img src=x onerror=alert(1)>.jpg", b"quote\"s 'n' more.jpg", b"line\nbreak.jpg", b"\x1b[31mred.jpg",
    b"-rf.jpg", b"=1+1.jpg", b"+2.jpg", b"@x.jpg", b"\ttab.jpg", b"\rreturn.jpg", b"undecodable\xff.jpg",
    "\u202eright to left.jpg".encode(),
]  # fmt: skip


def test_hostile_names(run: Run, unmeasured: None, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "set")
    os.mkdir(folder)
    for i, name in enumerate(HOSTILE):
        Path(os.fsdecode(folder + b"/" + name)).write_text(f"broken {i}")
    Image.new("RGB", (20, 40)).save(tmp_path / "set" / "good.png")
    done = run("check", "set", "--output", "problems.csv", cwd=tmp_path, code=1)
    shown = done.stdout.splitlines()
    assert all(line.isprintable() for line in shown)
    with open(tmp_path / "problems.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))[1:]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)
    names = {os.fsencode(row[0].removeprefix("'")) for row in rows}
    assert names == set(HOSTILE)
    facts = json.loads(run("check", "set", "--json", cwd=tmp_path, code=1).stdout)
    assert {os.fsencode(finding["path"]) for finding in facts["findings"]} == set(HOSTILE)


def test_names_of_the_data_themselves(run: Run, unmeasured: None, tmp_path: Path) -> None:
    for name in ("-set", "a b'c"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 40)).save(tmp_path / name / "a.png")
    assert "-set: layout folder" in run("stats", "./-set", cwd=tmp_path).stdout
    done = run("check", "a b'c", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == """next: reid-train --method buc --data 'a b'"'"'c' --weights pip"""


def test_settings_from_a_file(run: Run, unmeasured: None, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.new("RGB", (20, 40)).save(tmp_path / "set" / "a.png")
    (tmp_path / "check.toml").write_text('path = "set"\ntiny = 30\noutput = "found.csv"\n')
    done = run("check", "--config", "check.toml", cwd=tmp_path)
    assert "  1 tiny (tiny)" in done.stdout
    assert (tmp_path / "found.csv").read_text().splitlines()[1] == "a.png,tiny,40 x 20 pixels (height x width)"
    assert "No problems" in run("check", "--config", "check.toml", "--tiny", "2", cwd=tmp_path).stdout
    assert (
        "set: layout folder" in run("stats", "set", "--config", "empty.toml", cwd=_with(tmp_path, "empty.toml")).stdout
    )
    (tmp_path / "wrong.toml").write_text("tinny = 3\n")
    done = run("check", "set", "--config", "wrong.toml", cwd=tmp_path, code=2)
    assert "unknown key 'tinny': did you mean 'tiny'?" in done.stderr


def _with(folder: Path, name: str) -> Path:
    (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["check"], 2, "PATH"),
        (["check", "nothing"], 1, "nothing: no such file or folder: check the path"),
        (["stats", "nothing"], 1, "nothing: no such file or folder: check the path"),
        (["check", ".", "--tiny", "-1"], 2, "tiny=-1: must be at least 0"),
        (["check", ".", "--workers", "-1"], 2, "workers=-1: must be at least 0"),
        (["chekc", "."], 2, "did you mean 'check'"),
        (["check", "."], 1, "no pictures"),
    ],
)
def test_wrong_usage_is_said_in_a_line(run: Run, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = run(*arguments, cwd=tmp_path, code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or len(done.stderr.splitlines()) == 1


def test_help_and_stats_load_no_torch(walkers: Path) -> None:
    program = (
        "import sys; from reid.cli import data\n"
        "for arguments in (['check', '--help'], ['stats', '--help'], ['stats', sys.argv[1]]):\n"
        "    try: data._command(arguments)\n"
        "    except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(walkers)], check=True, stdout=subprocess.DEVNULL, timeout=120)


def test_a_table_that_cannot_be_written(run: Run, unmeasured: None, mixed: Path) -> None:
    done = run("check", "mixed", "--output", "mixed/empty.jpg/x.csv", cwd=mixed.parent, code=1)
    assert len(done.stderr.splitlines()) == 1
    assert "empty.jpg" in done.stderr
    assert done.stdout == ""
