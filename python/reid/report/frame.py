"""The frame of a page: head, links, style and script, under a policy that lets a browser load nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from reid.report.markup import Markup, join, tag

__all__ = ["section", "whole_page"]


def section(key: str, heading: str, *content: Markup | None) -> Markup:
    """A section that a link `#key` leads to."""
    return tag("section", tag("h2", heading, id=f"h-{key}"), *content, id=key, tabindex=-1, aria_labelledby=f"h-{key}")


def whole_page(
    title: str, sections: Sequence[Markup], links: Sequence[tuple[str, str]] = (), *, script: str = ""
) -> Markup:
    """Make the page.

    Parameters
    ----------
    title : str
        Of the window.
    sections : sequence of Markup
        In order.
    links : sequence of (str, str)
        Key and heading of the sections in the bar of links.
    script : str
        File of the package with this page's own script, run after the common one.

    Returns
    -------
    Markup
        Readable without scripts; loads nothing from anywhere.
    """
    style, common = _file("style.css"), _file("page.js")
    programs = [common, _file(script)] if script else [common]
    allowed = " ".join(f"'sha256-{_digest(program)}'" for program in programs)
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(style)}'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    ]
    bar = tag("nav", *(tag("a", heading, href=f"#{key}") for key, heading in links), aria_label="Sections")
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("div", bar, tag("span", id="switch"), class_="bar-top"),
        tag("main", join(list(sections)), id="content", tabindex=-1),
        *(tag("script", Markup(program)) for program in programs),
    )
    return Markup("<!DOCTYPE html>\n" + tag("html", tag("head", join(head)), body, lang="en") + "\n")


def _file(name: str) -> str:
    return resources.files("reid.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
