"""Every method that clusters obeys the user's constraints in every round."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.clustering.pseudo import GraphConfig
from reid.clustering.reliability import singletons
from reid.clustering.rules import compile_rules, read_rules
from reid.config import from_mapping
from reid.data.readers import read_dataset
from reid.methods import METHODS
from reid.methods.cluster_contrast import ClusterContrastConfig
from reid.methods.contrast import classes
from reid.training.train import train

CLUSTERING = [name for name in METHODS if name != "source"]

#: Settings with which a method that clusters a graph trains within seconds.
GRAPH = {
    "k1": 6, "k2": 2, "min_samples": 2, "iters": 2, "per_cluster": 2, "known": 2, "n_init": 1, "threshold": 0.5,
    "warmup_rounds": 1, "n_clusters": 4,
}  # fmt: skip

RULES = """
[[rule]]
kind = "time-overlap"

[[rule]]
kind = "same-tracklet"

[[rule]]
kind = "pairs"
file = "review.csv"
"""


@pytest.fixture(scope="module")
def rules(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rules for a table of the walkers, whose pairs say of look-alikes that they differ, and of strangers not."""
    with open(walkers / "samples.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    by_person: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_person.setdefault(row["pid"], []).append(row)
    folder = tmp_path_factory.mktemp("rules")
    lines = ["path_a,path_b,relation"]
    persons = list(by_person.values())
    for person in persons:
        tracklets = {row["tracklet"]: row["path"] for row in person}
        (a, *others) = tracklets.values()
        lines += [f"{a},{other},different" for other in others[:1]]
    lines.append(f"{persons[0][0]['path']},{persons[1][-1]['path']},same")
    (folder / "review.csv").write_text("\n".join(lines) + "\n")
    (folder / "rules.toml").write_text(RULES)
    return folder / "rules.toml"


def _check(run: Path, data: str, rules: Path) -> int:
    """Assert that the labels of every round obey; the number of forbidden pairs."""
    links = compile_rules(read_rules(rules), read_dataset(Path(data)).train)
    assert len(links.cannot)
    assert len(links.must)
    rounds = sorted((run / "labels").glob("*.npz"))
    for file in rounds:
        labels = np.load(file)["labels"]
        if file.name == "round-000.npz":
            continue  # before the first clustering
        i, j = links.cannot.T
        assert not ((labels[i] == labels[j]) & (labels[i] >= 0)).any(), file.name
        i, j = links.must.T
        assert (labels[i] == labels[j]).all(), file.name
    assert len(rounds) > 1
    return len(links.cannot)


@pytest.mark.parametrize("name", CLUSTERING)
def test_labels_of_every_round_obey(
    name: str, tiny_settings: dict[str, Any], walkers: Path, rules: Path, tmp_path: Path
) -> None:
    kind = METHODS[name].Config
    known = {f.name for f in dataclasses.fields(kind)}
    data = str(walkers / "samples.csv")
    values = {**GRAPH, **tiny_settings, "data": data, "source": str(walkers), "constraints": str(rules), "rounds": 3}
    values = {k: v for k, v in values.items() if k in known} | {"output": str(tmp_path / "run")}
    if name == "pul-semi":  # the known identities contradict the pairs: say so
        with pytest.raises(ValueError, match=r"must differ \(.*\), but .*known identity"):
            train(from_mapping(kind, values, "test"), quiet=True)
        only = tmp_path / "tracklets.toml"
        only.write_text(RULES.split('\n[[rule]]\nkind = "pairs"')[0])
        rules, values["constraints"] = only, str(only)
    run = train(from_mapping(kind, values, "test"), quiet=True)
    count = _check(run, data, rules)
    facts = json.loads((run / "run.json").read_text())["constraints"]
    assert facts["file"] == values["constraints"]
    assert sum(rule["cannot"] for rule in facts["rules"]) >= count


@pytest.mark.parametrize(
    "settings", [{"labels": "mutual"}, {"clusterer": "kmeans"}, {"same_camera": "forbid"}], ids=str
)
def test_other_clusterers_obey_too(
    settings: dict[str, Any], tiny_settings: dict[str, Any], walkers: Path, rules: Path, tmp_path: Path
) -> None:
    if "same_camera" in settings:  # tracklets have several pictures of one camera
        only = tmp_path / "rules.toml"
        only.write_text(
            RULES.replace("same-tracklet", "same-frame").replace("review.csv", str(rules.parent / "review.csv"))
        )
        rules = only
    name = "3c" if "clusterer" in settings else "cluster-contrast"
    kind = METHODS[name].Config
    known = {f.name for f in dataclasses.fields(kind)}
    data = str(walkers / "samples.csv")
    values = {**GRAPH, **tiny_settings, "data": data, "constraints": str(rules), "rounds": 2, **settings}
    values = {k: v for k, v in values.items() if k in known} | {"output": str(tmp_path / "run")}
    _check(train(from_mapping(kind, values, "test"), quiet=True), data, rules)


def test_toc_and_a_changed_file(tiny_settings: dict[str, Any], walkers: Path, rules: Path, tmp_path: Path) -> None:
    kind = METHODS["cluster-contrast"].Config
    assert issubclass(kind, GraphConfig)
    known = {f.name for f in dataclasses.fields(kind)}
    mine = tmp_path / "mine.toml"
    mine.write_text('[[rule]]\nkind = "same-tracklet"\n')
    values = {
        **GRAPH, **tiny_settings, "data": str(walkers / "samples.csv"), "constraints": str(mine), "rounds": 2,
        "toc": True, "toc_relaxed": -1.0,
    }  # fmt: skip
    values = {k: v for k, v in values.items() if k in known} | {"output": str(tmp_path / "run")}
    config = from_mapping(kind, values, "test")
    run = train(config, quiet=True)
    names = [rule["rule"] for rule in json.loads((run / "run.json").read_text())["constraints"]["rules"]]
    assert names == ["same-tracklet", "toc"]
    train(config, resume=run, quiet=True)
    mine.write_text('[[rule]]\nkind = "same-frame"\n')
    with pytest.raises(ValueError, match="the constraints have changed since the run began"):
        train(config, resume=run, quiet=True)


def test_outliers_of_a_group_are_no_negatives_of_each_other() -> None:
    labels, groups = np.array([0, -1, -1, 0, -1, -1]), np.array([0, 1, 2, 0, 1, 3])
    single = ClusterContrastConfig(outliers="single")
    assert classes(single, labels, groups).tolist() == [0, 1, 2, 0, 1, 3]
    assert (classes(single, labels, np.arange(6)) == singletons(labels)).all()
    assert (classes(ClusterContrastConfig(outliers="drop"), labels, groups) == labels).all()


def test_training_with_labels_refuses_them(rules: Path) -> None:
    with pytest.raises(ValueError, match="clusters nothing"):
        METHODS["source"].Config(constraints=str(rules))
