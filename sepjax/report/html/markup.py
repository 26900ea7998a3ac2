"""HTML that is escaped by construction: only :func:`element` makes markup."""

import html
from typing import Any

VOID = frozenset(("br", "hr", "img", "link", "meta"))
# What neither HTML nor XML may hold; surrogates have no bytes.
CONTROLS = dict.fromkeys(
    (*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000)),
    "\N{REPLACEMENT CHARACTER}",
) | dict.fromkeys((0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")


class Markup(str):
    """A string that is HTML already; every other string is escaped."""


def element(tag: str, /, *children: Any, **attributes: Any) -> Markup:
    """One HTML or SVG element.

    Args:
        tag: its name.
        *children: markup as it is, lists item by item, ``None`` left out, and
            everything else escaped as text.
        **attributes: ``class_`` is written ``class`` and ``aria_label``
            ``aria-label``; ``True`` writes the bare name, ``None`` and ``False``
            nothing.

    Example:
        >>> element("p", "R&B ", element("b", 3), class_="note", hidden=True)
        '<p class="note" hidden>R&amp;B <b>3</b></p>'
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def join(children: Any) -> Markup:
    """Several children as one piece of markup.

    Example:
        >>> join(["a < b", None, element("br")])
        'a &lt; b<br>'
    """
    return Markup("".join(_child(child) for child in children))


def _child(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, list | tuple):
        return join(child)
    return _escaped(child)


def _escaped(text: Any) -> str:
    return html.escape(str(text)).translate(CONTROLS)


def _attribute(name: str, value: Any) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{_escaped(value)}"'
