"""The feasibility page: complete, escaped, self-contained, honest."""

import copy
from html.parser import HTMLParser

import pytest

from sepjax.report.pages.feasibility import render, write_page
from sepjax.report.pages.feasibility_table import PROCEDURES, format_report

NAMES = ("vocals", "R&B <horns>", "never")
SCORES = (9.25, -1.5, None)


def make_results():
    scores = {
        name: {"si_sdr": value, "sdr": value} for name, value in zip(NAMES, SCORES)
    }
    both = NAMES[:2]
    return {
        "definition": {
            **{"mark": 6.0, "power": 2.0, "window_seconds": 6.0, "songs": 2},
            **{"mask": "ratio", "songs_of_a_class": "all that have it"},
            "classes": list(NAMES),
        },
        "classes": {
            name: {
                **{"songs": 2, "activity": 0.5, "level": value and -20.0},
                "reaches_mark": value == 9.25,
            }
            for name, value in zip(NAMES, SCORES)
        },
        "scores": {procedure: copy.deepcopy(scores) for procedure in PROCEDURES},
        "clipped": {
            procedure: {
                **{"mixture": 1234, "samples": 10000, "songs": 1},
                "stems": dict.fromkeys(NAMES, 7),
            }
            for procedure in PROCEDURES
        },
        "overlap": {
            "matrix": [[1.0, 0.61, None], [0.61, 1.0, None], [None, None, None]],
            "pairs": [{"classes": list(both), "overlap": 0.61}],
        },
        "groupings": [
            {
                "groups": [[name] for name in both],
                "scores": {name: scores[name] for name in both},
                "reaches_mark": False,
            },
            {
                "groups": [list(both)],
                "scores": {"+".join(both): {"si_sdr": 8.0, "sdr": 8.0}},
                "reaches_mark": True,
            },
        ],
        "tracks": [
            {
                **{"name": name, "seconds": 61.0, "clipped_in_files": 3},
                "scores": {"adaptive": scores},
            }
            for name in ("<b>song</b>", "other song")
        ],
        "failed": [{"name": "broken", "error": "torn & <lost>"}],
        "provenance": {"data": "/music/a & b", "commit": "abc"},
    }


class Reader(HTMLParser):
    """Collects text and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.links += [v for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def read(tmp_path):
    def parse(results):
        page = write_page(results, tmp_path / "oracle.html").read_text("utf-8")
        reader = Reader()
        reader.feed(page)
        assert not reader.open
        assert page.startswith("<!DOCTYPE html>")
        return reader, "".join(reader.text)

    return parse


def test_everything_is_there_and_escaped(read):
    reader, text = read(make_results())
    assert set(reader.links) == {"data:,", "#meaning"}  # nothing is fetched
    for expected in (
        "1 of 3 classes",
        "Below it: R&B <horns>, never",
        "9.25",
        "\N{MINUS SIGN}1.50",
        "0.61",
        "1,234",
        "12.340 %",
        "broken",
        "torn & <lost>",
        "<b>song</b>",
        "vocals + R&B <horns>",
        "The last line is the suggestion",
        "It is not an upper bound",
        "about 0.8",
    ):
        assert expected in text, expected


def test_a_set_that_needs_no_grouping_says_so(read):
    results = make_results()
    results["groupings"] = results["groupings"][1:]
    results["failed"] = []
    _, text = read(results)
    assert "nothing to merge" in text
    assert "Could not be measured" not in text
    results["groupings"][0]["reaches_mark"] = False
    assert "too few classes" in read(results)[1]


def test_one_class_with_one_song_and_only_bad_scores(read):
    results = make_results()
    results["scores"]["adaptive"] = {
        name: {"si_sdr": None, "sdr": None} for name in NAMES
    }
    results["tracks"] = results["tracks"][:1]
    _, text = read(results)
    assert "1 song" in text


def test_same_results_same_bytes():
    assert render(make_results()) == render(make_results())


def test_the_terminal_table_is_aligned_and_complete():
    text = format_report(make_results())
    header = next(line for line in text.splitlines() if line.startswith("class "))
    row = next(line for line in text.splitlines() if line.startswith("vocals"))
    assert len(header) == len(row)
    assert row.endswith("yes")
    assert "R&B <horns>" in text
    assert "not an upper bound" in text
    assert "FAILED broken: torn & <lost>" in text
