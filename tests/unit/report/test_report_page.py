"""The report as a whole: what a run folder says stands in it, and nothing in it can run or load anything."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reid import report
from reid.report import page as page_module

ROUNDS: list[dict[str, Any]] = [
    {"round": 0, "mAP": 0.12345, "rank1": 0.3, "rank5": 0.4, "rank10": 0.5, "reciprocity": 0.41},
    {
        "round": 1,
        "loss": 4.5678,
        "n_clusters": 1234,
        "n_outliers": 9,
        "reciprocity": 0.55,
        "mAP": 0.4567,
        "rank1": 0.6,
    },
    {
        "round": 2,
        "loss": 3.25,
        "n_clusters": 321,
        "reciprocity": 0.66,
        "mAP": 0.4012,
        "rank1": 0.58,
        "selected": True,
    },
    {"round": 3, "loss": 2.5, "n_clusters": 300, "reciprocity": 0.6, "mAP": 0.3333, "rank1": 0.5},
]
FACTS: dict[str, Any] = {
    "started": "2025-01-02T03:04:05+00:00",
    "command": "reid-train --method buc",
    "method": "buc",
    "device": "cpu",
    "versions": {"torch": "9.8.7"},
    "weights_note": "random weights",
    "cameras_used": False,
    "instances": "image",
    "data": {
        "name": "walkers",
        "layout": "market1501",
        "train": 4321,
        "query": 12,
        "gallery": 34,
        "notes": [],
    },
}


class Page(HTMLParser):
    """Elements, attributes and text as a browser reads them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.raw = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(self.raw)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def boxes(self) -> int:
        return len([span for span in self.all("span") if span.get("class") == "missing"])


def make_run(
    run: Path,
    *,
    rounds: list[dict[str, Any]] = ROUNDS,
    facts: dict[str, Any] = FACTS,
    settings: str = "height = 64\nwidth = 32\n",
) -> Path:
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rounds))
    (run / "run.json").write_text(json.dumps(facts))
    (run / "config.toml").write_text(settings, encoding="utf-8")
    return run


def add_labels(run: Path, sizes: list[int], names: list[str] | None = None) -> None:
    """Write a picture for each member of clusters 0, 1, ... and labels.csv, with two outliers."""
    rng = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = [("path", "camid", "tracklet", "label")]
    (run / "pictures").mkdir()
    for label, size in enumerate(sizes):
        for k in range(size):
            name = names.pop(0) if names else f"p{label}_{k}.png"
            path = os.path.join(run, "pictures", name)
            with open(path, "wb") as file:
                Image.fromarray(rng.integers(0, 255, (64, 32, 3), dtype=np.uint8)).save(file, "PNG")
            rows.append((path, k % 2, k, label))
    rows += [("/gone/a.png", 0, -1, -1), ("/gone/b.png", 1, -1, -1)]
    with open(run / "labels.csv", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows(rows)


def assert_inert(page: Page) -> None:
    """No handler, no address to load from; one style and the package's scripts, which the policy knows by hash."""
    refused = {"iframe", "object", "embed", "base", "form"}
    assert not refused & {name for name, _ in page.elements}
    for name, attrs in page.elements:
        assert not [key for key in attrs if key.startswith("on") or key in ("style", "srcset")], name
        for key in ("src", "href", "xlink:href", "data", "action"):
            inside = name == "a" and attrs.get(key, "").startswith("#")
            assert inside or attrs.get(key, "data:").startswith("data:"), (name, attrs)
    assert "url(" not in page.raw
    assert "@import" not in page.raw
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none';")
    styles = re.findall(r"<style>(.*?)</style>", page.raw, re.DOTALL)
    scripts = re.findall(r"<script>(.*?)</script>", page.raw, re.DOTALL)
    assert len(styles) == 1
    assert len(scripts) == len(page.all("script")) >= 1
    for code in [*styles, *scripts]:
        assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policies[0]
    assert "unsafe" not in policies[0]
    assert not re.findall(r"https?://", page.raw)
    assert page.open == []


def test_figures_stand_in_the_page_as_they_were_logged(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = report.write(run)
    page = Page(path)
    assert path == run / "report.html"
    assert_inert(page)
    assert "buc on walkers" in page.text
    assert "4,321 training samples, 12 queries, 34 gallery samples" in page.text
    assert "Before training it reached mAP 12.3% and rank-1 30.0%" in page.text
    assert "After the last round (3) it reached mAP 33.3% and rank-1 50.0%" in page.text
    assert "selected without labels (2) reaches mAP 40.1% and rank-1 58.0%" in page.text
    assert "best round on the test set was 1, with mAP 45.7% and rank-1 60.0%; finding it takes" in page.text
    titles = {cell.get("title") for cell in page.all("td")}
    assert {"0.12345", "0.4567", "4.5678", "1234", "0.66"} <= titles
    assert {"4.568", "1,234", "45.7", "9.8.7", "2025-01-02T03:04:05+00:00"} <= set(page.texts)
    assert "not unsupervised" not in page.text


def test_method_with_identities_is_marked(tmp_path: Path) -> None:
    page = Page(report.write(make_run(tmp_path / "run", facts={**FACTS, "identities_used": True})))
    assert "trains with true identities, so it is not unsupervised" in page.text


def test_charts_and_pictures_are_described(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_labels(run, [10, 2, 1])
    page = Page(report.write(run))
    assert len(page.all("svg")) == 5  # retrieval, label-free, clusters, loss; sizes
    assert all(svg["role"] == "img" for svg in page.all("svg"))
    assert "Loss, rounds 1 to 3: mean loss 4.568 to 2.5" in page.text
    assert "Clusters by size: 1: 1, 2: 1, 3-4: 0, 5-8: 0, 9-16: 1" in page.text
    assert "13 pictures in 3 clusters; 2 outliers." in page.text
    assert len(page.all("img")) == 8 + 2
    assert all(re.fullmatch(r"p\d_\d\.png, cam [01]", img["alt"]) for img in page.all("img"))
    assert all(th.get("scope") in ("col", "row") for th in page.all("th"))
    first = base64.b64decode(page.all("img")[0]["src"].partition(",")[2])
    assert first[:3] == b"\xff\xd8\xff"


def test_hostile_strings_are_only_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>\"'&</style><script>"
    facts = {
        "method": evil,
        "device": evil,
        "weights_note": evil,
        "started": evil,
        "command": [evil, "b c"],
        "versions": {evil: evil},
        "instances": evil,
        "data": {
            "name": evil,
            "layout": evil,
            "train": evil,
            "notes": [evil, "\ud800 lone", 7],
            "fingerprint": "\u202eabc",
        },
    }
    rounds = [
        {"round": 0, "mAP": evil},
        {"round": 1, "mAP": 0.5, "warnings": [evil, "two\nlines"], "stop": evil},
    ]
    settings = f"backbone = '''{evil}'''\n'<b>' = [true, 2]\n"
    run = make_run(tmp_path / "run", rounds=rounds, facts=facts, settings=settings)
    names = [
        "<img onerror='x' src=y>.png",
        'a"b&amp;.png',
        "new\nline.png",
        "\u202egnp.exe.png",
        os.fsdecode(b"\xff\xfe.png"),
    ]
    add_labels(run, [5], names)
    page = Page(report.write(run))
    assert_inert(page)
    alts = {img["alt"] for img in page.all("img")}
    assert alts == {
        "<img onerror='x' src=y>.png, cam 0",
        'a"b&amp;.png, cam 1',
        "new\\nline.png, cam 0",
        "\\u202egnp.exe.png, cam 1",
        "\\xff\\xfe.png, cam 0",
    }
    assert evil in page.text
    assert "\u202e" not in page.raw
    assert "\\ud800 lone" in page.text
    assert "two\\nlines" in page.text
    assert "true, 2" in page.text


def test_only_the_untrained_network(tmp_path: Path) -> None:
    page = Page(report.write(make_run(tmp_path / "run", rounds=ROUNDS[:1])))
    assert "Before training it reached mAP 12.3%" in page.text
    assert "After the last round" not in page.text
    assert "Curves need two rounds or more" in page.text
    assert not page.all("svg")


def test_only_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"round": 1, "loss": 2.0}\n{"round": 2, "loss": NaN}\n')
    page = Page(report.write(tmp_path))
    assert "Retrieval was not measured" in page.text
    assert "holds no config.toml" in page.text
    assert "holds no run.json" in page.text
    assert "holds no clusters" in page.text
    assert "nan" not in {t.lower() for t in page.texts}


def test_without_pictures_no_folder_is_told(tmp_path: Path) -> None:
    data = {**FACTS["data"], "root": str(tmp_path / "run" / "pictures"), "notes": [f"{tmp_path}/secret/x.csv is read"]}
    facts = {**FACTS, "data": data, "command": f"reid-train --data {tmp_path}/run --weights /home/me/w.pth"}
    settings = f'data = "{tmp_path}/run"\noutput = "{tmp_path}/run"\nheight = 64\nwidth = 32\n'
    run = make_run(tmp_path / "run", facts=facts, settings=settings)
    add_labels(run, [4, 3])
    page = Page(report.write(run, pictures=False))
    assert not page.all("img")
    assert page.boxes == 7 + 2
    assert str(tmp_path) not in page.raw
    assert "/home/me" not in page.raw
    assert "secret" not in page.raw
    assert {"p0_0.png", "run", "x.csv is read"} <= {t.removeprefix("Data: ") for t in page.texts}
    assert "--weights w.pth" in page.text
    assert "7 pictures in 2 clusters" in page.text


def test_broken_pictures_become_boxes_with_their_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_labels(run, [4])
    (run / "pictures" / "p0_0.png").unlink()
    (run / "pictures" / "p0_1.png").write_bytes(b"no picture")
    (run / "pictures" / "p0_2.png").write_bytes((run / "pictures" / "p0_3.png").read_bytes()[:200])
    page = Page(report.write(run))
    assert [img["alt"] for img in page.all("img")] == ["p0_3.png, cam 1"]
    assert page.boxes == 3 + 2  # and two outliers
    assert "5 pictures can no longer be read" in page.text
    assert {"p0_0.png", "p0_1.png", "p0_2.png"} <= set(page.texts)


def test_page_keeps_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = dict.fromkeys(("loss", "mAP", "rank1", "reciprocity", "n_clusters"), 0.123456789)
    rounds = [{"round": k, **figures} for k in range(5000)]
    run = make_run(tmp_path / "run", rounds=rounds)
    add_labels(run, [8] * 13)
    whole = Page(report.write(run))
    assert len(whole.raw.encode()) < 6_000_000
    assert len(whole.all("img")) == 8 * 13
    assert "301 of 5000 rounds are shown" in whole.text
    monkeypatch.setattr(page_module, "MAX_BYTES", len(whole.raw.encode()) + page_module.AROUND_PICTURES - 100_000)
    capped = Page(report.write(run))
    assert 0 < len(capped.all("img")) < 8 * 13
    assert len(capped.all("img")) + capped.boxes == 8 * 13 + 2
    assert "pictures were left out to keep the page small" in capped.text
    assert len(capped.raw.encode()) < len(whole.raw.encode()) - 90_000


def test_same_folder_same_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_labels(run, [3, 3])
    first = report.write(run).read_bytes()
    assert report.write(run).read_bytes() == first
    assert not list(run.glob(".*"))
