"""The page as a document: complete, escaped, self-contained, the same every time."""

import base64
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from fake_run import SOURCES, write_fake_run

from sepjax.report import write_report
from sepjax.report.html import players as audio

TITLES = ["Scores", "Training", "Learned filters", "Listening"]
VOID = ("meta", "link", "img", "br", "hr")


class Outline(HTMLParser):
    """Elements with their attributes and text, and whether all of them close."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self, tag: str = "") -> str:
        return "".join(text for name, text in self.text if tag in ("", name))


@pytest.fixture(scope="module")
def outline(page) -> Outline:
    return Outline(page.read_text())


def test_sections_stand_in_order_with_all_their_parts(outline):
    assert [t for tag, t in outline.text if tag == "h2"] == TITLES
    assert len(outline.all("audio")) == 2 * (1 + 2 * len(SOURCES))
    assert len(outline.all("img")) == 2 * (1 + 2 * len(SOURCES)) + 2 * 2
    assert len(outline.all("polyline")) == 2 * 2 * 8  # kernels x times x filters
    assert len([a for a in outline.all("path") if "source" in a["class"]]) == 3
    assert outline.open == []


def test_verdict_and_table_give_the_numbers_of_the_results(page, outline):
    results = json.loads((page.parent / "results.json").read_text())
    gains = [results["improvement"][name]["si_sdr"] for name in SOURCES]
    oracle = [results["oracle"][name]["si_sdr"] for name in SOURCES]
    words = outline.words().replace("\N{NO-BREAK SPACE}", " ")
    assert f"improves the mixture by {statistics.fmean(gains):.1f} dB SI-SDR" in words
    assert f"reaches {statistics.fmean(oracle):.1f} dB" in words
    assert "4 test songs it never saw in training" in words
    cells = [text for tag, text in outline.text if tag == "td"]
    assert f"{gains[1]:+.1f}" in cells
    assert "3" in cells, "the last class is silent in one of four tracks"
    assert results["definition"]["usdr"] in words


def test_branches_stand_before_the_filters(outline):
    cells = [text for tag, text in outline.text if tag in ("td", "th")]
    first = cells.index("encoder/conv_0")
    row = ["220", "0.5", "8.25", "0.75", "0.333", "\N{EN DASH}"]
    assert cells[first + 1 :][: len(row)] == row


def test_page_is_accessible(outline):
    assert outline.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in outline.all("img"))
    assert all(player["aria-label"] for player in outline.all("audio"))
    assert all(cell.get("scope") for cell in outline.all("th"))
    charts = [a for _, a in outline.elements if a.get("role") == "img"]
    assert len(charts) == 2
    assert all(chart["aria-label"] for chart in charts)


def test_page_needs_nothing_else(page, outline):
    links = [
        value
        for _, attributes in outline.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "poster", "data")
    ]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    code = outline.words("style") + outline.words("script")
    assert not re.search(
        r"https?:|file:|url\(|@import|fetch\(", code + page.read_text()
    )


def test_full_size_report_stays_below_8_megabytes(tmp_path):
    sources = ("vocals", "drums", "bass", "electric guitar", "wind", "other")
    run = write_fake_run(
        tmp_path, sources=sources, sample_rate=16000, seconds=8, excerpts=3
    )
    assert write_report(run).stat().st_size < 8e6


def test_same_run_gives_the_same_bytes(run, tmp_path):
    first = write_report(run).read_bytes()
    elsewhere = shutil.copytree(run, tmp_path / "elsewhere")
    assert write_report(elsewhere).read_bytes() == first
    assert not list(run.glob("*.partial"))


@pytest.mark.parametrize(
    ("file", "title", "hint"),
    [
        ("results.json", "Scores", "sepjax evaluate"),
        ("metrics.jsonl", "Training", "--mode=train"),
        ("filters.npz", "Learned filters", "when training ends"),
        ("audio/index.json", "Listening", "eval.excerpts"),
    ],
)
def test_absent_part_is_one_line_that_says_how_to_get_it(run, file, title, hint):
    (run / file).unlink()
    page = write_report(run).read_text()
    assert [t for tag, t in Outline(page).text if tag == "h2"] == TITLES
    section = page.split(f">{title}</h2>")[1].split("</section>")[0]
    assert hint in section
    assert page.count('class="absent"') == 1


def test_empty_folder_gets_a_page(tmp_path):
    page = write_report(tmp_path).read_text()
    assert page.count('class="absent"') == 4
    assert "not trained yet" in page


def test_text_from_files_is_escaped(tmp_path):
    evil = '<script>alert("1")</script>&amp;'
    sources = ("vocals", "<img src=x onerror=alert(1)>")
    run = write_fake_run(tmp_path, name=evil, sources=sources)
    results = json.loads((run / "results.json").read_text())
    results["tracks"][0]["name"] = results["definition"][evil] = evil
    results["failed"] = [{"name": evil, "error": "</style><b onclick=x>"}]
    (run / "results.json").write_text(json.dumps(results))
    index = json.loads((run / "audio/index.json").read_text())
    index[0]["track"] = '" onplay="alert(1)'
    (run / "audio/index.json").write_text(json.dumps(index))
    outline = Outline(write_report(run).read_text())
    assert len(outline.all("script")) == 1
    assert all(image["src"].startswith("data:") for image in outline.all("img"))
    handlers = [a for _, a in outline.elements if any(n.startswith("on") for n in a)]
    assert handlers == []
    assert outline.words("h1").startswith(evil)


def test_tracks_trained_on_are_marked(tmp_path, outline):
    assert "SEEN" not in outline.words()
    words = Outline(write_report(write_fake_run(tmp_path, seen=2)).read_text()).words()
    assert "2 of the 4 scored tracks were trained on" in words
    assert words.count("SEEN") == 1 + 1 + 2  # title, note, and a badge per track


def test_verdict_does_not_flatter(run):
    results = json.loads((run / "results.json").read_text())
    for name in SOURCES:
        results["model"][name]["si_sdr"] = results["mixture"][name]["si_sdr"] - 2
        results["improvement"][name]["si_sdr"] = -2.0
    (run / "results.json").write_text(json.dumps(results))
    words = Outline(write_report(run).read_text()).words()
    assert "worsens the mixture by 2.0" in words
    assert "Worse than leaving the mixture alone: vocals, electric guitar" in words
    assert "of the way there" not in words


def test_class_without_a_score_is_no_zero(run):
    results = json.loads((run / "results.json").read_text())
    for part in ("model", "mixture", "oracle", "improvement"):
        results[part]["bass"]["si_sdr"] = None
    (run / "results.json").write_text(json.dumps(results))
    words = Outline(write_report(run).read_text()).words()
    assert "on average over 2 classes" in words
    assert "Mean of 2" in words


def decode(player: dict[str, str]) -> tuple[np.ndarray, int]:
    content = base64.b64decode(player["src"].split(";base64,")[1])
    return soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)


def test_players_hold_the_very_samples_of_the_files(page, outline):
    entry = json.loads((page.parent / "audio/index.json").read_text())[0]
    files = [entry["mixture"], entry["references"]["vocals"]]
    files.append(entry["estimates"]["vocals"])
    for file, player in zip(files, outline.all("audio")):
        path = page.parent / "audio" / file
        stored, stored_rate = soundfile.read(path, dtype="int16", always_2d=True)
        samples, rate = decode(player)
        assert player["src"].startswith("data:audio/wav;")
        assert rate == stored_rate
        assert (samples == stored).all()


@pytest.mark.parametrize("sample_rate", [44100, 20000])
def test_players_beyond_the_budget_are_mp3_and_say_so(
    tmp_path, monkeypatch, sample_rate
):
    run = write_fake_run(tmp_path, sample_rate=sample_rate)
    wav = decode(Outline(write_report(run).read_text()).all("audio")[0])[0]
    monkeypatch.setattr(audio, "BUDGET", 7 * 17_000)
    page = write_report(run).read_text()
    assert "players are MP3" in page
    players = Outline(page).all("audio")
    assert sum(len(player["src"]) for player in players) * 3 / 4 < 7 * 17_500
    mp3, rate = decode(players[0])
    assert rate == {44100: 44100, 20000: 22050}[sample_rate], "a rate that MP3 has"
    assert len(mp3) / rate == pytest.approx(len(wav) / sample_rate, abs=1e-3)


@pytest.mark.parametrize("name", ["config.json", "results.json", "audio/index.json"])
def test_damaged_json_names_the_file(run, name):
    (run / name).write_text('{"tracks": [')
    with pytest.raises(ValueError, match=rf"{name}: Expecting.*anew"):
        write_report(run)


def test_listed_but_missing_audio_names_the_file(run):
    next(run.glob("audio/*/bass.estimate.flac")).unlink()
    with pytest.raises(ValueError, match=r"bass\.estimate\.flac.*evaluate the run"):
        write_report(run)


def test_metrics_cut_off_by_a_kill_are_read_and_counted(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 10')
    assert "1 unreadable line(s)" in write_report(run).read_text()


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such run folder"):
        write_report(tmp_path / "nowhere")


def test_import_is_light():
    code = "import sys, sepjax.report; print('matplotlib' in sys.modules)"
    code += "; print('soundfile' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_smallest_runs_have_a_page(tmp_path):
    run = write_fake_run(tmp_path, sources=("vocals",), tracks=1, seconds=0.05)
    results = json.loads((run / "results.json").read_text())
    del results["oracle"], results["definition"], results["tracks"][0]["mixture"]
    (run / "results.json").write_text(json.dumps(results))
    index = json.loads((run / "audio/index.json").read_text())
    index[0]["estimates"] = {}
    (run / "audio/index.json").write_text(json.dumps(index))
    (run / "config.json").unlink()
    np.savez(run / "filters.npz", **{"final/encoder/conv": np.zeros((1, 1))})
    line = {"kind": "train", "step": 0, "loss": None}
    (run / "metrics.jsonl").write_text(json.dumps(line))
    words = Outline(write_report(run).read_text()).words()
    assert "improves the mixture by" in words
    assert "no estimate" in words
    assert "1 filter of 1 tap" in words


def test_silent_class_of_an_excerpt_is_said_to_be_silent(run):
    file = next(run.glob("audio/*/bass.reference.flac"))
    samples, rate = soundfile.read(file)
    soundfile.write(file, 0 * samples, rate, "PCM_16")
    words = Outline(write_report(run).read_text()).words()
    assert words.count("silent in this excerpt") == 1
    assert words.count("over the mixture") == 1 + 2 + 1  # chart, classes, caption


def test_one_evaluation_is_a_point(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    first = next(line for line in lines if '"valid"' in line)
    (run / "metrics.jsonl").write_text(first)
    circles = Outline(write_report(run).read_text()).all("circle")
    points = [c for c in circles if c["class"].startswith(("source", "mean"))]
    assert len(points) == len(SOURCES) + 1
    assert {c["cx"] for c in points} == {"100.00%"}
