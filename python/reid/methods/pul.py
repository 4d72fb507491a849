"""PUL (Fan, Zheng, Yan, Yang: Unsupervised Person Re-identification: Clustering and Fine-tuning, TOMM 2018).

A round:

1. features x_i of all pictures; k-means into K clusters.
2. reliable pictures: those whose cosine with the middle picture of their cluster is above `threshold`. Better features
   are tighter, so more and more pictures are selected.
3. the network starts again from its first weights (`start=first`: mistakes do not pile up) or goes on from the last
   ones, with a new classifier, and learns for `epochs` epochs to tell the clusters of the reliable pictures apart.

It ends when the number of reliable pictures has settled, at the latest after `rounds`. The paper starts from a network
that was trained with labels on other pictures: `reid-train --method source` makes one, `--weights` takes it. Preset
`pul-released` follows the authors' code (rule `any`); method `pul-semi` knows the identities of a few pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid import processes
from reid.clustering.guards import describe_collapse, distance_quantiles
from reid.clustering.links import Links, Part
from reid.clustering.pseudo import GraphConfig, PseudoLabels
from reid.clustering.selection import reliable_samples
from reid.config import TrainConfig
from reid.data.records import printable
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Pul", "PulConfig", "PulSemi", "PulSemiConfig"]

Select = Callable[[float], tuple[NDArray[np.int64], float]]
"""Labels and the share of reliable pictures at a threshold."""


@dataclass(frozen=True)
class PulConfig(GraphConfig):
    """Settings of PUL. The values in brackets are the paper's (preset `pul-released`)."""

    n_clusters: int = 0
    """Clusters K (near the number of identities: 750). 0: as many as DBSCAN finds on the Jaccard distances of the first
    features (k1, k2, eps, min_samples)."""
    threshold: float = 0.85
    """Smallest cosine lambda of a reliable picture with the middle of its cluster (0.85)."""
    rule: Literal["own", "any"] = "own"
    """Compare with the middle of the own cluster (the paper), or of any (the authors' code)."""
    normalize: bool = True
    """Bring features to unit length before k-means (no)."""
    n_init: int = 10
    """Starts of k-means, of which the best counts (10)."""
    start: Literal["first", "last"] = "first"
    """Weights that a round starts from: the run's first ones, or those of the round before (first)."""
    epochs: int = 6
    """Passes over the reliable pictures in a round (20)."""
    lr: float | None = None
    """Learning rate. Default: 2e-3 from random weights, 3.5e-4 from pretrained ones (0.001 of SGD)."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """adam with weight decay 5e-4, or SGD with momentum 0.9 and none (sgd)."""
    dropout: float = 0.5
    """Dropout before the classifier (0.5)."""
    settle: float = 0.002
    """The run ends when the share of reliable pictures has changed by less than this twice in a row; 0: never."""
    augmentation: Literal["color", "light"] | None = None
    """light: small shifts and zooms, flip, erasing; color: also gain, saturation, gamma, blur and noise. Default: color
    from random weights, light from pretrained ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("n_clusters", 0)
        for name in ("n_init", "epochs"):
            self._check(name, 1)
        self._check("threshold", -1, 1)
        self._check("dropout", 0, 0.95)
        self._check("settle", 0, 1)
        self._check("lr", 0, open_low=True)


@dataclass(frozen=True)
class PulSemiConfig(PulConfig):
    """Settings of PUL with a few known identities."""

    known: int = 10
    """Identities whose pictures are labelled: the first ones by number (25 or 50)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("known", 1)


class Pul:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "pul"
    Config: ClassVar[type[TrainConfig]] = PulConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: PulConfig, network: Embedder, samples: Samples) -> None:
        pretrained = config.weights != "none"
        self.network, self.samples = network, samples
        self.config = dataclasses.replace(
            config,
            k1=config.k1 or (8 if pretrained else 20),
            k2=config.k2 or (3 if pretrained else 6),
            min_samples=config.min_samples or (2 if pretrained else 4),
            lr=config.lr or (3.5e-4 if pretrained else 2e-3),
            augmentation=config.augmentation or ("light" if pretrained else "color"),
            rounds=config.rounds or 5,
        )
        assert self.config.rounds is not None
        self.rounds = self.config.rounds
        self.pseudo = PseudoLabels(self.config, samples)
        if self.pseudo.links.relaxable:
            raise ValueError(
                "toc_relaxed, or relaxed in a rule: needs DBSCAN's distances, PUL clusters by k-means; leave it out"
            )
        self.known = np.full(len(samples), -1, dtype=np.int64)  # class of each labelled picture
        self.first = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.k = config.n_clusters
        self.shares: list[float] = []  # of reliable pictures, one a round
        self.labels = np.empty(0, dtype=np.int64)  # of the round before

    @property
    def retrieval(self) -> Embedder:
        """The network; its pooled feature is searched with."""
        return self.network

    def assign(self, r: int, extract: Extract) -> Assignment:
        """K-means and the selection of reliable pictures."""
        c = self.config
        free = np.flatnonzero(self.known < 0)  # pictures without a label
        unit = extract(self.network)
        features = (self.pseudo.centered(unit) if c.normalize else extract(self.network, normalize=False))[free]
        if not self.k:
            self.k = self._count(unit)
        k = min(self.k, len(free))
        rng = np.random.default_rng([c.seed, r])
        kmeans = processes.once(reid_cluster.kmeans)
        found = kmeans(features, k, n_init=c.n_init, random_state=rng, n_jobs=c.workers or None)

        def select(threshold: float) -> tuple[NDArray[np.int64], float]:
            chosen = reliable_samples(features, found.labels, found.centers, threshold, rule=c.rule).mask
            labels = self.known.copy()
            # Classes without a picture are closed up; known ones come first.
            numbers = np.unique(found.labels[chosen], return_inverse=True)[1]
            labels[free[chosen]] = numbers + self.known.max() + 1
            return self.pseudo.links.obey(labels, unit, smallest=1), float(chosen.mean())

        labels, share = select(c.threshold)
        stop = ""
        warnings: tuple[str, ...] = ()
        collapse = describe_collapse(labels)
        if collapse:
            labels, share, warnings, stop = self._resolve(collapse, labels, share, unit, select)
        elif c.settle > 0 and len(self.shares) > 1 and (
            max(abs(share - self.shares[-1]), abs(self.shares[-1] - self.shares[-2])) < c.settle
        ):  # fmt: skip
            stop = f"the share of reliable pictures has settled at {share:.3f}"
        self.shares.append(share)
        self.labels = labels
        facts = {"k": float(k), "reliable": share}
        return Assignment(labels, facts, warnings, stop)

    def _resolve(
        self, collapse: str, labels: NDArray[np.int64], share: float, unit: NDArray[np.float32], select: Select
    ) -> tuple[NDArray[np.int64], float, tuple[str, ...], str]:
        """Act on a collapse as `on_collapse` says: (labels, share of reliable ones, warnings, why the run stops)."""
        c = self.config
        measured = f"{collapse} at threshold={c.threshold:g}; {distance_quantiles(unit)}"
        if c.on_collapse == "retry":
            step = 0.05 if (labels >= 0).mean() > 0.5 else -0.05
            for threshold in c.threshold + step * np.arange(1, 6):
                again, reliable = select(float(threshold))
                if not describe_collapse(again):
                    return again, reliable, (f"{measured}; threshold={threshold:.2f} was taken instead",), ""
        if c.on_collapse != "stop" and len(self.labels):
            return self.labels, share, (f"{measured}; the clusters of the round before are kept",), ""
        return labels, share, (measured,), f"{collapse} (try another threshold than {c.threshold:g}, or n_clusters)"

    @processes.once
    def _count(self, unit: NDArray[np.float32]) -> int:
        """Clusters that DBSCAN finds on the Jaccard distances of unit rows (N, D), at least 2."""
        graph = self.pseudo.graph(unit, self.config.eps_range[1])
        return max(2, int(self.pseudo.cluster(graph, self.pseudo.eps(graph)).max()) + 1)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """First weights again, a new classifier, shuffled reliable pictures."""
        import torch

        from reid.data.samplers import Shuffled
        from reid.data.transforms import VIEWS
        from reid.models.classifier import Classifier

        c = self.config
        device = next(self.network.parameters()).device
        if c.start == "first":
            self.network.load_state_dict(self.first)
        seed = int(rng.integers(2**31))
        self.head = Classifier(self.network.out_features, assignment.n_clusters, dropout=c.dropout, seed=seed)
        self.head.to(device)
        parameters = [p for p in [*self.network.parameters(), *self.head.parameters()] if p.requires_grad]
        assert c.lr is not None
        lr = c.lr
        optimizer: torch.optim.Optimizer
        if c.optimizer == "sgd":
            optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
        else:
            optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=5e-4)
        batches = Shuffled(np.flatnonzero(assignment.labels >= 0), c.batch_size, rng)
        views = VIEWS[c.augmentation or "light"]
        return RoundPlan(batches, c.epochs * len(batches), optimizer, lambda step: lr, views, c.frames)

    def step(self, batch: Batch) -> StepOutput:
        """Cross-entropy of the classifier."""
        pooled = self.network(batch.images)  # (B, D)
        return StepOutput(self.head.loss(pooled, batch.label), pooled.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Nothing: PUL has no memory."""

    def state_dict(self) -> dict[str, Tensor]:
        """The first weights, K, the shares of reliable pictures and the last labels."""
        import torch

        first = {f"first.{name}": value for name, value in self.first.items()}
        shares, labels = torch.tensor(self.shares, dtype=torch.float64), torch.from_numpy(self.labels)
        return {"k": torch.tensor(self.k), "shares": shares, "labels": labels, **first}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        self.k = int(state["k"])
        self.shares = state["shares"].tolist()
        self.labels = state["labels"].cpu().numpy().astype(np.int64)
        self.first = {k[6:]: v.to(self.first[k[6:]].device) for k, v in state.items() if k.startswith("first.")}


class PulSemi(Pul):
    """PUL with the identities of a few pictures: these are always trained on, the others are clustered."""

    name: ClassVar[str] = "pul-semi"
    Config: ClassVar[type[TrainConfig]] = PulSemiConfig
    needs_pid: ClassVar[bool] = True

    def __init__(self, config: PulSemiConfig, network: Embedder, samples: Samples) -> None:
        super().__init__(config, network, samples)
        self.known = known_classes(samples.pid, config.known)
        if self.pseudo.links:
            self.pseudo.links = with_known(self.pseudo.links, self.known, samples)


def with_known(links: Links, known: NDArray[np.int64], samples: Samples) -> Links:
    """The links, and the known pictures as must-links within a class and cannot-links between classes.

    Raises ValueError, with the first chains, where both contradict each other.
    """
    rows = np.flatnonzero(known >= 0)
    rows = rows[np.argsort(known[rows], kind="stable")]
    _, first, sizes = np.unique(known[rows], return_index=True, return_counts=True)
    heads = rows[first]
    must = np.column_stack([np.repeat(heads, sizes), rows]).astype(np.int32)
    cannot = heads[np.column_stack(np.triu_indices(len(heads), 1))].astype(np.int32)
    links = Links.of([*links.parts, Part("known identity", cannot, must)], len(samples))
    return links.check(lambda i: printable(samples.frames[i][0]))


def known_classes(pid: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Class 0.. of the pictures of the first `count` identities, -1 for all others.

    Raises
    ------
    ValueError
        There are no identities, or none would be left unknown.
    """
    identities = np.unique(pid[pid >= 0])
    if len(identities) == 0:
        raise ValueError("method pul-semi: needs the identities of some pictures; these data have none")
    if count >= len(identities) and not (pid < 0).any():
        raise ValueError(f"known={count}: there are only {len(identities)} identities, none would be left to find")
    classes = np.full(len(pid), -1, dtype=np.int64)
    for number, identity in enumerate(identities[:count]):
        classes[pid == identity] = number
    return classes
