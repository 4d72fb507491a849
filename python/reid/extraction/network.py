"""The network that computes features, from a run or from weights, and what a reader of the features must know of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from reid.data.records import printable
from reid.models.embedder import Embedder, load_embedder, read_spec
from reid.models.weights import apply_weights, resolve_weights
from reid.training.run_folder import NETWORKS, load_run

__all__ = ["Source", "file_hash", "network_like", "open_network"]


class Source(NamedTuple):
    """A network and where it comes from."""

    network: Embedder
    """On the CPU, in evaluation mode."""
    size: tuple[int, int] | None
    """Height and width of the pictures that it was trained on; None where nobody says."""
    facts: dict[str, Any]
    """What was asked for, the file that was read, its SHA-256, and how pixels are normalised: JSON values."""
    note: str
    """One line for the log."""


def open_network(
    *, run: Path | None = None, model: Literal["last", "selected"] = "last", weights: str | None = None,
    backbone: str = "auto", pixels: str = "auto",
) -> Source:  # fmt: skip
    """Read the network of a run, or an untrained one; the arguments are those of `ExtractConfig`.

    Raises
    ------
    ValueError, OSError
        As `load_run`, `load_embedder` and `resolve_weights` say.
    """
    if run is not None:
        folder = run.expanduser()
        found = load_run(folder, model)
        asked: dict[str, Any] = {"run": os.path.abspath(folder), "model": model, "method": found.method}
        note = f"network: {found.network.spec.backbone} of {printable(folder)} ({model})"
        return _source(found.network, (found.height, found.width), folder / NETWORKS[model], asked, note)
    assert weights is not None
    if weights == "none":
        raise ValueError("weights='none': features of a random network say little; give imagenet, pip or a file")
    saved = Path(weights).expanduser()
    if saved.suffix == ".safetensors" and saved.is_file() and read_spec(saved) is not None:
        network = load_embedder(saved)
        asked = {"weights": os.path.abspath(saved)}
        return _source(network, None, saved, asked, f"network: {network.spec.backbone} of {printable(saved)}")
    loaded = resolve_weights(weights, backbone, pixels)
    stripes = 4 if loaded.backbone.startswith("tiny") else 1  # as reid-train has it
    network = Embedder(loaded.backbone, stripes=stripes, mean=loaded.mean, std=loaded.std)
    assert loaded.state is not None
    apply_weights(network.backbone, loaded.state, loaded.source)
    own_name = weights in ("imagenet", "pip")
    asked = {"weights": weights if own_name else os.path.abspath(saved), "backbone": backbone, "pixels": pixels}
    return _source(network.eval(), None, Path(loaded.source), asked, f"network, untrained: {loaded.note}")


def network_like(facts: Mapping[str, Any]) -> Source:
    """Open the network that made features, by the `facts` of their file.

    Raises
    ------
    ValueError
        The facts name none, or its file has changed.
    """
    stored = facts.get("network")
    if not isinstance(stored, Mapping) or not ("run" in stored or "weights" in stored):
        raise ValueError("these features do not say which network made them: extract them with reid-extract")
    source = open_network(
        run=Path(stored["run"]) if "run" in stored else None,
        **{key: stored[key] for key in ("model", "weights", "backbone", "pixels") if key in stored},
    )
    if source.facts["sha256"] != stored.get("sha256"):
        raise ValueError(f"{source.facts['file']}: has changed since these features were made; extract them again")
    return source


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _source(network: Embedder, size: tuple[int, int] | None, file: Path, asked: dict[str, Any], note: str) -> Source:
    spec = dataclasses.asdict(network.spec)
    return Source(network, size, {**asked, "file": file.name, "sha256": file_hash(file), "spec": spec}, note)
