"""HTML as nested calls. Every string of the report passes `tag`, the only place where text becomes markup."""

from __future__ import annotations

import html

MAX_TEXT = 2000
"""Characters of one string that are shown; the rest of a longer one is cut off and marked."""


class Markup(str):
    """Text that is HTML already; made by `tag` and `join`, or from constants of this package."""

    __slots__ = ()


def plain(value: object) -> str:
    """Return `value` as text without characters that can't be seen.

    Newlines, direction marks, lone surrogates (undecodable bytes of a file name) and the like are shown as
    escapes, so that no name can reorder, hide or break what stands beside it.

    Parameters
    ----------
    value : object
        Shown as `str` does; text beyond `MAX_TEXT` characters is cut.

    Returns
    -------
    str
        Not yet escaped for HTML; encodes in UTF-8.
    """
    text = str(value)
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + " ... (cut)"
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """Make one element.

    Parameters
    ----------
    name : str
        Element name, a constant.
    *children : object
        Markup stays as it is; everything else is escaped text. None is left out.
    **attributes : object
        ``class_`` gives ``class``, ``text_anchor`` gives ``text-anchor``; None is left out, values are
        escaped.

    Returns
    -------
    Markup
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{_safe(value)}"')
    parts.append(">")
    if name not in ("meta", "link", "img"):
        parts += [_safe(child) for child in children if child is not None]
        parts.append(f"</{name}>")
    return Markup("".join(parts))


def join(parts: list[Markup]) -> Markup:
    """Put elements behind each other, one a line."""
    return Markup("\n".join(parts))


def _safe(value: object) -> str:
    return value if isinstance(value, Markup) else html.escape(plain(value), quote=True)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what os.fsdecode puts in place of the byte code - 0xDC00
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
