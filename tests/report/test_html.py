"""The shared parts of pages: escaped, closed, accessible."""

import math
from html.parser import HTMLParser

import pytest

from sepjax.report.html.document import Section, page
from sepjax.report.html.markup import element
from sepjax.report.html.numbers import GAP, MINUS, count, decibels, duration, percent
from sepjax.report.html.parts import definitions, failures
from sepjax.report.html.table import Row, cell, table


class Tags(HTMLParser):
    """Every tag with its attributes; all of them are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


def test_a_table_has_heads_for_rows_and_columns_and_styles_by_column():
    text = table(
        ["<Class>", "dB", "Songs"],
        [["R&B", cell("1.0", class_="high"), 3], Row(["bass", None, 4], "reached")],
        over=[("", 1), ("scores", 2)],
        foot=["Mean", "1.0", ""],
        caption="SI-SDR",
        columns=["", "quiet"],
    )
    tags = Tags(text)
    scopes = "colgroup colgroup col col col row row row".split()
    assert [a["scope"] for a in tags.all("th")] == scopes
    styles = ["high", None, "quiet", None, "quiet", None]
    assert [a.get("class") for a in tags.all("td")] == styles
    assert [a.get("class") for a in tags.all("tr")][3] == "reached"
    assert "&lt;Class&gt;" in text
    assert "R&amp;B" in text
    assert tags.all("div") == [{"class": "wide", "tabindex": "0"}]


def test_a_page_leaves_out_what_is_empty_and_links_the_rest():
    sections = [
        Section("Scores", element("p", "4.2"), "scores"),
        Section("Left out", None, "left"),
        Section("", element("pre", "all")),
    ]
    text = page("a <run>", "R&B", element("p", "lead"), sections, links=True)
    tags = Tags(text)
    assert [a["href"] for a in tags.all("a")] == ["#scores"]
    assert tags.all("section") == [
        {"id": "scores", "aria-labelledby": "scores-title"},
        {},
    ]
    assert "<title>R&amp;B</title>" in text
    assert "a &lt;run&gt;" in text
    assert "Left out" not in text


def test_terms_and_failures_leave_nothing_unsaid():
    text = definitions({"si_sdr": "whole song", "n_fft": 512, "empty": None, "x": {}})
    assert all(word in text for word in ("SI-SDR", "n fft"))
    assert not any(word in text for word in ("empty", ">x<"))
    assert failures([], "failed:") is None
    assert "a &amp; b" in failures([{"name": "song", "error": "a & b"}], "failed:")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, GAP),
        (math.nan, GAP),
        (-math.inf, MINUS + "∞"),
        (-0.04, "0.0"),
        (-12.34, MINUS + "12.3"),
    ],
)
def test_decibels_of_anything(value, text):
    assert decibels(value) == text


def test_numbers_carry_their_units():
    assert percent(1) == "100 %"
    assert (count(0, "song"), count(1, "song")) == ("0 songs", "1 song")
    assert [duration(s) for s in (59.94, 60, 3600)] == ["59.9 s", "1.0 min", "1.0 h"]
