"""``reid-eval``: how good are features, a run's network, or clusters, where identities are known."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro.conf

from reid.cli.run import UsageError, parse, run, with_file
from reid.evaluation.settings import EvalConfig

if TYPE_CHECKING:
    from reid.evaluation.ranked import Progress
    from reid.feature_table import FeatureTable

__all__ = ["evaluate", "main"]


@dataclass(frozen=True)
class Command:
    """The command's own flags, then what to evaluate."""

    settings: tyro.conf.OmitArgPrefixes[EvalConfig]
    config: Path | None = None
    """TOML file with the same keys as the flags; flags go before them."""
    json: bool = False
    """Print one JSON object instead of a table."""
    debug: bool = False
    """Show where an error comes from."""


def main() -> None:
    """Entry point of ``reid-eval``."""
    raise SystemExit(run("reid-eval", lambda: _command(sys.argv[1:]), kept="nothing was written"))


def evaluate(config: EvalConfig, *, progress: Progress | None = None) -> dict[str, Any]:
    """Evaluate features, a run's network, or saved clusters against known identities.

    Parameters
    ----------
    config : EvalConfig
        One of `features`, `run` and `labels`, and how.
    progress : callable, optional
        Called with (done, total, stage).

    Returns
    -------
    dict
        Plain JSON values. `kind` "retrieval": see `reid.evaluation.figures.evaluate_table`. `kind` "clusters":
        `figures` as `reid.evaluation.clusterings.clustering_scores` gives them, None where one is not defined.
        With `config.output` the same stands in evaluation.json there, beside queries.csv.

    Raises
    ------
    ValueError, OSError, MemoryError
        What cannot be evaluated; the message names it and the remedy.
    """
    from reid.evaluation.figures import evaluate_table, queries_csv
    from reid.files import new_folder

    source = config.source()
    if config.output is not None:
        _check_free(config.output)
    about: dict[str, Any] = {"source": {source: str(getattr(config, source))}, "data": config.data}
    if source == "labels":
        files = {}
        result = {"kind": "clusters", **about, **_labels(config)}
    else:
        table = _of_run(config, progress) if source == "run" else _of_file(config)
        found = evaluate_table(table, config, progress=progress)
        result = {"kind": "retrieval", **about, **found.result}
        files = {"queries.csv": queries_csv(found)} if config.output is not None else {}
    if config.output is not None:
        files["evaluation.json"] = json.dumps(result, indent=1) + "\n"
        with new_folder(config.output) as folder:
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape", newline="")
    return result


def _check_free(output: Path) -> None:
    """Say that a result cannot be written before it is computed."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output={output}: exists and is not an empty folder: name a new one or remove it first")


def _labels(config: EvalConfig) -> dict[str, Any]:
    from reid.data.readers import read_dataset
    from reid.evaluation.clusterings import label_result, match_labels, read_labels

    assert config.labels is not None
    labels = read_labels(config.labels)
    if config.data is not None:
        return label_result(labels, match_labels(labels, read_dataset(Path(config.data).expanduser())))
    if labels.pid is None:
        raise ValueError(f"labels={config.labels}: has no column pid; give --data with identities")
    return label_result(labels, labels.pid)


def _of_file(config: EvalConfig) -> FeatureTable:
    from reid.data.readers import read_dataset
    from reid.evaluation.rows import with_data
    from reid.feature_table import read_features

    assert config.features is not None
    table = read_features(config.features)
    return table if config.data is None else with_data(table, read_dataset(Path(config.data).expanduser()))


def _of_run(config: EvalConfig, progress: Progress | None) -> FeatureTable:
    from reid.data.clocks import read_offsets, shift_clocks
    from reid.data.pictures import Pictures
    from reid.data.readers import read_dataset
    from reid.devices import choose_device
    from reid.feature_table import FeatureTable
    from reid.features import extract
    from reid.training.run_folder import load_run
    from reid.training.train import SYNTHETIC

    assert config.run is not None
    loaded = load_run(config.run, config.model)
    own = loaded.config
    place = config.data or (str(config.run / "synthetic") if own.data in SYNTHETIC else own.data)
    data = read_dataset(Path(place).expanduser())
    if config.data is None and own.clock_offsets:
        data = shift_clocks(data, read_offsets(Path(own.clock_offsets).expanduser()))
    if data.query is not None and data.gallery is not None:
        parts = {"query": data.query, "gallery": data.gallery}
    else:
        parts = {"train": data.train}
    if not any((samples.pid >= 0).any() for samples in parts.values()):
        raise ValueError(f"data={place}: no identities are known there, so nothing can be evaluated")
    features = {}
    for split, samples in parts.items():
        pictures = Pictures.load(
            samples, loaded.height, loaded.width, workers=config.workers,
            progress=None if progress is None else lambda done, total: progress(done, total, "reading pictures"),
        )  # fmt: skip
        features[split] = extract(
            loaded.network, pictures, device=choose_device(config.device), amp=own.amp, progress=progress
        )
    return FeatureTable.of(data, features, {})


def _command(argv: list[str]) -> None:
    command = _parsed(argv)
    config = command.settings
    from reid.evaluation.text import lines
    from reid.training.log import Log

    log = Log(quiet=command.json)
    result = evaluate(config, progress=log.progress)
    log.end_stage()
    if command.json:
        print(json.dumps(result, indent=1))
        return
    for line in lines(result):
        print(line)
    if config.output is not None:
        also = "queries.csv, " if result["kind"] == "retrieval" else ""
        print(f"results: {config.output}  ({also}evaluation.json)")
    print(f"next: {_next(result, config)}")


def _parsed(argv: list[str]) -> Command:
    command = parse(
        Command, argv, program="reid-eval", default=Command(with_file(EvalConfig, EvalConfig(), argv)),
        description="Evaluate features, a run's network or saved clusters against known identities.",
    )  # fmt: skip
    try:
        command.settings.source()
    except ValueError as error:
        raise UsageError(str(error)) from None
    return command


def _next(result: dict[str, Any], config: EvalConfig) -> str:
    if result["kind"] == "clusters":
        return "reid-eval --features FILE for retrieval with the features that were clustered"
    if config.output is None:
        return "--output DIR for each query's figures, --rerank for those after re-ranking"
    return f"sort {config.output}/queries.csv by ap to see the queries that fail"


if __name__ == "__main__":
    main()
