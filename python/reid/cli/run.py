"""What all commands share: parsing, errors as one line, exit codes."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import tyro

from reid import processes
from reid.config import from_mapping, read_toml

__all__ = ["UsageError", "parse", "peek", "run", "with_file"]

T = TypeVar("T")


class UsageError(ValueError):
    """The command line itself is wrong: exit code 2."""


def parse(kind: type[T], argv: Sequence[str], *, program: str, description: str, default: T | None = None) -> T:
    """Fill the dataclass `kind` from flags. Misspelt flags end the program with a suggestion and exit code 2."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            if default is None:
                return tyro.cli(kind, args=list(argv), prog=program, description=description)
            return tyro.cli(kind, args=list(argv), prog=program, description=description, default=default)
    except SystemExit as stop:
        refused = _value_error(stop)
        if refused is not None:  # a setting out of range, found by the dataclass: one line is enough
            raise UsageError(str(refused)) from None
        sys.stderr.write(said.getvalue())
        raise


def _value_error(stop: BaseException) -> ValueError | None:
    """The error of our own settings that made the parser stop, if that was the reason."""
    cause = stop.__context__
    while cause is not None and type(cause) is not ValueError:
        cause = cause.__context__
    return cause


def peek(argv: Sequence[str], flag: str) -> str | None:
    """The value of `flag` before the real parsing, for flags that decide what the others are."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(flag + "="):
            return word[len(flag) + 1 :]
    return None


def with_file(kind: type[Any], base: T, argv: Sequence[str]) -> T:
    """`base` with the keys of the file that ``--config`` names; they are those of the settings `kind`.

    `base` may leave what must be given to the parser (`tyro.MISSING`).
    """
    file = peek(argv, "--config")
    if file is None:
        return base
    try:
        return from_mapping(kind, read_toml(Path(file)), file, base=base)
    except ValueError as error:
        raise UsageError(str(error)) from None


def run(program: str, command: Callable[[], Any], *, kept: str = "finished rounds are saved") -> int:
    """Run a command and turn what can go wrong into one line on stderr and an exit code.

    Parameters
    ----------
    program : str
        Its name, before each message.
    command : callable
        What it does.
    kept : str
        What is left when it is interrupted or terminated.

    Returns
    -------
    int
        0 well; 1 data, files or memory that cannot be used; 2 wrong usage; 130 after Ctrl-C; 143 after SIGTERM.
    """
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, functools.partial(_terminate, kept))
    try:
        processes.join()
        command()
        processes.leave()
    except KeyboardInterrupt:
        if processes.first_to_fail():
            print(f"{program}: interrupted; {kept}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not processes.first_to_fail():
            return 1
        if debug:
            raise
        known = isinstance(error, ValueError | OSError | MemoryError | ImportError | FloatingPointError)
        text = " ".join(str(error).split()) or type(error).__name__
        if not known:
            text = f"{type(error).__name__}: {text} (a fault of this program; --debug shows where)"
        print(f"{program}: error: {text}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _terminate(kept: str, signum: int, frame: FrameType | None) -> None:
    if _is_swallowed(frame):
        signal.signal(signal.SIGALRM, functools.partial(_terminate, kept))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        return
    if processes.first_to_fail():
        print(f"terminated; {kept}", file=sys.stderr)
    raise SystemExit(128 + signal.SIGTERM)


def _is_swallowed(frame: FrameType | None) -> bool:
    """Is this code in which Python ignores exceptions: a finaliser, or a callback of a thread pool's weak reference?"""
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "weakref_cb"):
            return True
        frame = frame.f_back
    return False
