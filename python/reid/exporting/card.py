"""The model card: what a stranger must know before using the network, in Markdown.

Names of files, cameras and data come from anywhere, so every value passes `text`, and places on this machine are cut to
their last part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from reid.exporting.onnx_file import Parity
from reid.report.folder import Round, RunFolder
from reid.report.markup import plain

__all__ = ["model_card", "text"]

_FIGURES = {"mAP": "mAP", "rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10"}
_PRIVATE = ("output", "device", "workers")
"""Settings that say something of the machine only."""

_DRAWN = "The pictures were drawn by code (`reid-data synthetic`); no real person is in them."
_RESEARCH = (
    "The data have the layout of {title}. If they are that set: it shows people who never agreed to it and is for "
    "research only; a network trained on it should be treated likewise. Ask its authors for its terms."
)
_VEHICLES = (
    "The data have the layout of {title}. If they are that set: it is given out for research only; ask its authors."
)
_DUKE = (
    "The data have the layout of {title}. If they are that set: it was withdrawn by its authors; do not use this "
    "network for anything new."
)
_TERMS = {
    "market1501": _RESEARCH, "msmt17": _RESEARCH, "mars": _RESEARCH, "cuhk03": _RESEARCH,
    "dukemtmc-reid": _DUKE, "dukemtmc-videoreid": _DUKE, "veri776": _VEHICLES, "vehicleid": _VEHICLES,
    "personx": "The data have the layout of PersonX, pictures of a game engine's figures.",
}  # fmt: skip
_TITLES = {
    "market1501": "Market-1501", "msmt17": "MSMT17", "mars": "MARS", "cuhk03": "CUHK03", "veri776": "VeRi-776",
    "dukemtmc-reid": "DukeMTMC-reID", "dukemtmc-videoreid": "DukeMTMC-VideoReID", "vehicleid": "VehicleID",
}  # fmt: skip
_IMAGENET = (
    "Training began with weights that were made on ImageNet, whose own terms allow non-commercial research; whether "
    "they bind weights is disputed, so decide for your use."
)


def model_card(
    run: RunFolder, facts: Mapping[str, Any], *, model: str, height: int, width: int, parity: Parity | None
) -> str:
    """Write the card of a run's network.

    Parameters
    ----------
    run : RunFolder
        What `reid.report.folder.read` found.
    facts : mapping
        Of the network, as `reid.extraction.network.Source` has them.
    model : {"last", "selected"}
        Which network of the run.
    height, width : int
        Size of the pictures, pixels.
    parity : Parity or None
        How well model.onnx agrees; None without that file.

    Returns
    -------
    str
        Markdown.
    """
    method, name = text(run.fact("method") or facts["method"]), text(run.fact("data", "name") or "unnamed data")
    spec = facts["spec"]
    parts = [
        f"# {method} on {name}",
        f"A network for re-identification, trained by reid-cluster with the method `{method}`: it turns a crop into "
        f"a feature of unit length; features of one individual lie close to each other. Backbone "
        f"{text(spec['backbone'])}, pictures of {height} x {width} pixels (height x width).",
        _files(facts, parity),
        "## Use\n\n```bash\n"
        f"reid-extract PICTURES --weights model.safetensors --height {height} --width {width}\n```\n\n"
        "Pictures are turned upright by EXIF, converted to 8-bit RGB, resized bilinearly with antialiasing (the "
        f"aspect is not kept), scaled to [0, 1]; then mean {_numbers(spec['mean'])} is subtracted and the result is "
        f"divided by {_numbers(spec['std'])} (red, green, blue). Compare features by cosine or by "
        "squared Euclidean distance.",
        "## Training data\n\n" + _data(run),
        "## Measured\n\n" + _measured(run, model),
        "## Intended use and limits\n\n" + _LIMITS,
        "## Terms\n\n" + _terms(run),
        "## Settings\n\n" + _settings(run),
    ]
    return "\n\n".join(parts) + "\n"


def text(value: object) -> str:
    """`value` as text of one line that Markdown and HTML leave as it is."""
    return re.sub(r"([\\`*_\[\]<>&|#~])", r"\\\1", plain(value))


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _files(facts: Mapping[str, Any], parity: Parity | None) -> str:
    rows = [f"- `model.safetensors`: the weights, SHA-256 `{facts['sha256']}`"]
    if parity is not None:
        rows.append(
            "- `model.onnx`: the same network, for batches of any size; its metadata (`preprocessing`, `model`) say "
            f"how to feed it. Operators: ONNX opset {parity.opset}. Against PyTorch, on {parity.pictures} drawn "
            f"pictures, a feature of unit length differs by at most {parity.difference:.1e} in any number (onnxruntime "
            f"{text(parity.runtime)}, CPU)"
        )
    return "\n".join(rows)


def _data(run: RunFolder) -> str:
    found = run.fact("data")
    data: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    lines = [f"- Name: {text(data.get('name', 'not known'))}, layout {text(data.get('layout', 'not known'))}"]
    counts = [f"{data[key]:,} {key}" for key in ("train", "query", "gallery") if isinstance(data.get(key), int)]
    lines.append(f"- Samples: {', '.join(counts) or 'not known'}")
    lines.append(f"- Fingerprint (names, sizes, ids and times of files): {text(data.get('fingerprint', 'not known'))}")
    notes = data.get("notes")
    lines += [f"- {text(note)}" for note in (notes if isinstance(notes, list) else [])]
    source = run.fact("source")
    if isinstance(source, Mapping):
        lines.append(
            f"- Also learnt from {text(source.get('train'))} pictures of {text(source.get('identities'))} known "
            f"identities of a source, fingerprint {text(source.get('fingerprint', 'not known'))}"
        )
    cameras, identities = run.fact("cameras_used"), run.fact("identities_used")
    if isinstance(cameras, bool):
        lines.append(f"- Camera ids were {'used' if cameras else 'not used'} in training")
    if isinstance(identities, bool):
        told = "used in training: this is not an unsupervised network" if identities else "not used in training"
        lines.append(f"- Identities were {told}")
    if run.fact("instances") == "tracklet":
        lines.append("- Tracklets were the instances: that their frames show one individual is weak supervision")
    return "\n".join(lines)


def _measured(run: RunFolder, model: str) -> str:
    if run.best is None:
        return "Not measured: that takes a query and a gallery set with identities. Measure it before you rely on it."
    columns = [key for key in _FIGURES if any(r.get(key) is not None for r in run.rounds)]
    here = " **(this file)**"
    rows: list[tuple[str, Round | None]] = [
        ("untrained", run.untrained),
        ("after the last round" + here * (model == "last"), run.last),
        ("selected without labels" + here * (model == "selected"), run.selected),
        ("oracle: best on the test set, chosen with its identities; an upper bound, no result", run.best),
    ]
    lines = ["| network | round | " + " | ".join(_FIGURES[key] for key in columns) + " |"]
    lines.append("| --- | ---: |" + " ---: |" * len(columns))
    for name, r in rows:
        if r is not None:
            values = (r.get(key) for key in columns)
            figures = " | ".join("-" if value is None else f"{100 * value:.1f}" for value in values)
            lines.append(f"| {name} | {r.number} | {figures} |")
    lines.append("\nPer cent, on the query and gallery set of the data above, without re-ranking.")
    ari = run.last.get("oracle_ari") if run.last is not None else None
    if ari is not None:
        lines.append(f"Oracle (uses identities): clusters of the last round against identities, ARI {ari:.2f}.")
    return "\n".join(lines)


_LIMITS = "\n".join(
    [
        "- For finding crops of the same individual among crops like those of the training data, and for research.",
        "- It was measured on the data above only. Other cameras, seasons, clothes or kinds of individuals give worse "
        "figures; measure on your own before you rely on it.",
        "- A small distance is not a proof of identity, and distances are no probabilities. Look-alikes are mistaken "
        "for each other. Let a person check what has consequences.",
        "- Whoever re-identifies persons needs a legal ground for it. This network names nobody, knows no faces, "
        "and is not made for watch lists.",
    ]
)


def _terms(run: RunFolder) -> str:
    weights, layout = str(run.settings.get("weights", "none")), run.fact("data", "layout")
    lines = []
    if str(run.settings.get("data", "")) in ("synthetic", "synthetic-hard"):
        lines.append(_DRAWN)
    elif layout in _TERMS:
        lines.append(_TERMS[layout].format(title=_TITLES.get(layout, "")))
    else:
        lines.append("The terms of the training pictures are not known to the program that wrote this: add them here.")
    if weights == "none":
        lines.append("Training began with random weights.")
    elif weights in ("imagenet", "pip"):
        lines.append(_IMAGENET)
    else:
        lines.append(
            f"Training began with weights from the file {text(_last_part(weights))}, whose terms are not known to the "
            "program that wrote this: add them here. (For weights made on ImageNet: its own terms allow non-commercial "
            "research; whether they bind weights is disputed.)"
        )
    lines.append("The program, reid-cluster, is under the Apache License 2.0; that says nothing of this network.")
    return "\n".join(f"- {line}" for line in lines)


def _settings(run: RunFolder) -> str:
    rows = [f"| {text(k)} | {text(_last_part(v))} |" for k, v in run.settings.items() if k not in _PRIVATE]
    found = run.fact("versions")
    versions = [f"{text(k)} {text(v)}" for k, v in found.items()] if isinstance(found, Mapping) else []
    said = f"\n\nMade with {', '.join(versions)}." if versions else ""
    return "\n".join(["| setting | value |", "| --- | --- |", *rows]) + said


def _last_part(value: object) -> object:
    """Where something lies on one machine is nobody's business, what it is called may be."""
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if isinstance(value, str) else value
