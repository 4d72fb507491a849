"""MTCluster (arXiv 2205.03124, 2022): a mean teacher, a classifier and triplets on clusters of tracklets or pictures.

A round:

1. f_i = the teacher's feature of each sample, the mean over its frames; Jaccard distance; DBSCAN; outliers are left
   out, or are classes of one.
2. a classifier W for student and teacher: row k is the normalised mean of cluster k. For each cluster its K nearest
   others, by the Jaccard distance between the means.
3. a new Adam; `iters` steps, or `iters_per_cluster` times the number of clusters, of P x K batches. Loss =
   0.5 identity + 0.5 soft identity + 0.2 triplet + 0.8 soft triplet: cross-entropy that gives a tenth of the target to
   the K nearest clusters (RLSCE); cross-entropy with the classes the teacher sees; the hardest triplets of the batch,
   with a soft margin or with a margin and the hardest weighed down (WATL); the same triplets as the teacher sees them.
4. after each step the teacher and its classifier follow the student's by an exponential moving average.

The teacher is what is evaluated and saved. Triplets take the pooled feature; logits and retrieval what the batch norm
behind it (`neck`) makes of it, of several frames the mean over them.

Presets `mtcluster-*` follow the authors' code but for this: tracklets are clustered by all their frames (32 random
ones), means of frames are not of frames at unit length and are brought to unit length for retrieval, the first ReLU of
the ResNet stays, the average counts the steps of the run (it guessed them from those of the current round). Defaults
leave it where the settings' brackets say so; the largest step is from products to cosines in the logits.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reid import processes
from reid.clustering.pseudo import PseudoLabels
from reid.config import TrainConfig
from reid.methods.contrast import (
    OutlierConfig,
    classes,
    load_state,
    make_optimizer,
    plan_round,
    resolve,
    save_state,
)  # fmt: skip
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["MtCluster", "MtClusterConfig"]


@dataclass(frozen=True)
class MtClusterConfig(OutlierConfig):
    """Settings of MTCluster. The values in brackets are the paper's (preset `mtcluster-mars`)."""

    momentum: float = 0.999
    """Largest weight of the old teacher in its update (0.999)."""
    iters_per_cluster: float = 0.0
    """Steps of a round for each cluster (0.6); 0: `iters` steps."""
    cluster_feature: Literal["raw", "l2", "bn"] = "l2"
    """Feature that is clustered and that the classifier starts from: as pooled (raw), of unit length (l2), or of unit
    length behind the batch norm of `neck` (bn) (raw). Neighbourhoods of raw features weigh hardly more than one
    neighbour."""
    logits: Literal["cosine", "raw"] = "cosine"
    """Logits as cosines, or as products, over `temperature` (raw, temperature 1)."""
    id_loss: Literal["rlsce", "lsce", "ce"] = "rlsce"
    """Cross-entropy that gives `smooth` of the target to the nearest clusters (rlsce), to all clusters (lsce), or to
    none (ce)."""
    rlsce_k: int = 60
    """Nearest clusters K of rlsce (60)."""
    smooth: float = 0.1
    """Part of the target that rlsce and lsce give away (0.1)."""
    tri_loss: Literal["soft", "watl"] = "soft"
    """Triplets with a soft margin, or with a margin and hardest ones that are weighed down (watl)."""
    watl_margin: float = 0.5
    """Margin of watl (0.5)."""
    watl_lambda: float = -0.01
    """A triplet with t = d_positive - d_negative + margin above 0 has the weight exp(lambda t) in watl (-0.01)."""
    soft_id: float = 0.5
    """Share of the teacher's opinion in the losses of the classifier (0.5)."""
    soft_tri: float = 0.8
    """Share of the teacher's opinion in the losses of the triplets (0.8)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("rlsce_k", 1)
        for name in ("smooth", "soft_id", "soft_tri"):
            self._check(name, 0, 1)
        for name in ("iters_per_cluster", "watl_margin"):
            self._check(name, 0)
        self._check("watl_lambda", -math.inf, 0)


class MtCluster:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "mtcluster"
    Config: ClassVar[type[TrainConfig]] = MtClusterConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: MtClusterConfig, network: Embedder, samples: Samples) -> None:
        from reid.models.batch_norm import GroupedBatchNorm1d

        self.network, self.samples = network, samples
        self.config = resolve(config, len(samples), rounds=16)
        assert self.config.rounds is not None
        self.rounds = self.config.rounds
        self.pseudo = PseudoLabels(self.config, samples)
        if isinstance(network.neck, GroupedBatchNorm1d):
            network.neck.group_size *= config.frames  # here it normalises frames
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        neckless = config.cluster_feature != "bn" and network.spec.neck != "none"
        self._clustered = without_neck(self.teacher) if neckless else self.teacher
        self.updates = 0

    @property
    def retrieval(self) -> Embedder:
        """The teacher."""
        return self.teacher

    def assign(self, r: int, extract: Extract) -> Assignment:
        """Jaccard distance and DBSCAN of the teacher's features."""
        c = self.config
        self._features = extract(self._clustered, normalize=c.cluster_feature != "raw")  # (N, D)
        found = self.pseudo(self._features)
        return Assignment(found.labels, found.facts, found.warnings, found.stop)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """Classifiers of cluster means, which clusters are near each other, a new Adam; P x K batches."""
        import torch
        from torch import nn
        from torch.nn import functional

        from reid.losses.cross_entropy import nearest_clusters
        from reid.memory.rows import class_means

        c, labels = self.config, classes(self.config, assignment.labels, self.pseudo.links.groups)
        kept = labels >= 0
        assert c.k1 is not None
        assert c.k2 is not None
        device = next(self.network.parameters()).device
        centers = class_means(torch.from_numpy(self._features[kept]), torch.from_numpy(labels[kept]))  # (C, D)
        near = nearest_clusters(centers.numpy(), c.rlsce_k, c.k1, c.k2, n_jobs=c.workers or None)
        self.near = torch.from_numpy(near).to(device)  # (C, min(K, C - 1))
        self._classes = torch.from_numpy(labels).to(device)
        self.classifier = nn.Linear(centers.shape[1], len(centers), bias=False, device=device)
        with torch.no_grad():
            self.classifier.weight.copy_(functional.normalize(centers, dim=1))
        self.teacher_classifier = copy.deepcopy(self.classifier).requires_grad_(False)
        self.teacher.train()
        optimizer = make_optimizer(c, nn.ModuleList([self.network, self.classifier]))
        plan = plan_round(c, r, labels, self.samples, optimizer, rng)
        steps = max(1, round(c.iters_per_cluster * assignment.n_clusters)) if c.iters_per_cluster else plan.steps
        return dataclasses.replace(plan, steps=steps, window=True)

    def step(self, batch: Batch) -> StepOutput:
        """The four losses on the batch of all processes; the teacher sees the same views, with their statistics."""
        import torch
        from torch.nn import functional

        from reid.losses.cross_entropy import rlsce, soft_cross_entropy
        from reid.losses.triplet import distances, hardest, soft_margin_triplet, soft_triplet, weight_adaptive_triplet
        from reid.models.gathering import gather_rows

        c, labels = self.config, self._classes[processes.gather(batch.index)]
        f, x = heads(self.network, batch.images)  # (B, D) each
        f, x = gather_rows(f.float()), gather_rows(x.float())
        with torch.no_grad():
            f_teacher, x_teacher = (processes.gather(v.float()) for v in heads(self.teacher, batch.images))
        with torch.autocast(f.device.type, enabled=False):
            z = self._logits(self.classifier, x)
            z_teacher = self._logits(self.teacher_classifier, x_teacher)
            found = hardest(distances(f), labels)
            if c.id_loss == "rlsce":
                identity = rlsce(z, labels, self.near, c.rlsce_k, c.smooth)
            else:
                identity = functional.cross_entropy(z, labels, label_smoothing=c.smooth if c.id_loss == "lsce" else 0.0)
            if c.tri_loss == "watl":
                triplet = weight_adaptive_triplet(found, c.watl_margin, c.watl_lambda)
            else:
                triplet = soft_margin_triplet(found)
            several = (labels != labels[0]).any()  # a batch of one cluster has no triplets
            pushed = c.soft_tri * soft_triplet(found, distances(f_teacher)) + (1.0 - c.soft_tri) * triplet
            loss = (1.0 - c.soft_id) * identity + c.soft_id * soft_cross_entropy(z, z_teacher)
            loss = loss + torch.where(several, pushed, 0.0)
        return StepOutput(loss, x.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Let the teacher follow."""
        from reid.models.ema import update_teacher

        update_teacher(self.teacher, self.network, self.updates, alpha=self.config.momentum)
        update_teacher(self.teacher_classifier, self.classifier, self.updates, alpha=self.config.momentum)
        self.updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Teacher and the last good labels; classifiers and Adam begin anew each round."""
        import torch

        teacher = {f"teacher.{name}": value for name, value in self.teacher.state_dict().items()}
        unused = make_optimizer(self.config, self.network)
        return {"updates": torch.tensor(self.updates), **teacher, **save_state(self.pseudo, unused)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        self.updates = int(state["updates"])
        self.teacher.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("teacher.")})
        load_state(self.pseudo, make_optimizer(self.config, self.network), state)

    def _logits(self, classifier: nn.Linear, x: Tensor) -> Tensor:
        """(B, C) logits of what the neck gives."""
        from torch.nn import functional

        assert self.config.temperature is not None
        weight: Tensor = classifier.weight
        if self.config.logits == "cosine":
            x, weight = functional.normalize(x, dim=1), functional.normalize(weight, dim=1)
        return functional.linear(x, weight) / self.config.temperature


def heads(network: Embedder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the frames of the pooled features, and of what the neck makes of each: (B, D) both.

    Parameters
    ----------
    network : Embedder
    images : Tensor of shape (B, T, 3, H, W)
    """
    pooled = network.pooling(network.backbone(images.flatten(0, 1)))  # (B * T, D)
    f, x = (rows.unflatten(0, images.shape[:2]).mean(1) for rows in (pooled, network.neck(pooled)))
    return f, x


def without_neck(network: Embedder) -> Embedder:
    """The same layers without the neck."""
    from torch import nn

    bare = copy.copy(network)
    bare._modules = {**network._modules, "neck": nn.Identity()}
    return bare
