"""The one HTML table: names at the left, numbers at the right, scrolled if too wide."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sepjax.report.html.markup import Markup, element


class Cell(NamedTuple):
    """A cell with attributes of its own, as :func:`cell` makes it."""

    content: Any
    attributes: dict[str, Any]


class Row(NamedTuple):
    """A row that has a style class."""

    cells: Sequence[Any]
    class_: str | None


def cell(content: Any = None, **attributes: Any) -> Cell:
    """A cell with attributes: ``cell("12", class_="quiet")``."""
    return Cell(content, attributes)


def table(
    head: Sequence[Any],
    rows: Iterable[Sequence[Any] | Row],
    *,
    over: Sequence[tuple[str, int]] = (),
    foot: Sequence[Any] = (),
    caption: str = "",
    columns: Sequence[str] = (),
    class_: str | None = None,
    scroll: bool = True,
) -> Markup:
    """A table whose first column names the rows.

    Args:
        head: names of the columns. Here and below a cell is text, markup, a number,
            None for an empty one, or made by :func:`cell`.
        rows: their cells.
        over: names of groups of columns above ``head``, each with its width.
        foot: cells of a last row, set apart.
        caption: what the table shows.
        columns: style classes of the cells of each column, the first one included.
        class_: of the table.
        scroll: put it into a box that scrolls where the page is too narrow.

    Example:
        >>> rows = [["bass", cell("4.2", class_="high")]]
        >>> text = table(["Class", "dB"], rows, scroll=False)
        >>> text.partition("<tbody>")[2].partition("</tbody>")[0]
        '<tr><th scope="row">bass</th><td class="high">4.2</td></tr>'
    """
    groups = []
    for text, width in over:
        style = {"colspan": width, "class_": "over" if text else None}
        groups.append(element("th", text, scope="colgroup", **style))
    names = element("tr", [_cell("th", name, scope="col") for name in head])
    parts = [
        element("caption", caption) if caption else None,
        element("thead", element("tr", groups) if groups else None, names),
        element("tbody", [_row(row, columns) for row in rows]),
        element("tfoot", _row(foot, columns)) if foot else None,
    ]
    markup = element("table", parts, class_=class_)
    return element("div", markup, class_="wide", tabindex=0) if scroll else markup


def _row(row: Sequence[Any] | Row, columns: Sequence[str]) -> Markup:
    cells, class_ = row if isinstance(row, Row) else (row, None)
    marks = []
    for content, style in zip(cells, itertools.chain(columns, itertools.repeat(""))):
        tag, scope = ("td", None) if marks else ("th", "row")
        marks.append(_cell(tag, content, scope=scope, class_=style or None))
    return element("tr", marks, class_=class_)


def _cell(tag: str, content: Any, **attributes: Any) -> Markup:
    if isinstance(content, Cell):
        content, attributes = content.content, attributes | content.attributes
    return element(tag, content, **attributes)
