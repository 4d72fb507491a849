"""A network as an ONNX file that says how to feed it, compared with the original before it is handed over.

onnx, onnxruntime and onnxscript are needed only here (extra `onnx`) and loaded when they are.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from reid.data.synthetic import SyntheticConfig, draw
from reid.data.transforms import normalize
from reid.models.embedder import Embedder

__all__ = ["TOLERANCE", "Parity", "need_onnx", "preprocessing", "write_onnx"]

TOLERANCE = 1e-4
"""Largest difference between a number of a feature (of unit length) here and in onnxruntime."""
_BATCHES = (1, 3, 32)
"""Sizes of the batches that are compared: the file takes any."""


class Parity(NamedTuple):
    """How well onnxruntime and PyTorch agree."""

    difference: float
    """Largest difference of a number of a feature of unit length."""
    pictures: int
    """Pictures that were compared."""
    runtime: str
    """Version of onnxruntime."""
    opset: int
    """Version of ONNX's operators that the file uses."""


class _Retrieval(nn.Module):
    """Normalised pictures in, features of unit length out."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, images: Tensor) -> Tensor:
        return self.embedder.retrieval(images)


def need_onnx() -> None:
    """Raise ImportError with the remedy where a package is missing."""
    missing = []
    for name in ("onnx", "onnxruntime", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ImportError(
            f"ONNX needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}: "
            "pip install 'reid-cluster[onnx]', or leave model.onnx out with --no-onnx"
        )


def preprocessing(embedder: Embedder, height: int, width: int) -> dict[str, Any]:
    """What must be done to a picture before the network sees it, and what comes out: JSON values."""
    return {
        "input": {"name": "images", "shape": ["batch", 3, height, width], "type": "float32", "channels": "RGB"},
        "steps": [
            "turn upright by EXIF orientation", "convert to 8-bit RGB", "resize", "scale to value_range",
            "subtract mean, divide by std",
        ],
        "height": height,
        "width": width,
        "keep_aspect": False,
        "interpolation": "bilinear with antialiasing (Pillow's BILINEAR)",
        "value_range": [0.0, 1.0],
        "mean": list(embedder.spec.mean),
        "std": list(embedder.spec.std),
        "output": {"name": "features", "shape": ["batch", embedder.out_features], "normalized": True},
    }  # fmt: skip


def write_onnx(path: Path, embedder: Embedder, height: int, width: int, about: dict[str, Any]) -> Parity:
    """Write a network as ONNX, with a batch of any size, and compare it with the original.

    Parameters
    ----------
    path : Path
        The file; what is there is replaced.
    embedder : Embedder
        On the CPU.
    height, width : int
        Size of the pictures, pixels.
    about : dict
        JSON values for the file's metadata, under the key `model`; how to feed the network stands under
        `preprocessing`.

    Returns
    -------
    Parity

    Raises
    ------
    ValueError
        The features of drawn pedestrians differ by more than `TOLERANCE`.
    ImportError
        A package is missing.
    """
    need_onnx()
    import onnx

    module = _Retrieval(embedder).eval()
    example = torch.zeros(2, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its own future
        torch.onnx.export(
            module, (example,), str(path), dynamo=True, input_names=["images"], output_names=["features"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}}, external_data=False, verbose=False,
        )  # fmt: skip
    written = onnx.load(path)
    for key, value in (("preprocessing", preprocessing(embedder, height, width)), ("model", about)):
        entry = written.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    onnx.checker.check_model(written)
    onnx.save(written, path)
    opset = max(entry.version for entry in written.opset_import if entry.domain in ("", "ai.onnx"))
    return _compare(path, module, height, width, opset)


@torch.inference_mode()
def _compare(path: Path, module: _Retrieval, height: int, width: int, opset: int) -> Parity:
    import onnxruntime

    spec = module.embedder.spec
    images = normalize(_pedestrians(height, width), spec.mean, spec.std)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst, begin = 0.0, 0
    for size in _BATCHES:
        batch = images[begin : begin + size]
        begin += size
        there, here = session.run(["features"], {"images": batch.numpy()})[0], module(batch).numpy()
        if there.shape != here.shape:
            raise ValueError(f"{path.name}: gives {there.shape} where the network gives {here.shape}; use --no-onnx")
        # A NaN must not pass for a small number.
        worst = max(worst, float(np.nan_to_num(np.abs(there - here), nan=np.inf).max()))
    if worst > TOLERANCE:
        raise ValueError(
            f"{path.name}: features differ by {worst:.2g} from those of the network, more than {TOLERANCE:g}; it is "
            "not handed over: try other versions of torch and onnxscript, or --no-onnx"
        )
    return Parity(worst, begin, onnxruntime.__version__, opset)


def _pedestrians(height: int, width: int) -> Tensor:
    """Drawn pictures (B, 3, H, W) that look like what the network is for, as bytes."""
    size = {"height": max(height, 16), "width": max(width, 8)}  # the smallest that can be drawn
    images = draw(SyntheticConfig("hard", train_persons=2, test_persons=1, **size)).images[: sum(_BATCHES)]
    cut = np.ascontiguousarray(images[:, :height, :width].transpose(0, 3, 1, 2))
    return torch.from_numpy(cut)
