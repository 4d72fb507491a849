"""model.onnx: the numbers of the network, and what a stranger must know to feed it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data.transforms import normalize
from reid.exporting import onnx_file
from reid.exporting.onnx_file import need_onnx, write_onnx
from reid.models.embedder import Embedder

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def _embedder() -> Embedder:
    # 3 stripes of 8 rows: neighbours share rows; both a neck and GeM
    return Embedder("tiny:0.25", pooling="gem", stripes=3, mean=MEAN, std=STD, neck="bn").eval()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"onnxruntime.*pip install 'reid-cluster\[onnx\]'.*--no-onnx"):
        need_onnx()


def test_same_features_from_the_metadata_alone(tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra onnx)")
    import onnx
    import onnxruntime

    embedder = _embedder()
    parity = write_onnx(tmp_path / "m.onnx", embedder, 64, 32, {"method": "buc"})
    assert 0 <= parity.difference <= 1e-5
    stored = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert stored["model"] == {"method": "buc"}
    how = stored["preprocessing"]
    assert how["output"]["normalized"] is True

    picture = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    resized = Image.fromarray(picture).resize((how["width"], how["height"]), Image.Resampling.BILINEAR)
    low, high = how["value_range"]
    scaled = np.asarray(resized, np.float32) / 255 * (high - low) + low
    fed = ((scaled - how["mean"]) / how["std"]).astype(np.float32).transpose(2, 0, 1)[None]
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    found = session.run([how["output"]["name"]], {how["input"]["name"]: fed})[0]
    pixels = torch.from_numpy(np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1)))[None]
    with torch.inference_mode():
        wanted = embedder.retrieval(normalize(pixels, MEAN, STD)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_file_whose_features_differ_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra onnx)")
    honest = onnx_file._Retrieval.forward

    def forward(self: onnx_file._Retrieval, images: torch.Tensor) -> torch.Tensor:
        found = honest(self, images)
        return found + 1e-3 if torch.compiler.is_compiling() or torch.jit.is_tracing() else found

    monkeypatch.setattr(onnx_file._Retrieval, "forward", forward)
    with pytest.raises(ValueError, match=r"m\.onnx: features differ by 0\.001.*--no-onnx"):
        write_onnx(tmp_path / "m.onnx", _embedder(), 64, 32, {})
