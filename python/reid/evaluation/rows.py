"""Features and the data that say who is on them, brought together by the names of pictures."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from reid.data.records import Dataset, printable
from reid.feature_table import SPLITS, FeatureTable

__all__ = ["with_data"]


def with_data(table: FeatureTable, data: Dataset) -> FeatureTable:
    """Take identities, cameras, times and splits of the features' pictures from `data`.

    A picture is found by its path relative to the folder of either (a tracklet by its first frame). Rows of `table`
    that are not in `data` are left out.

    Raises
    ------
    ValueError
        A query or gallery picture of `data` has no features, or no picture of `data` has.
    """
    row = {os.path.normpath(name): i for i, name in enumerate(table.names())}
    kept: dict[str, np.ndarray] = {}
    columns: dict[str, object] = {}
    for split in SPLITS:
        samples = getattr(data, split)
        if samples is None or (split == "train" and data.query is not None):
            continue
        names = [os.path.relpath(frames[0], data.root) for frames in samples.frames]
        found = np.array([row.get(name, -1) for name in names], dtype=np.int64)
        lost = np.flatnonzero(found < 0)
        if len(lost) and split != "train":
            raise ValueError(
                f"data={printable(data.root)}: {len(lost):,} of {len(found):,} {split} pictures have no features, "
                f"such as {printable(names[lost[0]])}; extract features of these data"
            )
        kept[split] = table.features[found[found >= 0]]
        columns[split] = samples.take(found >= 0)
    if not any(len(features) for features in kept.values()):
        raise ValueError(
            f"data={printable(data.root)}: none of its pictures has features; extract features of these data"
        )
    return FeatureTable.of(replace(data, **columns), kept, table.facts)  # type: ignore[arg-type]
