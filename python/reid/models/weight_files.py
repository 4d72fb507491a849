"""Read the tensors of a weight file that anyone may have written, without running what it contains."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

NESTED = ("state_dict", "model", "model_state_dict", "net")
"""Where training scripts put the state dict inside their checkpoint."""

KINDS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"<", "a web page (HTML or XML), not weights: download the file itself"),
    (b"\x89HDF", "an HDF5 file (Keras): convert it to a PyTorch state dict first"),
    (b"\x89PNG", "a picture: give the path of a weight file"),
    (b"\xff\xd8\xff", "a picture: give the path of a weight file"),
    (b"\x93NUMPY", "a NumPy array: give a .pth, .pt or .safetensors file"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
)
"""First bytes of files that are often given by mistake."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a flat state dict from a .safetensors file or from one written by ``torch.save``.

    A state dict nested under "state_dict" or "model" is found, and the prefixes "module." (data parallel
    training) and "backbone." are removed when all entries have them.

    Parameters
    ----------
    path : str or Path
        The file. Pickles are read with ``weights_only=True``: one that would run code is refused.

    Returns
    -------
    dict of str to Tensor
        On the CPU, in the file's order, all finite.

    Raises
    ------
    ValueError
        In one line: the file, what it is, and what to do.
    OSError
        If there is no such file or it cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; give the weight file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; give a .pth, .pt or .safetensors file, or none, imagenet, pip")
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        raise ValueError(f"{path}: is empty; copy or download it again")
    for magic, what in KINDS:
        if start.lstrip().startswith(magic):
            raise ValueError(f"{path}: is {what}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, start)
    state = _flatten(content, path)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path}: tensor {name} is not finite; take another file")
    return state


def _read_safetensors(path: Path) -> Any:
    try:
        # Not load_file: it maps the file, and overwriting that in place would kill the process (bus error).
        return load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path}: is no safetensors file, or damaged ({error}); copy or download it again") from error


def _read_pickle(path: Path, start: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with the file is said below, once
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Newer pickles fail on their first instruction, before a global is met; byte 0x80 opens every one of
        # them.
        if "GLOBAL" in str(error) or start[:1] == b"\x80":
            raise ValueError(
                f"{path}: is a pickle that holds more than tensors and would run code, so it was not loaded; "
                "where it was made, write the tensors alone: torch.save(model.state_dict(), path)"
            ) from error
        raise ValueError(f"{path}: is no file of torch.save, or damaged; copy or download it again") from error
    except OSError:
        raise
    except Exception as error:  # torch.load fails in many ways on damaged bytes
        if "TorchScript" in str(error):
            raise ValueError(f"{path}: is a TorchScript archive; save the model's state_dict() instead") from error
        raise ValueError(
            f"{path}: is no file of torch.save, or damaged ({type(error).__name__}); copy it again"
        ) from error


def _flatten(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the state dict in what a file held and take common prefixes away."""
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path}: holds {_describe(content)}; a dictionary of tensors (state_dict) is needed")
    other = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if other:
        raise ValueError(
            f"{path}: holds entries that are no tensors ({', '.join(other[:5])}); save the state_dict alone"
        )
    state: dict[str, Tensor] = dict(content)
    for prefix in ("module.", "backbone.") * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _describe(content: Any) -> str:
    return "an empty dictionary" if content == {} else f"a {type(content).__name__}"
