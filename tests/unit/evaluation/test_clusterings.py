"""Agreement of clusters with identities, against scikit-learn and loops."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from reid.data.records import Dataset, Samples
from reid.evaluation.clusterings import clustering_scores, label_result, match_labels, read_labels


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 9), st.integers(1, 9))
def test_equals_scikit_learn_and_loops(seed: int, n: int, identities: int, clusters: int) -> None:
    rng = np.random.default_rng(seed)
    pid, labels = rng.integers(0, identities, n), rng.integers(-1, clusters, n)
    found = clustering_scores(pid, labels)
    own = np.where(labels < 0, 100 + np.arange(n), labels)  # each outlier alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert found["ari"] == pytest.approx(metrics.adjusted_rand_score(pid, own), abs=1e-9)
        assert found["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(pid, own), abs=1e-9)
        assert found["v_measure"] == pytest.approx(metrics.v_measure_score(pid, own), abs=1e-9)
    same, together = pid[:, None] == pid, own[:, None] == own
    pairs = ~np.eye(n, dtype=bool)
    both = (same & together & pairs).sum()
    with np.errstate(invalid="ignore"):
        precision, recall = both / (together & pairs).sum(), both / (same & pairs).sum()
    np.testing.assert_allclose([found["pairwise_precision"], found["pairwise_recall"]], [precision, recall], atol=1e-12)
    shared = (same & together).sum(axis=1)
    assert found["bcubed_precision"] == pytest.approx((shared / together.sum(axis=1)).mean())
    assert found["bcubed_recall"] == pytest.approx((shared / same.sum(axis=1)).mean())
    best = sum(np.bincount(pid[own == c]).max() for c in np.unique(own))
    assert found["purity"] == pytest.approx(best / n)
    assert (found["n_outliers"], found["n_clusters"]) == ((labels < 0).sum(), len(np.unique(labels[labels >= 0])))


def test_what_is_perfect_and_what_is_not() -> None:
    pid = np.repeat(np.arange(5), 4)
    perfect = clustering_scores(pid, pid + 2**62)  # names of clusters mean nothing
    for name in ("ari", "ami", "v_measure", "pairwise_f", "bcubed_f", "purity"):
        assert perfect[name] == pytest.approx(1)
    alone = clustering_scores(pid, np.full(20, -1))
    assert alone["purity"] == 1
    assert alone["bcubed_precision"] == 1
    assert alone["bcubed_recall"] == 0.25
    assert np.isnan(alone["pairwise_precision"])
    one = clustering_scores(pid, np.zeros(20, dtype=np.int64))
    assert (one["pairwise_recall"], one["ari"], one["purity"]) == (1, 0, 0.2)


def test_many_clusters_of_one() -> None:
    rng = np.random.default_rng(0)
    pid = rng.integers(0, 9000, 50_000)
    found = clustering_scores(pid, np.where(rng.random(50_000) < 0.7, -1, pid))
    assert found["bcubed_precision"] == 1
    assert 0 < found["ami"] < 1


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('path,camid,label,pid\n\'=a.jpg,1,4,7\n"b,\nc.jpg",1,-1,\n')
    read = read_labels(tmp_path / "labels.csv")
    assert read.paths == ["=a.jpg", "b,\nc.jpg"]
    assert read.labels.tolist() == [4, -1]
    assert read.pid is not None
    assert read.pid.tolist() == [7, -1]
    result = label_result(read, read.pid)
    assert result["figures"]["n_samples"] == 1
    assert result["figures"]["pairwise_recall"] is None
    assert "1 pictures without a known identity" in result["notes"][0]
    with pytest.raises(ValueError, match="no picture has an identity"):
        label_result(read, np.array([-1, -1]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,camid\na,1\n", "no column label"),
        ("path,label\n", "no line below"),
        ("path,label\na,0\nb,x\n", "line 3: label 'x'"),
        ("path,label\na\n", "line 2: label ''"),
        ("", "no column label"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        read_labels(tmp_path / "labels.csv")
    assert "labels.csv" in str(error.value)


def test_identities_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    train = Samples(
        frames=((str(root / "a.jpg"), str(root / "b.jpg")), (str(root / "sub/c.jpg"),)), pid=np.array([3, 5]),
        camid=np.array([0, 0]), tracklet=np.array([0, 1]), start=np.full(2, np.nan), end=np.full(2, np.nan),
    )  # fmt: skip
    data = Dataset("x", "table", root, train, None, None, ())
    (tmp_path / "labels.csv").write_text(f"path,label\n{root}/b.jpg,0\nsub/c.jpg,1\ndata/a.jpg,0\nelsewhere.jpg,1\n")
    monkeypatch.chdir(tmp_path)
    labels = read_labels("labels.csv")
    assert match_labels(labels, data).tolist() == [3, 5, 3, -1]
    (tmp_path / "other.csv").write_text("path,label\nq.jpg,0\n")
    with pytest.raises(ValueError, match="none of 1 pictures"):
        match_labels(read_labels(tmp_path / "other.csv"), data)
