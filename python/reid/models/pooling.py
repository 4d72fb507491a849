"""Pooling: from a map of features to one vector a picture."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

GEM_EPS = 1e-6


class Pooling(nn.Module):
    """Average or generalised-mean pooling over the picture or over horizontal stripes.

    ``gem``: (mean over the stripe of max(x, 1e-6)^p)^(1/p), with one trainable p for all channels.

    Parameters
    ----------
    kind : {"avg", "gem"}, default "avg"
        Arithmetic mean, or generalised mean.
    stripes : int, default 1
        Number of horizontal stripes of equal height, top to bottom; where the map's height does not divide,
        neighbouring stripes share a row, as in adaptive pooling.
    p : float, default 3.0
        Start of the exponent of "gem"; unused for "avg".

    References
    ----------
    Radenovic, Tolias, Chum: Fine-tuning CNN image retrieval with no human annotation, TPAMI 2019 (GeM).
    Sun et al.: Beyond part models, ECCV 2018 (stripes).
    """

    def __init__(self, kind: Literal["avg", "gem"] = "avg", stripes: int = 1, p: float = 3.0) -> None:
        super().__init__()
        if kind not in ("avg", "gem"):
            raise ValueError(f"pooling={kind!r}: must be 'avg' or 'gem'")
        if stripes < 1:
            raise ValueError(f"stripes={stripes}: must be at least 1")
        self.kind = kind
        self.stripes = stripes
        if kind == "gem":
            if not p > 0:
                raise ValueError(f"p={p}: the exponent of gem pooling must be above 0")
            self.p = nn.Parameter(torch.tensor([float(p)]))

    def forward(self, maps: Tensor) -> Tensor:
        """Pool maps to vectors.

        Parameters
        ----------
        maps : Tensor of shape (B, C, h, w)
            Output of a backbone, h >= stripes.

        Returns
        -------
        Tensor of shape (B, C * stripes)
            Channel by channel, each channel's stripes from top to bottom.
        """
        height = maps.shape[2]
        if height < self.stripes:
            raise ValueError(
                f"stripes={self.stripes}: the map is only {height} rows high; use taller pictures or fewer"
            )
        if self.kind == "avg":
            return functional.adaptive_avg_pool2d(maps, (self.stripes, 1)).flatten(1)
        # Powers overflow in half precision: 1e-6 ** 3 is 0 there and its root has an infinite gradient.
        with torch.autocast(maps.device.type, enabled=False):
            powers = maps.float().clamp(min=GEM_EPS).pow(self.p)  # (B, C, h, w)
            return functional.adaptive_avg_pool2d(powers, (self.stripes, 1)).pow(1.0 / self.p).flatten(1)
