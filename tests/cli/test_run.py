"""Commands end when they are told to, wherever they are at that moment."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal, sys, time
from reid.cli.run import run

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)  # arrives where Python ignores exceptions
        time.sleep(0)

def command():
    late = Late()
    del late
    time.sleep(20)

sys.exit(run("program", command))
"""


def test_a_signal_in_a_finaliser_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100)
    assert done.returncode == 143, done.stderr
    assert done.stderr == "terminated; finished rounds are saved\n"
