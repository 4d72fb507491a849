"""3C (harmonic discrepancy clustering, camera information entropy; arXiv 2408.09464, Neurocomputing 641, 2025).

A round:

1. unit features x_i; k-reciprocal Jaccard distance.
2. clusters: DBSCAN in the first rounds (warm-up), then harmonic discrepancy clustering (HDC) into K clusters: a picture
   joins the cluster whose farthest yet confident member is nearest; pictures that fit worse than mean + sigma within
   their cluster are outliers; clusters with fewer than `min_samples` pictures are dropped.
3. memory, one unit row a cluster: HDC's centroids, or the means of the labelled pictures.
4. `iters` P x K batches: cross-entropy against the memory, weighted by the camera entropy of each cluster in the batch
   (CIE); after each step one picture a cluster is mixed into its row, chosen by confidence-integrated harmonic
   discrepancy over cameras (CHD, rule `hd_camera`).

Cameras are used by batches, loss and memory. The learning rate rises linearly over the warm-up. Presets `3c-*` follow
the authors' code. Where the defaults leave it: K is what DBSCAN finds on the same distances unless it is given (the
paper sets it near the true number of identities), pictures without a neighbour in any cluster are outliers (they all
went to cluster 0), the start of HDC is seeded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid import processes
from reid.clustering.cameras import one_of_each_camera
from reid.clustering.linked import believed
from reid.clustering.prune import prune
from reid.clustering.pseudo import Labels, Pseudo, PseudoLabels
from reid.config import TrainConfig
from reid.methods.contrast import ContrastConfig, load_state, make_optimizer, plan_round, resolve, save_state
from reid.methods.protocol import Assignment, Batch, Extract, RoundPlan, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from reid.data.records import Samples
    from reid.models.embedder import Embedder

__all__ = ["Ccc", "CccConfig"]


@dataclass(frozen=True)
class CccConfig(ContrastConfig):
    """Settings of 3C. The values in brackets are the paper's (preset `3c-market`)."""

    clusterer: Literal["hdc", "dbscan", "kmeans"] = "hdc"
    """What clusters after the warm-up."""
    n_clusters: int = 0
    """Clusters K of HDC and k-means (750). 0: as many as DBSCAN finds on the same distances."""
    warmup_rounds: int | None = None
    """Rounds in which DBSCAN clusters and the learning rate rises to its value (10 of 60). Default: a sixth of them."""
    warmup_dbscan: bool = True
    """Cluster with DBSCAN in the warm-up."""
    hdc_max_iter: int = 80
    """Most iterations of HDC (80)."""
    hdc_outliers: bool = True
    """Leave pictures out that fit badly into their cluster."""
    hdc_centroids: bool = True
    """Start the memory at HDC's centroids, which leave such pictures out."""
    isolated: Literal["outlier", "cluster"] = "outlier"
    """What becomes of a picture that is near no cluster: an outlier, or a member of the first one (cluster)."""
    rule: Literal["hd_camera", "cm", "cm_hard", "tccl_camera", "cm_camera", "cm_hard_camera"] = "hd_camera"
    """What is mixed into a memory row."""
    camera_entropy: bool = True
    """Weigh the loss by the camera entropy of the clusters in the batch (CIE)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_clusters", "warmup_rounds"):
            self._check(name, 0)
        self._check("hdc_max_iter", 1)

    @property
    def uses_cameras(self) -> bool:
        """Whether a run reads camera ids."""
        return super().uses_cameras or self.camera_entropy or self.rule.endswith("_camera")


class Ccc:
    """The method as the training loop sees it (`reid.methods.protocol.Method`)."""

    name: ClassVar[str] = "3c"
    Config: ClassVar[type[TrainConfig]] = CccConfig
    needs_pid: ClassVar[bool] = False

    def __init__(self, config: CccConfig, network: Embedder, samples: Samples) -> None:
        self.network, self.samples = network, samples
        resolved = resolve(config, len(samples), rounds=16)
        assert resolved.rounds is not None
        self.rounds = resolved.rounds
        self.warmup = self.rounds // 6 if config.warmup_rounds is None else config.warmup_rounds
        self.config = dataclasses.replace(resolved, warmup_rounds=self.warmup)
        self.pseudo = PseudoLabels(self.config, samples)
        self.optimizer = make_optimizer(self.config, network)

    @property
    def retrieval(self) -> Embedder:
        """The network itself."""
        return self.network

    def assign(self, r: int, extract: Extract) -> Assignment:
        """DBSCAN in the warm-up, then HDC or k-means."""
        c = self.config
        self._features = extract(self.network)  # (N, D) unit rows
        self._centroids: NDArray[np.float32] | None = None
        if c.clusterer == "dbscan" or (c.warmup_dbscan and r <= self.warmup):
            found = self.pseudo(self._features)
        else:
            found, self._centroids = self._by_number(r)
        return Assignment(found.labels, found.facts, found.warnings, found.stop)

    def start_round(self, r: int, assignment: Assignment, rng: np.random.Generator) -> RoundPlan:
        """A memory of centroids or means; P x K batches."""
        import torch

        from reid.memory.ccc import CameraMemory

        c, kept = self.config, assignment.labels >= 0
        settings: dict[str, Any] = {
            "rule": c.rule, "temperature": c.temperature, "momentum": c.momentum, "entropy": c.camera_entropy,
        }  # fmt: skip
        if self._centroids is not None:
            memory = CameraMemory(torch.from_numpy(self._centroids), **settings)
        else:
            features, labels = torch.from_numpy(self._features[kept]), torch.from_numpy(assignment.labels[kept])
            memory = CameraMemory.from_means(features, labels, **settings)
        self.memory = memory.to(next(self.network.parameters()).device)
        return plan_round(c, r, assignment.labels, self.samples, self.optimizer, rng, self.warmup)

    def step(self, batch: Batch) -> StepOutput:
        """Loss of a batch against the memory as it was before the batch."""
        x = self.network.retrieval(batch.images)  # (B, D) unit rows
        return StepOutput(self.memory.loss(x, batch.label, batch.camid), x.detach())

    def update(self, batch: Batch, out: StepOutput) -> None:
        """Mix chosen pictures of the batch into their clusters' rows."""
        self.memory.update(out.embeddings, batch.label, batch.camid)

    def state_dict(self) -> dict[str, Tensor]:
        """Adam's state, and the last good labels."""
        return save_state(self.pseudo, self.optimizer)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up `state_dict`."""
        load_state(self.pseudo, self.optimizer, state)

    @processes.once
    def _by_number(self, r: int) -> tuple[Pseudo, NDArray[np.float32] | None]:
        """HDC or k-means into K clusters, small ones dropped, and centroids; K from DBSCAN where it is not given."""
        c = self.config
        assert c.min_samples is not None
        threads = c.workers or None
        features = self.pseudo.centered(self._features)
        graph = self.pseudo.graph(self._features, 1.0)
        eps = self.pseudo.eps(graph)
        k = c.n_clusters or max(2, int(self.pseudo.cluster(graph, eps).max()) + 1)
        rng = np.random.default_rng([c.seed, r])
        links = believed(self.pseudo.links, graph, eps)

        def cluster(_: float) -> Labels:
            centers: NDArray[np.float32] | None = None
            if c.clusterer == "hdc":
                found = reid_cluster.hdc(
                    features, graph, k, max_iter=c.hdc_max_iter, outliers=c.hdc_outliers, isolated=c.isolated,
                    random_state=rng, n_jobs=threads,
                )  # fmt: skip
                labels, fit = found.labels, found.scores
                centers = found.centroids if c.hdc_centroids and not c.center_cameras else None
            else:
                means = reid_cluster.kmeans(features, k, random_state=rng, n_jobs=threads)
                labels, fit = means.labels, np.square(features - means.centers[means.labels]).sum(1)
            if c.same_camera == "forbid":
                labels = one_of_each_camera(labels, self.samples.camid, fit)
            obeyed = links.obey(labels, features)
            if (obeyed != labels).any():  # the centroids belong to other labels
                labels, centers = obeyed, None
            labels, kept = prune(labels, c.min_samples or 1)
            self._centroids = None if centers is None else np.ascontiguousarray(centers[kept])
            return labels

        found = self.pseudo.guarded(cluster, features, eps)
        if found.collapsed:  # other labels than those the centroids belong to may have been taken
            self._centroids = None
        return Pseudo(found.labels, {**found.facts, "k": float(k)}, found.warnings, found.stop), self._centroids
