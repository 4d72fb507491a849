"""The embedder: pictures in, one feature vector a sample out. It is what is evaluated, saved and exported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor, nn
from torch.nn import functional

from reid.data.pictures import Pictures
from reid.data.transforms import normalize
from reid.files import atomic_path
from reid.models.backbones import build_backbone
from reid.models.neck import start_statistics
from reid.models.pooling import Pooling

SPEC_KEY = "reid_embedder"
"""Key of the file's metadata under which the specification stands."""

SPEC_TYPES = {"backbone": str, "pooling": str, "stripes": int, "last_stride": int}

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class EmbedderSpec:
    """All that is needed to build an `Embedder` again.

    Parameters
    ----------
    backbone : str
        Name for `reid.models.backbones.build_backbone`.
    pooling : {"avg", "gem"}
        Kind of pooling.
    stripes : int
        Horizontal stripes of the pooling.
    last_stride : int
        Stride of a resnet's last stage.
    mean, std : tuple of 3 floats
        The pictures' normalisation, red, green, blue, on the scale 0..1: (pixel / 255 - mean) / std.
    neck : {"none", "bn"}
        Batch norm without a bias behind the pooling ("BN-neck", Luo et al., Bag of Tricks, 2019), or nothing.
    """

    backbone: str
    pooling: Literal["avg", "gem"]
    stripes: int
    last_stride: int
    mean: Triple
    std: Triple
    neck: Literal["none", "bn"] = "none"


class Embedder(nn.Module):
    """Backbone and pooling.

    Parameters
    ----------
    backbone : str
        Name for `reid.models.backbones.build_backbone`.
    pooling : {"avg", "gem"}, default "avg"
        Kind of pooling.
    stripes : int, default 1
        Horizontal stripes of the pooling.
    last_stride : int, default 2
        Stride of a resnet's last stage, 1 or 2.
    mean, std : tuple of 3 floats
        Normalisation the pictures are expected to have; kept in `spec`, not applied here.
    seed : int, default 0
        Seed of the random weights. The global random state is not touched.

    Attributes
    ----------
    spec : EmbedderSpec
        All of the above but the seed.
    out_features : int
        Size D of a feature: the backbone's channels times the stripes.
    """

    def __init__(
        self,
        backbone: str,
        *,
        pooling: Literal["avg", "gem"] = "avg",
        stripes: int = 1,
        last_stride: int = 2,
        mean: Triple,
        std: Triple,
        neck: Literal["none", "bn"] = "none",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spec = EmbedderSpec(
            backbone, pooling, int(stripes), int(last_stride), _triple("mean", mean), _triple("std", std), neck
        )
        if min(self.spec.std) <= 0.0:
            raise ValueError(f"std={self.spec.std}: must be above 0")
        self._frozen: list[nn.Module] = []
        self.backbone = build_backbone(backbone, last_stride=last_stride, seed=seed)
        self.pooling = Pooling(pooling, stripes)
        self.out_features: int = self.backbone.out_channels * stripes
        self.neck: nn.Module = nn.Identity()
        if neck == "bn":
            self.neck = nn.BatchNorm1d(self.out_features)
            self.neck.bias.requires_grad_(False)

    def freeze(self, n_stages: int) -> None:
        """Keep the first stages of the backbone as they are: no gradient, batch norm always in evaluation mode.

        Parameters
        ----------
        n_stages : int
            Of a resnet: 1 stem, 2 and layer1, 3 and layer2 ...; of the others: the layers of `features`.

        Raises
        ------
        ValueError
            If the backbone has no so many stages, or none would be left to train.
        """
        stages = self.backbone.stages()
        if not 0 <= n_stages < len(stages):
            raise ValueError(f"freeze={n_stages}: must be 0 to {len(stages) - 1} for {self.spec.backbone}")
        self._frozen = stages[:n_stages]
        for stage in self._frozen:
            stage.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Embedder:
        """Set training mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Compute pooled features.

        Parameters
        ----------
        images : float Tensor of shape (B, 3, H, W) or (B, T, 3, H, W)
            Normalised pictures; T frames of one sample.

        Returns
        -------
        Tensor of shape (B, D)
            Pooled features; of several frames the mean, taken after pooling.
        """
        if images.ndim not in (4, 5) or images.shape[-3] != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}: must be (B, 3, H, W) or (B, T, 3, H, W)")
        pooled: Tensor = self.pooling(self.backbone(images.reshape(-1, *images.shape[-3:])))  # (B * T, D)
        if images.ndim == 5:
            pooled = pooled.unflatten(0, images.shape[:2]).mean(dim=1)
        features: Tensor = self.neck(pooled)
        return features

    def retrieval(self, images: Tensor) -> Tensor:
        """Compute features of unit length: `forward` divided by max(norm, 1e-12), (B, D)."""
        return functional.normalize(self(images), dim=1, eps=1e-12)


def _triple(name: str, values: Triple) -> Triple:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != 3 or not all(abs(v) < float("inf") for v in numbers):
        raise ValueError(f"{name}={values!r}: must be three finite numbers (red, green, blue)")
    return numbers


def save_embedder(path: str | Path, embedder: Embedder, extra: dict[str, str] | None = None) -> None:
    """Write an embedder as safetensors, its specification as JSON in the file's metadata.

    Parameters
    ----------
    path : str or Path
        Written beside and renamed; an existing file is replaced.
    embedder : Embedder
        The network.
    extra : dict of str to str, optional
        Further metadata (method, round, ...); see `read_metadata`.

    Raises
    ------
    ValueError
        If ``extra`` uses the key of the specification.
    OSError
        If the file cannot be written.
    """
    if extra and SPEC_KEY in extra:
        raise ValueError(f"extra[{SPEC_KEY!r}]: this key is taken, use another")
    metadata = {**(extra or {}), SPEC_KEY: json.dumps(dataclasses.asdict(embedder.spec))}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in embedder.state_dict().items()}
    try:
        with atomic_path(Path(path)) as temporary:
            save_file(state, temporary, metadata=metadata)
    except SafetensorError as error:
        raise OSError(f"{path}: could not be written ({error})") from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; {} when it has none.

    Raises
    ------
    ValueError
        If the file is not a readable safetensors file.
    OSError
        If there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or damaged ({error}); write it again") from error


def read_spec(path: str | Path) -> EmbedderSpec | None:
    """Return the specification in a safetensors file, None when it is no file of `save_embedder`.

    Raises
    ------
    ValueError
        If the file or the specification in it is damaged.
    """
    text = read_metadata(path).get(SPEC_KEY)
    if text is None:
        return None
    try:
        fields = json.loads(text)
        fields["mean"], fields["std"] = _triple("mean", fields["mean"]), _triple("std", fields["std"])
        wrong = [key for key, kind in SPEC_TYPES.items() if not isinstance(fields[key], kind)]
        if wrong:
            raise ValueError(f"{wrong[0]}={fields[wrong[0]]!r}")
        return EmbedderSpec(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: its embedder specification is damaged ({error}); save the model again") from error


def load_embedder(path: str | Path) -> Embedder:
    """Read an embedder written by `save_embedder`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Embedder
        On the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        If the file is damaged or was not written by `save_embedder`.
    OSError
        If there is no such file.
    """
    spec = read_spec(path)
    if spec is None:
        raise ValueError(f"{path}: weights without an embedder's specification; give it to --weights instead")
    embedder = Embedder(**dataclasses.asdict(spec))
    try:
        embedder.load_state_dict(load(Path(path).read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: does not fit its own specification ({reason}); save the model again") from error
    return embedder.eval()


@contextmanager
def evaluation_mode(*modules: nn.Module | None) -> Iterator[None]:
    """Put modules (None is passed over) in evaluation mode inside the block; each layer's flag is restored
    after it."""
    flags = [(layer, layer.training) for module in modules if module is not None for layer in module.modules()]
    try:
        for layer, _ in flags:
            layer.training = False
        yield
    finally:
        for layer, training in flags:
            layer.training = training


@torch.no_grad()
def start_neck(embedder: Embedder, pooled: Tensor) -> None:
    """Start the neck from data: its statistics are those of `pooled`, and channels that hardly vary stay small.

    With a weight of sqrt(v / (v + 0.1 mean(v))), v a channel's variance, a channel that is nearly constant is not blown
    up to the size of the others.

    Parameters
    ----------
    embedder : Embedder
        Changed in place; without a neck nothing happens.
    pooled : Tensor of shape (N, D)
        What the embedder gives for the training pictures with its neck as built (mean 0, variance 1: the identity but
        for its epsilon), N at least 2.
    """
    if isinstance(embedder.neck, nn.BatchNorm1d):
        start_statistics(embedder.neck, pooled)
        variance = embedder.neck.running_var
        assert variance is not None
        embedder.neck.weight.copy_((variance / (variance + 0.1 * variance.mean()).clamp_min(1e-12)).sqrt())


@torch.no_grad()
def start_batch_norm(embedder: Embedder, pictures: Tensor | Pictures, batch_size: int = 256) -> None:
    """Set the running statistics of all batch norm layers by one pass over pictures; weights stay as they
    are.

    Networks with random weights need it: with the initial statistics (mean 0, variance 1) their features say
    little.

    Parameters
    ----------
    embedder : Embedder
        Changed in place; training flags and momenta are as before afterwards.
    pictures : Pictures, or Tensor of shape (N, 3, H, W)
        Bytes, which are normalised batch by batch with the embedder's mean and std; a tensor may also hold normalised
        float pictures.
    batch_size : int, default 256
        Largest batch; the statistics are the average over batches of nearly equal size.

    Raises
    ------
    ValueError
        If there are no pictures, or the statistics come out not finite.
    """
    n = len(pictures) if isinstance(pictures, Tensor) else pictures.n_frames
    if n == 0 or batch_size < 1:
        raise ValueError(f"{n} pictures, batch_size={batch_size}: both must be at least 1")
    parts = -(-n // batch_size)
    chunks: Iterable[Tensor]
    if isinstance(pictures, Tensor):
        chunks = pictures.tensor_split(parts)
    else:
        chunks = pictures.stream(np.array_split(np.arange(n), parts))
    layers = {
        name: layer
        for name, layer in embedder.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.track_running_stats
    }
    momenta = {name: layer.momentum for name, layer in layers.items()}
    device = next(embedder.parameters()).device
    with evaluation_mode(embedder):
        for layer in layers.values():
            layer.reset_running_stats()
            layer.momentum = None  # None is PyTorch's cumulative average
            layer.train()
        try:
            for chunk in chunks:
                batch = chunk.to(device)
                if batch.dtype == torch.uint8:
                    batch = normalize(batch, embedder.spec.mean, embedder.spec.std)
                embedder(batch)
        finally:
            for name, layer in layers.items():
                layer.momentum = momenta[name]
    for name, layer in layers.items():
        if not all(bool(torch.isfinite(statistic).all()) for statistic in layer.buffers()):
            raise ValueError(f"batch norm {name}: statistics are not finite; look at the pictures and the weights")
