"""BUC: bottom-up clustering (Lin, Dong, Zheng, Yan, Yang: A Bottom-Up Clustering Approach to Unsupervised Person
Re-Identification, AAAI 2019).

Every instance starts as a class of its own. A round trains the network to tell the classes apart, then the m closest
pairs of clusters are merged, and so on:

1. round 1: label i of instance i is i; later: merge m = floor(merge_percent * N) clusters, closest first, where the
   distance of two clusters is D(A, B) = min |v_i - v_j|^2 + size_penalty * (|A| + |B|) over their instances; the
   penalty keeps one cluster from swallowing all (diversity regularisation). v is the pooled backbone feature.
2. memory V, one row a class, starts at zero, or at the mean embedding of the class.
3. loss of an embedding x with class y: cross-entropy of the logits t * (x . V_c), t = 10 ("repelled loss").
4. after each batch, in its order: V_y <- normalise(mix * V_y + (1 - mix) * x).
5. repeat until a tenth of the instances is left (the paper: 19 rounds of 5 %). Weights live on; optimiser and memory
   are made anew.

Presets `buc-market`, `buc-duke`, `buc-mars` and `buc-dukevideo` follow the authors' code: its merge rule (squared
distances, sizes frozen within a step), zero memory updated with the dropped-out embedding, SGD, 5 % a round. The
original's last merge, which it computes and never trains on, is not made; a share that merges nothing is an error
(there it merged everything); a merge that no pair is left for is left out (there it hung). Where the defaults leave
the paper: a memory started at class means and updated with the clean embedding, no embedding layer and no dropout,
Adam, augmentation of colours, 15 % a round, and with pretrained weights a merge before the first training.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid import processes
from reid.clustering.cameras import center_cameras
from reid.clustering.guards import describe_collapse, distance_quantiles
from reid.clustering.toc import run_links
from reid.config import TrainConfig
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Buc", "BucConfig"]


@dataclass(frozen=True)
class BucConfig(TrainConfig):
    """Settings of BUC. The values in brackets are the paper's (preset `buc-market`)."""

    size_penalty: float = 0.003
    """Penalty lambda on the sizes of two clusters, in units of squared distance (0.003)."""
    merge_percent: float = 0.15
    """Share of the instances that is merged away before each round after the first (0.05)."""
    min_clusters: int = 2
    """Merging ends when this many clusters are left."""
    linkage: Literal["single", "average"] = "single"
    """Distance of two clusters: that of their closest instances (single), or the mean over all pairs."""
    distance: Literal["sqeuclidean", "euclidean"] = "sqeuclidean"
    """Distance of two instances (squared, as the authors' code has it)."""
    sizes: Literal["frozen", "live"] = "frozen"
    """Cluster sizes and distances within a merge step: those at its start, or kept up to date."""
    cluster_feature: Literal["pooled", "embedding"] = "pooled"
    """What is clustered: the pooled backbone feature, or the embedding that the loss sees."""
    embedding_dim: int = 0
    """Size E of the embedding that the loss sees (2048); 0: no embedding layer, the pooled feature is normalised."""
    dropout: float = 0.0
    """Dropout on the embedding (0.5)."""
    temperature_scale: float = 10.0
    """Factor t on the logits, 1 / temperature (10)."""
    memory_init: Literal["zeros", "mean"] = "mean"
    """Start of the memory in each round: zeros, or the normalised mean embedding of each class (zeros)."""
    memory_mix: float = 0.5
    """Weight of the old memory row in an update (0.5)."""
    memory_update: Literal["clean", "dropped"] = "clean"
    """Update the memory with the embedding before dropout, or after it (dropped)."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """adam, or SGD with Nesterov momentum 0.9 (sgd); weight decay 5e-4 in both."""
    lr_first: float | None = None
    """Learning rate of round 1 (0.1, a tenth of it from epoch 16 on). Default: 2e-3 from random weights, 3.5e-4 from
    pretrained ones."""
    lr: float | None = None
    """Learning rate of later rounds (0.01). Default: 1e-3 from random weights, 3.5e-4 from pretrained ones."""
    backbone_lr_scale: float = 1.0
    """Factor on the backbone's learning rate (0.1)."""
    epochs_first: int | None = None
    """Epochs of round 1, which tells every instance from all others (20). 0: there is none, and clusters are merged
    before the first training. Default: 8 from random weights, 0 from pretrained ones, whose features it spoils."""
    epochs: int = 4
    """Epochs of each later round (2 for images, 5 for tracklets)."""
    augmentation: Literal["color", "light", "paper"] | None = None
    """paper: random upright rectangle and flip; light: small shifts and zooms, flip, erasing; color: also gain,
    saturation, gamma, blur and noise. Default: color from random weights, light from pretrained ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("min_clusters", "epochs"):
            self._check(name, 1)
        for name in ("size_penalty", "embedding_dim", "epochs_first"):
            self._check(name, 0)
        for name in ("temperature_scale", "lr_first", "lr", "backbone_lr_scale"):
            self._check(name, 0, open_low=True)
        self._check("merge_percent", 0, 0.5, open_low=True)
        self._check("dropout", 0, 0.95)
        self._check("memory_mix", 0, 0.999)


class Buc:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "buc"
    Config: ClassVar[type[TrainConfig]] = BucConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: BucConfig, network: Embedder, samples: Samples) -> None:
        # torch is imported where it is used: `reid-train --help` reads this file for its settings only.
        from reid.models.neck import EmbeddingHead

        self.network = network
        self.samples = samples
        pretrained = config.weights != "none"
        self.epochs_first = config.epochs_first if config.epochs_first is not None else (0 if pretrained else 8)
        self.lr_first = config.lr_first or (3.5e-4 if pretrained else 2e-3)
        self.lr = config.lr or (3.5e-4 if pretrained else 1e-3)
        self.augmentation = config.augmentation or ("light" if pretrained else "color")
        # The paper trains its last round with a tenth of the instances left: 19 rounds of 5 %.
        self.rounds = config.rounds or 1 + math.floor(0.9 / config.merge_percent + 1e-9)
        self.config = dataclasses.replace(
            config, rounds=self.rounds, epochs_first=self.epochs_first, lr_first=self.lr_first, lr=self.lr,
            augmentation=self.augmentation,
        )  # fmt: skip
        self.links = run_links(config, samples, graph=False, camera_pairs=False)
        self.labels: NDArray[np.int64] = self.links.groups  # every sample its own class, but for must-links
        n = int(self.labels.max()) + 1
        self.n_merges = math.floor(n * config.merge_percent)
        if self.n_merges == 0:
            raise ValueError(
                f"merge_percent={config.merge_percent}: merges none of {n} instances a round; "
                f"must be at least {math.ceil(1000 / n) / 1000}"
            )
        if config.same_camera == "forbid" and (samples.camid < 0).any():
            raise ValueError("same_camera='forbid': needs a camera id for every picture; these data have none")
        if config.center_cameras and (samples.camid < 0).all():
            raise ValueError("center_cameras=True: needs camera ids; these data have none")
        device = next(network.parameters()).device
        self.head = EmbeddingHead(network.out_features, config.embedding_dim, config.dropout, seed=config.seed).to(
            device
        )

    @property
    def retrieval(self) -> Embedder:
        """The network itself; its pooled feature is searched with."""
        return self.network

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Each instance its own class in round 1; later, the closest clusters merged."""
        import torch

        warnings: tuple[str, ...] = ()
        stop = ""
        facts: dict[str, float] = {}
        if r > 1 or self.epochs_first == 0:
            labels, facts = self._merge(extract, self.n_merges)
            collapse = describe_collapse(labels)
            if collapse:
                labels, warnings, stop = self._resolve(collapse, extract)
                facts = {}
            self.labels = labels
        if self.config.memory_init == "mean" and not stop:
            if r == 1 and self.config.embedding_dim:
                pooled = extract(self.network, normalize=False)  # (N, D)
                self.head.start(torch.from_numpy(pooled).to(next(self.network.parameters()).device))
            self._embedding = extract(self.network, head=self.head)  # (N, E), for this round's memory
        return Assignment(self.labels, facts, warnings, stop)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """A new memory, a new optimiser, and shuffled instances for this round's epochs."""
        import torch

        from reid.data.samplers import Shuffled
        from reid.data.transforms import VIEWS, Augment
        from reid.memory.exloss import ExLossMemory

        c = self.config
        device = next(self.network.parameters()).device
        if c.memory_init == "mean":
            embedding, labels = torch.from_numpy(self._embedding), torch.from_numpy(assignment.labels)
            memory = ExLossMemory.from_means(embedding, labels, t=c.temperature_scale, mix=c.memory_mix)
        else:
            memory = ExLossMemory(
                assignment.n_clusters, self.head.embedding_dim, t=c.temperature_scale, mix=c.memory_mix
            )
        self.memory = memory.to(device)

        first = r == 1 and self.epochs_first > 0
        base = self.lr_first if first else self.lr
        groups = [
            {
                "params": [p for p in self.network.parameters() if p.requires_grad],
                "scale": c.backbone_lr_scale,
            },
            {"params": list(self.head.parameters()), "scale": 1.0},
        ]
        optimizer: torch.optim.Optimizer
        if c.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, lr=base, momentum=0.9, weight_decay=5e-4, nesterov=True)
        else:
            optimizer = torch.optim.Adam(groups, lr=base, weight_decay=5e-4)

        augments = {"paper": Augment(), **VIEWS}
        # An epoch sees every frame once when single frames are drawn, every tracklet once when several are.
        repeats = self.samples.n_frames if c.frames == 1 else np.ones(len(self.samples), dtype=np.int64)
        positions = np.repeat(np.arange(len(self.samples)), repeats)
        batches = Shuffled(positions, c.batch_size, rng)
        epochs = self.epochs_first if first else c.epochs
        decay_every = 16 * len(batches) if first and c.optimizer == "sgd" else math.inf
        return RoundPlan(
            batches,
            steps=epochs * len(batches),
            optimizer=optimizer,
            lr=lambda step: base * 0.1 ** (step // decay_every),
            augment=augments[self.augmentation],
            frames=c.frames,
        )

    def step(self, batch: Batch) -> StepOutput:
        """Repelled loss of a batch against the memory as it was before the batch."""
        pooled = self.network(batch.images)  # (B, D)
        clean = self.head.embed(pooled)  # (B, E) unit rows
        dropped = self.head.dropout(clean)
        loss = self.memory.loss(dropped, batch.label)
        return StepOutput(loss, (clean if self.config.memory_update == "clean" else dropped).detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Mix the batch into its classes' memory rows, in the batch's order."""
        self.memory.update(out.embeddings, batch.label)

    def state_dict(self) -> dict[str, Tensor]:
        """Labels and head; memory and optimiser are made anew each round."""
        import torch

        head = {f"head.{k}": v for k, v in self.head.state_dict().items()}
        return {"labels": torch.from_numpy(self.labels), **head}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up labels and head."""
        self.labels = state["labels"].cpu().numpy().astype(np.int64)
        self.head.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("head.")})

    def _features(self, extract: Extract) -> NDArray[np.float32]:
        """(N, D) unit rows to cluster, centred per camera when asked."""
        embedding = self.config.cluster_feature == "embedding"
        features = extract(self.network, head=self.head if embedding else None)
        return center_cameras(features, self.samples.camid) if self.config.center_cameras else features

    def _merge(self, extract: Extract, n_merges: int) -> tuple[NDArray[np.int64], dict[str, float]]:
        c = self.config
        merged = processes.once(reid_cluster.bottom_up)(
            self._features(extract),
            self.labels,
            n_merges=n_merges,
            size_penalty=c.size_penalty,
            distance=c.distance,
            sizes=c.sizes,
            linkage=c.linkage,
            min_clusters=c.min_clusters,
            groups=self.samples.camid if c.same_camera == "forbid" else None,
            cannot_link=self.links.cannot if len(self.links.cannot) else None,
            n_jobs=c.workers or None,
        )
        weights = merged.weights
        facts = {"n_merges": float(len(weights)), "n_clusters": float(merged.n_clusters)}
        if len(weights):
            facts["merge_distance"] = float(weights[-1])
        return merged.labels, facts

    def _resolve(self, collapse: str, extract: Extract) -> tuple[NDArray[np.int64], tuple[str, ...], str]:
        """Act on a collapse as `on_collapse` says: (labels, warnings, why the run stops)."""
        c = self.config
        measured = f"{collapse}; {distance_quantiles(self._features(extract))}"
        if c.on_collapse == "retry":
            n_merges = self.n_merges // 2
            while n_merges > 0:
                labels, _ = self._merge(extract, n_merges)
                if not describe_collapse(labels):
                    return labels, (f"{measured}; only {n_merges} clusters were merged away instead",), ""
                n_merges //= 2
            return self.labels, (measured,), f"{collapse}, however few are merged"
        if c.on_collapse == "keep":
            return self.labels, (f"{measured}; the clusters of the round before are kept",), ""
        remedy = "use a larger size_penalty, average linkage, or fewer rounds"
        return self.labels, (f"{measured}; {remedy}",), f"{collapse} ({remedy})"
