"""`reid.export`: the network of a run as a folder for others."""

from __future__ import annotations

import shutil
from pathlib import Path

from reid.data.records import printable
from reid.exporting.card import model_card
from reid.exporting.onnx_file import need_onnx, write_onnx
from reid.exporting.settings import ExportConfig
from reid.extraction.network import open_network
from reid.files import new_folder, write_text
from reid.report import folder as run_report
from reid.training.log import Log
from reid.training.run_folder import NETWORKS

__all__ = ["export"]


def export(config: ExportConfig, *, quiet: bool = False) -> Path:
    """Write weights, model card and, where asked for, ONNX of a run's network into a new folder.

    Parameters
    ----------
    config : ExportConfig
    quiet : bool, default False
        Say nothing.

    Returns
    -------
    Path
        The folder: model.safetensors, README.md, model.onnx.

    Raises
    ------
    ValueError, OSError
        No finished run there, a folder that holds something, or an ONNX file whose features differ. Nothing is left
        behind.
    ImportError
        ONNX without its packages.
    """
    log = Log(quiet)
    if config.onnx:
        need_onnx()
    run = config.run.expanduser()
    source = open_network(run=run, model=config.model)
    assert source.size is not None
    height, width = source.size
    story = run_report.read(run)
    log.say(f"{source.note}, {height}x{width} pixels")
    output = (config.output or run / "export").expanduser()
    with new_folder(output) as folder:
        shutil.copyfile(run / NETWORKS[config.model], folder / "model.safetensors")
        parity = None
        if config.onnx:
            about = {key: source.facts[key] for key in ("method", "sha256", "spec")}
            parity = write_onnx(folder / "model.onnx", source.network, height, width, about)
            log.say(
                f"onnx: features differ by at most {parity.difference:.1e} from those of PyTorch on {parity.pictures} "
                f"drawn pictures (onnxruntime {parity.runtime})"
            )
        card = model_card(story, source.facts, model=config.model, height=height, width=width, parity=parity)
        write_text(folder / "README.md", card)
    files = "model.safetensors, README.md" + (", model.onnx" if parity is not None else "")
    log.say(f"results: {printable(output)}  ({files})")
    log.say(f"next: read {printable(output / 'README.md')} and add what it cannot know, above all terms of the data")
    return output
