"""All methods side by side: accuracy and time of `reid-train --method M`, several seeds, as a Markdown table.

Run from anywhere, in an environment with reid-cluster installed::

    python benches/methods.py --jobs 2                                       # the built-in data, default settings
    python benches/methods.py --data DIR --weights FILE --seeds 0 1 2 \
        --set same_camera=forbid center_cameras=true height=128 width=128

Seed s is the seed of weights and batches, and of the pictures where these are built in. A run is a process of its own
with cores / jobs threads. Figures are mAP / rank-1 in percent, means over the seeds: of the untrained network, of the
last round, and of the round that is chosen without labels; and CPU seconds. `source` trains with identities: an upper
bound, no result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from reid.methods import METHODS

Run = dict[str, Any]


def run_one(method: str, seed: int, options: argparse.Namespace) -> Run:
    """One run of reid-train in a process of its own; its figures."""
    threads = str(max(1, (os.cpu_count() or 1) // options.jobs))
    settings = [f"--{key.replace('_', '-')}={value}" for key, value in (pair.split("=", 1) for pair in options.set)]
    settings = [name.split("=")[0] if name.endswith("=true") else name for name in settings]
    if options.data is not None:
        settings += ["--data", options.data]
    else:
        settings += ["--data-seed", str(seed)]
    if options.weights is not None:
        settings += ["--weights", options.weights]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "reid.cli.train", "--method", method, "--seed", str(seed), *settings]
        command += ["--output", str(Path(scratch) / "run"), "--workers", threads]
        log = Path(scratch) / "log.txt"
        with open(log, "w") as output:
            process = subprocess.Popen(
                command, env={**os.environ, "OMP_NUM_THREADS": threads}, stdout=output, stderr=subprocess.STDOUT
            )
            _, status, usage = os.wait4(process.pid, 0)  # of this child alone
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-4000:]}")
        lines = (Path(scratch) / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = {
        "method": method, "seed": seed, "seconds": usage.ru_utime, "first": rows[0], "last": rows[-1],
        "selected": next(row for row in rows if row["selected"]), "stop": rows[-1].get("stop", ""),
    }  # fmt: skip
    print(
        f"{method} seed {seed}: {score([found], 'last')} in {found['seconds']:.0f} s {found['stop']}", file=sys.stderr
    )
    return found


def score(runs: list[Run], which: str) -> str:
    """mAP / rank-1 in percent, means over the runs; a selected round without a search counts by the nearest one."""
    rows = [run[which] if "mAP" in run[which] else run["last"] for run in runs]
    return f"{100 * mean(row['mAP'] for row in rows):.1f} / {100 * mean(row['rank1'] for row in rows):.1f}"


def line(method: str, runs: list[Run]) -> str:
    """One line of the table."""
    last = [100 * run["last"]["mAP"] for run in runs]
    spread = f"{stdev(last):.1f}" if len(last) > 1 else ""
    ari = f"{mean(run['last'].get('oracle_ari', 0.0) for run in runs):.2f}"
    clusters = f"{mean(run['last'].get('n_clusters', 0) for run in runs):.0f}"
    cells = [method, score(runs, "first"), score(runs, "last"), spread, score(runs, "selected"), ari, clusters]
    cells += [" ".join(f"{value:.1f}" for value in last), f"{mean(run['seconds'] for run in runs):.0f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Run all methods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [name for name in METHODS if name != "pul-semi"]
    parser.add_argument("--methods", nargs="+", default=usual, choices=list(METHODS), help="default: %(default)s")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", help="pictures; default: the built-in ones")
    parser.add_argument("--weights", help="start of the backbone")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of reid-train")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each with cores / jobs threads")
    options = parser.parse_args()
    jobs = [(method, seed) for seed in options.seeds for method in options.methods]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda job: run_one(*job, options), jobs))
    print("| method | untrained | last | sd mAP | selected without labels | ARI | clusters | mAP of each seed ", end="")
    print("| CPU s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    for method in options.methods:
        print(line(method, [run for run in found if run["method"] == method]))


if __name__ == "__main__":
    main()
