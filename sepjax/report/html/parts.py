"""Pieces that pages share: terms with their meaning, folded parts, what failed."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sepjax.report.html.markup import Markup, element


def definitions(terms: Mapping[str, Any], class_: str = "definitions") -> Markup:
    """Terms and their values; ``class_="facts"`` puts them side by side.

    Values that are None or empty are left out.
    """
    items = [
        element("div", element("dt", term(key)), element("dd", short(spell(value))))
        for key, value in terms.items()
        if value is not None and value not in ("", {})
    ]
    return element("dl", items, class_=class_)


def term(key: str) -> str:
    """The key of a JSON tree as a word.

    Example:
        >>> term("si_sdr"), term("sample_rate")
        ('SI-SDR', 'sample rate')
    """
    from sepjax.evaluation.metrics import METRICS  # pulls in jax

    known = METRICS.get(str(key))
    return known.label if known else str(key).replace("_", " ")


def spell(value: Any) -> str:
    """Any JSON value in words.

    Example:
        >>> spell({"split": "test", "sources": ["vocals", "bass"], "n_fft": 512})
        'split: test; sources: vocals, bass; n fft: 512'
    """
    if isinstance(value, Mapping):
        return "; ".join(f"{term(key)}: {spell(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(spell(part) for part in value)
    return str(value)


def short(text: str) -> str:
    """The first letters of every long hexadecimal number; a "-dirty" stays.

    Example:
        >>> short("v0.1-3-gabc1234-dirty"), short("5a" * 32)
        ('v0.1-3-gabc1234-dirty', '5a5a5a5a5a5a')
    """
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{8,}\b", r"\1", text)


def folded(summary: str, *content: Any, opened: bool = False) -> Markup:
    """A part of a page that a click opens."""
    return element("details", element("summary", summary), content, open=opened)


def failures(failed: Iterable[Mapping[str, Any]], lead: str) -> Markup | None:
    """The ``name`` and ``error`` of everything that failed; None if nothing did."""
    rows = ((element("b", one.get("name")), f": {one.get('error')}") for one in failed)
    items = [element("li", row) for row in rows]
    parts = element("p", lead), element("ul", items)
    return element("div", parts, class_="seen-note", role="note") if items else None
