"""The methods, one readable file each; a new one is a file and a line in `METHODS`."""

from __future__ import annotations

from reid.methods.buc import Buc
from reid.methods.ccc import Ccc
from reid.methods.cdsm import Cdsm
from reid.methods.cluster_contrast import ClusterContrast
from reid.methods.hhcl import Hhcl
from reid.methods.mtcluster import MtCluster
from reid.methods.protocol import Method
from reid.methods.pul import Pul, PulSemi
from reid.methods.source import Source
from reid.methods.spcl import Spcl
from reid.methods.spcl_uda import SpclUda

__all__ = ["METHODS"]

METHODS: dict[str, type[Method]] = {
    "buc": Buc,
    "cluster-contrast": ClusterContrast,
    "hhcl": Hhcl,
    "spcl": Spcl,
    "spcl-uda": SpclUda,
    "cdsm": Cdsm,
    "3c": Ccc,
    "mtcluster": MtCluster,
    "pul": Pul,
    "pul-semi": PulSemi,
    "source": Source,
}
