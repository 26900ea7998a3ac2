"""What all pages have in common: their head, and the files shipped beside this one."""

from importlib import resources
from pathlib import Path

from sepjax.report.html.markup import Markup, element
from sepjax.storage import write_atomically


def asset(name: str) -> Markup:
    """A style sheet or script of the package, as it stands."""
    return Markup(
        resources.files("sepjax.report.html").joinpath(name).read_text("utf-8")
    )


def head(title: str, *styles: str, scheme: str | None = "light dark") -> Markup:
    """The head of a self-contained page: title, ``page.css`` and other style sheets.

    Example:
        >>> "<title>scores</title>" in head("scores")
        True
    """
    schemes = [element("meta", name="color-scheme", content=scheme)] if scheme else []
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        *schemes,
        element("title", title),
        # An empty icon: browsers would otherwise ask the network for one.
        element("link", rel="icon", href="data:,"),
        element("style", *map(asset, ("page.css", *styles))),
    )


def write_document(page: Markup, path: Path) -> Path:
    """Write a page under its name, complete: a reader never meets half of it."""
    return write_atomically(path, f"<!DOCTYPE html>\n{page}\n")
