"""``reid-train``: train a network on unlabelled pictures."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import tyro.conf

from reid.cli.run import UsageError, parse, peek, run
from reid.config import TrainConfig, from_mapping, nearest, preset_names, read_preset, read_toml
from reid.methods import METHODS

__all__ = ["main"]

Settings = TypeVar("Settings", bound=TrainConfig)

LATEST = "latest"


@dataclass(frozen=True)
class Command(Generic[Settings]):
    """The command's own flags, then those of the method."""

    settings: tyro.conf.OmitArgPrefixes[Settings]
    method: str = "buc"
    """Method to train with."""
    preset: str | None = None
    """Settings of a published run, such as buc-market; flags go before them."""
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    resume: str | None = None
    """Go on with the run in this folder; without a folder: with --output, or the run written to last in runs/."""
    dry_run: bool = False
    """Read data and weights, say what would be done, train nothing."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-train``."""
    raise SystemExit(run("reid-train", lambda: _command(sys.argv[1:])))


def _command(argv: list[str]) -> None:
    argv = _with_resume_value(argv)
    resume = peek(argv, "--resume")
    folder = None
    if resume is not None and "--help" not in argv:
        folder = Path(resume) if resume != LATEST else _latest(argv)
    default, method = _defaults(argv, folder)
    command = parse(
        Command[type(default)],  # type: ignore[arg-type, misc]  # the class is known at run time only
        argv,
        program="reid-train",
        description=f"Train a network on unlabelled pictures. Methods: {', '.join(METHODS)}. "
        f"Presets of {method}: {', '.join(preset_names(method)) or 'none'}.",
        default=Command(default, method=method),
    )
    settings = command.settings
    if folder is not None:
        _check_unchanged(default, settings, folder)
    from reid.training.train import train  # torch is loaded when there is something to train

    train(settings, resume=folder, dry_run=command.dry_run)


def _defaults(argv: list[str], folder: Path | None) -> tuple[TrainConfig, str]:
    """Settings before flags: the method's defaults, then preset, then file; or those of the run to resume."""
    stored = read_toml(folder / "config.toml") if folder is not None else {}
    preset, file = peek(argv, "--preset"), peek(argv, "--config")
    layers = []
    try:
        if preset is not None:
            layers.append((f"preset {preset}", read_preset(preset)))
        if file is not None:
            layers.append((file, read_toml(Path(file))))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if folder is not None:
        layers = [(str(folder / "config.toml"), stored)]
    named = [layer.pop("method") for _, layer in layers if "method" in layer]
    method = peek(argv, "--method") or (named[-1] if named else "buc")
    if method not in METHODS:
        raise UsageError(f"method={method!r}: {nearest(method, list(METHODS))}")
    kind = METHODS[method].Config
    try:
        config = kind()
        for source, layer in layers:
            config = from_mapping(kind, layer, source, base=config)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return config, method


def _check_unchanged(stored: TrainConfig, asked: TrainConfig, folder: Path) -> None:
    """A resumed run keeps its settings; what may differ is how the machine is used and what changes no figure."""
    free = {"output", "workers", "on_collapse"}
    before, now = dataclasses.asdict(stored), dataclasses.asdict(asked)
    changed = [f"{k} ({before[k]!r} there, {now[k]!r} here)" for k in before if k not in free and before[k] != now[k]]
    if changed:
        raise UsageError(f"resume={folder}: its settings differ in {', '.join(changed)}; leave these flags out")


def _latest(argv: list[str]) -> Path:
    from reid.training.run_folder import latest_run

    output = peek(argv, "--output")
    return Path(output) if output is not None else latest_run(Path("runs"))


def _with_resume_value(argv: list[str]) -> list[str]:
    """Let ``--resume`` stand alone: it then means the latest run."""
    out = []
    for i, word in enumerate(argv):
        out.append(word)
        if word == "--resume" and (i + 1 == len(argv) or argv[i + 1].startswith("--")):
            out.append(LATEST)
    return out


if __name__ == "__main__":
    main()
