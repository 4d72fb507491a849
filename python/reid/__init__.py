"""Unsupervised re-identification on PyTorch: pseudo labels from clusters, training on them, evaluation, reports.

The package's rooms, in the order in which data flow through them: `data`, `models`, `features`, `clustering`,
`memory`, `losses`, `methods`, `evaluation`, `report`, `training`, `checking`, `extraction`, `exporting`, `groups`,
`queries`, `cli`. Importing `reid` itself loads none of them (and so not torch); its functions are found on first use.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reid.checking.check import check, stats
    from reid.checking.settings import CheckConfig, StatsConfig
    from reid.cli.evaluate import evaluate
    from reid.evaluation.settings import EvalConfig
    from reid.exporting.export import export
    from reid.exporting.settings import ExportConfig
    from reid.extraction.extract import extract_features
    from reid.extraction.extractor import FeatureExtractor
    from reid.extraction.settings import ExtractConfig
    from reid.groups.cluster import cluster
    from reid.groups.config import ClusterConfig
    from reid.queries.config import SearchConfig
    from reid.queries.search import search
    from reid.report.page import write_report
    from reid.report.review import review
    from reid.report.settings import ReportConfig, ReviewConfig
    from reid.training.train import train

__all__ = [
    "CheckConfig",
    "ClusterConfig",
    "EvalConfig",
    "ExportConfig",
    "ExtractConfig",
    "FeatureExtractor",
    "ReportConfig",
    "ReviewConfig",
    "SearchConfig",
    "StatsConfig",
    "check",
    "cluster",
    "evaluate",
    "export",
    "extract_features",
    "review",
    "search",
    "stats",
    "train",
    "write_report",
]

_PLACES = {
    "CheckConfig": "reid.checking.settings",
    "ClusterConfig": "reid.groups.config",
    "EvalConfig": "reid.evaluation.settings",
    "ExportConfig": "reid.exporting.settings",
    "ExtractConfig": "reid.extraction.settings",
    "FeatureExtractor": "reid.extraction.extractor",
    "ReportConfig": "reid.report.settings",
    "ReviewConfig": "reid.report.settings",
    "SearchConfig": "reid.queries.config",
    "StatsConfig": "reid.checking.settings",
    "check": "reid.checking.check",
    "cluster": "reid.groups.cluster",
    "evaluate": "reid.cli.evaluate",
    "export": "reid.exporting.export",
    "extract_features": "reid.extraction.extract",
    "review": "reid.report.review",
    "search": "reid.queries.search",
    "stats": "reid.checking.check",
    "train": "reid.training.train",
    "write_report": "reid.report.page",
}


def _refuse_namesake() -> None:
    """Stop when another project's distribution called `reid` is installed: both would write into one folder."""
    try:
        other = metadata.distribution("reid")
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"the distribution 'reid' {other.version} is another project that installs the same import name as "
        "reid-cluster: run `pip uninstall reid && pip install --force-reinstall --no-deps reid-cluster`"
    )


_refuse_namesake()


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'reid' has no attribute {name!r}")
