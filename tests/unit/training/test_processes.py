"""Two processes do what one does; a run of which one has died ends, and says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid import processes
from reid.config import TrainConfig
from reid.training import train as training

GRAPH = {"k1": 6, "k2": 2, "min_samples": 2, "iters": 6, "per_cluster": 2, "rounds": 2, "batch_size": 16}
BUC = {"merge_percent": 0.2, "epochs_first": 1, "epochs": 1, "rounds": 3, "batch_size": 16}
JOBS = [
    ("cluster-contrast", GRAPH),
    ("cluster-contrast", {**GRAPH, "bn_group_size": 16}),
    ("cluster-contrast", {**GRAPH, "bn_group_size": 8}),
    ("spcl", {**GRAPH, "bn_group_size": 4, "seed": 1}),
    ("cdsm", GRAPH),
    ("mtcluster", {**GRAPH, "bn_group_size": 4, "tri_loss": "watl"}),
    ("buc", BUC),
    ("buc", {**BUC, "instances": "tracklet", "frames": 3, "batch_size": 8, "rounds": 2}),
    ("source", {"dropout": 0.5, "epochs": 2, "rounds": 2, "batch_size": 16}),
]
PAIR = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def results(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders with what one process and what two have made of `JOBS`."""
    folder = tmp_path_factory.mktemp("processes")
    common = {"data": str(walkers), "height": 32, "width": 16, "backbone": "tiny:0.25"}
    (folder / "jobs.json").write_text(json.dumps([(name, {**common, **settings}) for name, settings in JOBS]))
    for launcher, name in (([sys.executable], "one"), (PAIR, "two")):
        (folder / name).mkdir()
        command = [*launcher, str(Path(__file__).with_name("as_one.py")), str(folder / "jobs.json"), str(folder / name)]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "one", folder / "two"


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["bn0", "bn12", "bn6", "bn3", "camera", "dropout"])
def test_pieces_of_a_step(results: tuple[Path, Path], piece: str) -> None:
    """Groups of batch norm over processes and within them, 3C's camera entropy, dropout: values and gradients."""
    one, two = (torch.load(folder / "pieces.pt", weights_only=True)[piece] for folder in results)
    for name, expected in one.items():
        for a, b in zip(two[name], expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(JOBS)), ids=[name for name, _ in JOBS])
def test_the_number_of_processes_changes_only_rounding(results: tuple[Path, Path], number: int) -> None:
    one, two = (folder / str(number) for folder in results)
    rows, pair_rows = (_rows(run) for run in (one, two))
    assert len(rows) == len(pair_rows) == JOBS[number][1]["rounds"] + 1
    for row, pair_row in zip(rows, pair_rows, strict=True):
        name = f"labels/round-{row['round']:03d}.npz"
        assert np.array_equal(np.load(one / name)["labels"], np.load(two / name)["labels"])
        if row["round"]:
            assert pair_row["loss"] == pytest.approx(row["loss"], rel=1e-4)
        assert pair_row["mAP"] == pytest.approx(row["mAP"], abs=0.02)
    assert (two / "report.html").exists()


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_one_process_resumes_it(walkers: Path, tmp_path: Path) -> None:
    flags = [
        "--data", str(walkers), "--height", "32", "--width", "16", "--backbone", "tiny:0.25", "--output", "run",
        "--method", "cluster-contrast", "--k1", "6", "--k2", "2", "--min-samples", "2", "--per-cluster", "2",
        "--iters", "12", "--rounds", "6",
    ]  # fmt: skip
    with open(tmp_path / "log.txt", "wb") as log:
        run = subprocess.Popen(
            [*PAIR, "-m", "reid.cli.train", *flags], cwd=tmp_path, env=ENVIRONMENT, stdout=log, stderr=log
        )
    metrics = tmp_path / "run" / "metrics.jsonl"
    _wait(lambda: metrics.exists() and len(_rows(tmp_path / "run")) > 1, run)
    began = time.monotonic()
    os.kill(_worker(run.pid, rank=1), signal.SIGKILL)
    assert run.wait(timeout=60) != 0
    assert time.monotonic() - began < 60
    said = (tmp_path / "log.txt").read_text()
    assert "process 0 of 2 lost the others" in said or "terminated" in said
    assert "Signal 9 (SIGKILL)" in said  # the launcher says which process it was
    resume = [sys.executable, "-m", "reid.cli.train", "--resume", "run"]
    done = subprocess.run(resume, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["round"] for row in _rows(tmp_path / "run")] == list(range(7))


@pytest.mark.slow
def test_an_error_in_one_process_is_said_once(walkers: Path, tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(
        "import os\n"
        "from reid.cli.train import main\n"
        "from reid.training import loop\n"
        "def fail(*args):\n"
        "    raise ValueError('planted: mend it')\n"
        "if os.environ['RANK'] == '1':\n"
        "    loop._train_round = fail\n"
        "main()\n"
    )
    flags = ["--data", str(walkers), "--height", "32", "--width", "16", "--backbone", "tiny:0.25", "--output", "run"]
    done = subprocess.run(
        [*PAIR, str(script), *flags], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert done.stderr.count("reid-train: error: planted: mend it") == 1
    assert "lost the others" not in done.stderr
    assert "Traceback" not in done.stderr.split("reid-train: error")[0]


def test_one_process_exchanges_nothing() -> None:
    x = torch.arange(4.0)
    assert processes.size() == 1
    assert processes.share(x) is processes.gather(x) is processes.add_up(x) is x
    assert processes.once(len)("abc") == 3
    processes.check_same("anything", object())
    processes.join()
    assert not torch.distributed.is_initialized()


def test_left_over_variables_make_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    processes.join()
    assert processes.size() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 33}, "batch_size=33: must be a multiple of the run's 2 processes"),
        ({"batch_size": 48, "bn_group_size": 16}, "bn_group_size=16: must divide the 24 pictures"),
    ],
)
def test_a_batch_must_be_shared_out_evenly(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(processes, "_run", processes._Run(0, 2, None, None))
    with pytest.raises(ValueError, match=message):
        training._check_processes(TrainConfig(**settings))


def test_alone_works_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_run", processes._Run(1, 2, None, None))
    x = torch.arange(4)
    assert processes.share(x).tolist() == [2, 3]
    with processes.alone():
        assert (processes.size(), processes.rank(), processes.is_first()) == (1, 0, False)
        assert processes.share(x) is x
    assert processes.size() == 2


def _rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _wait(ready: Any, run: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not ready() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _worker(launcher: int, rank: int) -> int:
    """The process with this rank among the children of the launcher."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    environments = {int(c): Path(f"/proc/{c}/environ").read_bytes().split(b"\0") for c in children}
    return next(pid for pid, variables in environments.items() if f"RANK={rank}".encode() in variables)
