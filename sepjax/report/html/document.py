"""The one page: kicker, title, lead and sections, and the files shipped beside it."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from sepjax.report.html.markup import Markup, element
from sepjax.storage import write_atomically


class Section(NamedTuple):
    """A part of a page, left out where ``content`` is None or empty."""

    title: str  # empty: no heading
    content: Any
    anchor: str = ""  # by which links find it


def asset(name: str) -> Markup:
    """A style sheet or script of the package, as it stands."""
    return Markup((resources.files("sepjax.report.html") / name).read_text("utf-8"))


def page(
    kicker: str,
    name: Any,
    lead: Any,
    sections: Sequence[Section],
    *,
    title: str = "",
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    links: bool = False,
) -> Markup:
    """A self-contained page as one element.

    Args:
        kicker: what kind of page it is, above the name.
        name: its heading.
        lead: what follows the heading: the verdict, facts, warnings.
        sections: the rest; those without content are left out.
        title: of the browser's window; the name by default.
        styles: of the package, beside ``page.css``.
        scripts: of the package.
        links: put links to all sections into the head of the page.

    Example:
        >>> "<title>scores</title>" in page("a folder", "scores", "4.2 dB", [])
        True
    """
    shown = [section for section in sections if section.content]
    anchors = [element("a", s.title, href=f"#{s.anchor}") for s in shown if s.anchor]
    above = element("p", f"sepjax \N{MIDDLE DOT} {kicker}", class_="kicker")
    nav = element("nav", anchors, aria_label="Sections") if links else None
    header = element("header", above, element("h1", name), lead, nav)
    main = element("main", [_section(*section) for section in shown])
    script = [element("script", asset(script)) for script in scripts]
    body = element("body", header, main, script)
    return element("html", _head(title or str(name), styles), body, lang="en")


def _section(title: str, content: Any, anchor: str) -> Markup:
    name = f"{anchor}-title" if anchor else None
    heading = element("h2", title, id=name) if title else None
    return element("section", heading, content, id=anchor or None, aria_labelledby=name)


def _head(title: str, styles: Sequence[str]) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        # An empty icon: browsers would otherwise ask the network for one.
        element("link", rel="icon", href="data:,"),
        element("style", *map(asset, ("page.css", *styles))),
    )


def write_document(markup: Markup, path: Path) -> Path:
    """Write a page under its name at once: a reader never meets half of a page."""
    return write_atomically(path, f"<!DOCTYPE html>\n{markup}\n")
