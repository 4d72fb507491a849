"""The head of the report: the run in words, its key figures, and what it warned of."""

from __future__ import annotations

from reid.report.folder import Round, RunFolder
from reid.report.markup import Markup, join, tag
from reid.report.tables import percent

__all__ = ["key_figures", "summary", "title", "warnings"]

MAX_WARNINGS = 40
"""Different warnings that are listed."""


def title(run: RunFolder) -> str:
    """Name the run: method and data."""
    return f"{run.fact('method') or 'Training run'} on {run.fact('data', 'name') or 'unnamed data'}"


def summary(run: RunFolder) -> Markup:
    """Tell in one paragraph what was trained, on what, and what came of it."""
    said = [_data(run), _network(run), *_results(run)]
    return tag("p", " ".join(s for s in said if s))


def key_figures(run: RunFolder) -> Markup | None:
    """Table of the rounds that matter; None when retrieval was never measured."""
    if run.best is None:
        return None
    columns = [
        key
        for key in ("mAP", "rank1", "rank5", "rank10", "side_mAP", "side_rank1")
        if any(r.get(key) is not None for r in run.rounds)
    ]
    names = {"mAP": "mAP", "rank1": "rank-1", "rank5": "rank-5", "rank10": "rank-10", "side_mAP": "side mAP",
             "side_rank1": "side rank-1"}  # fmt: skip
    head = [tag("th", "", scope="col"), tag("th", "Round", scope="col", class_="number")]
    head += [tag("th", names[key], scope="col", class_="number") for key in columns]
    rows = [
        _figures("Untrained network", run.untrained, columns),
        _figures("After the last round", run.last, columns),
        _figures("Selected without labels", run.selected, columns, "chosen"),
        _figures("Best on the test set (oracle, uses identities)", run.best, columns, "oracle"),
    ]
    body = tag("tbody", *[row for row in rows if row])
    return tag("div", tag("table", tag("thead", tag("tr", *head)), body), class_="box scroll")


def warnings(run: RunFolder) -> Markup:
    """List what the data's reader noted, what the rounds warned of, and why the run stopped early."""
    notes = run.fact("data", "notes")
    items = [tag("li", "Data: ", note) for note in (notes if isinstance(notes, list) else [])]
    seen: dict[str, list[int]] = {}
    for r in run.rounds:
        for text in r.warnings:
            seen.setdefault(text, []).append(r.number)
    for text, rounds in list(seen.items())[:MAX_WARNINGS]:
        more = "" if len(rounds) == 1 else f" to {rounds[-1]} ({len(rounds)} times)"
        items.append(tag("li", f"Round {rounds[0]}{more}: ", text))
    if len(seen) > MAX_WARNINGS:
        items.append(tag("li", f"And {len(seen) - MAX_WARNINGS} more, in metrics.jsonl."))
    items += [
        tag("li", f"Stopped after round {r.number}: ", stop) for r in run.rounds if (stop := r.values.get("stop"))
    ]
    if not items:
        return tag("p", "None.", class_="soft")
    alarming = seen or any(r.values.get("stop") for r in run.rounds)
    return tag("div", tag("ul", join(items)), class_="box alarm" if alarming else "box")


def _data(run: RunFolder) -> str:
    method, name, layout = (
        run.fact("method") or "(not named)",
        run.fact("data", "name") or "unnamed data",
        run.fact("data", "layout"),
    )
    counts = [f"{_count(n)} {what}" for key, what in _SPLITS if (n := run.fact("data", key)) is not None]
    said = f"The method {method} was trained on {name}" + (f" (layout {layout})" if layout and layout != name else "")
    return said + (": " + ", ".join(counts) if counts else "") + "."


_SPLITS = (("train", "training samples"), ("query", "queries"), ("gallery", "gallery samples"))


def _network(run: RunFolder) -> str:
    backbone, note = run.settings.get("backbone"), run.fact("weights_note")
    said = f"The network is {backbone}" if backbone else "The network is not named"
    said += f", starting from {note}" if note else ""
    if run.fact("instances"):
        said += f"; it clusters {run.fact('instances')}s"
    cameras = run.fact("cameras_used")
    if isinstance(cameras, bool):
        said += ", and training used camera ids" if cameras else ", and training used no camera ids"
    if run.fact("identities_used") is True:
        said += ". This method trains with true identities, so it is not unsupervised"
    source = run.fact("source")
    if isinstance(source, dict):
        said += (
            f". It also learnt from {source['train']} pictures of {source['identities']} known identities of a source"
        )
    return said + "."


def _results(run: RunFolder) -> list[str]:
    chosen, best = run.selected, run.best
    said = []
    if run.untrained and run.untrained.get("mAP") is not None:
        said.append(f"Before training it reached {_scores(run.untrained)}.")
    if run.last and run.last.get("mAP") is not None:
        said.append(f"After the last round ({run.last.number}) it reached {_scores(run.last)}.")
    if chosen and chosen.get("mAP") is not None:
        said.append(f"The round selected without labels ({chosen.number}) reaches {_scores(chosen)}.")
    elif chosen:
        said.append(f"The round selected without labels is {chosen.number}, whose retrieval was not measured.")
    if best is None:
        return [*said, "Retrieval was not measured: that takes a query and a gallery with identities."]
    said.append(
        f"The best round on the test set was {best.number}, with {_scores(best)}; "
        "finding it takes the identities (oracle), so it is an upper bound and no result."
    )
    return said


def _scores(r: Round) -> str:
    rank1 = r.get("rank1")
    return f"mAP {percent(r.get('mAP'))}%" + (f" and rank-1 {percent(rank1)}%" if rank1 is not None else "")


def _figures(name: str, r: Round | None, columns: list[str], kind: str | None = None) -> Markup | None:
    if r is None:
        return None
    cells = [tag("td", percent(r.get(key)), title=r.get(key), class_="number") for key in columns]
    return tag("tr", tag("th", name, scope="row"), tag("td", r.number, class_="number"), *cells, class_=kind)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
