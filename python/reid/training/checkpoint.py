"""Checkpoints: one safetensors file a round, which carries its own checksum.

Weights, method state and the run's history are one file, so that no crash can leave an unlike pair. The file is
written beside and renamed; the one before is kept as `previous.safetensors`. A file that is cut or has a flipped bit
is noticed, and the one before is used: rounds are deterministic, so the run ends with the same bytes either way.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reid.files import atomic_path, write_text

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

FORMAT = 1
"""Version of the file's layout; raised when an older program could not read a newer file."""


@dataclass(frozen=True)
class Checkpoint:
    """The end of a round."""

    tensors: Mapping[str, Tensor]
    """`network.*` and `method.*`, on the CPU."""
    state: Mapping[str, Any]
    """JSON values: `round`, `history` (the objects of metrics.jsonl), `finished`, `settings` (digest)."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `folder`/last.safetensors, keep the one before, and put the state beside it as last.json for readers."""
    last, previous = folder / "last.safetensors", folder / "previous.safetensors"
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in checkpoint.tensors.items()}
    state = json.dumps(checkpoint.state, sort_keys=True)
    metadata = {"format": str(FORMAT), "state": state, "digest": _digest(tensors, state)}
    with atomic_path(last) as temporary:
        save_file(tensors, temporary, metadata)
        if last.exists():
            os.replace(last, previous)
    write_text(folder / "last.json", json.dumps(checkpoint.state, indent=1, sort_keys=True) + "\n")


def load_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Read the newest sound checkpoint of a run.

    Returns
    -------
    checkpoint : Checkpoint or None
        None when the run was stopped before its first round ended.
    warnings : list of str
        A sentence for each file that was damaged and passed over.

    Raises
    ------
    ValueError
        A file of a newer format, or files that are all damaged.
    """
    warnings: list[str] = []
    for name in ("last.safetensors", "previous.safetensors"):
        path = folder / name
        if not path.exists():
            continue
        try:
            return _read(path), warnings
        except (_Damaged, SafetensorError, OSError, KeyError, json.JSONDecodeError) as error:
            warnings.append(f"{path} is damaged ({error}); the checkpoint before it is used")
    if warnings:
        raise ValueError(f"no sound checkpoint in {folder} ({'; '.join(warnings)}): start a new run")
    return None, warnings


class _Damaged(Exception):
    """The file's contents do not fit its checksum."""


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    if int(metadata["format"]) > FORMAT:
        raise ValueError(f"{path} has format {metadata['format']}, this program reads {FORMAT}: update reid-cluster")
    if _digest(tensors, metadata["state"]) != metadata["digest"]:
        raise _Damaged("checksum differs")
    return Checkpoint(tensors, json.loads(metadata["state"]))


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    """SHA-256 over names, shapes, types and bytes of all tensors, and the state."""
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():  # an empty one cannot be viewed as bytes
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
