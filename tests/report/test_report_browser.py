"""The page in a real browser: it renders, decodes, plays, and fits a phone."""

import pytest
from fake_run import write_fake_run

from sepjax.report import write_report
from sepjax.report.html import players as audio
from sepjax.report.run_folder import read_run
from tests.support.browser import chromium

WAIT = 20  # seconds; a loaded machine is slow to decode


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium"), WAIT) as browser:
        browser.get(page.as_uri())
        yield browser


def show(browser, width: int, scheme: str) -> None:
    size = {
        "width": width,
        "height": 844,
        "deviceScaleFactor": 1,
        "mobile": width < 600,
    }
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_every_player_decodes_to_its_length(browser):
    durations = browser.execute_async_script(
        """
        const done = arguments[0], players = [...document.querySelectorAll("audio")];
        const ready = (p) => p.readyState > 0 || p.error ? p.duration : new Promise(
          (resolve) => ["loadedmetadata", "error"].forEach(
            (name) => p.addEventListener(name, () => resolve(p.duration))));
        Promise.all(players.map(ready)).then(done);
        """
    )
    assert len(durations) == 14
    assert durations == pytest.approx([1.0] * 14, abs=1e-3)


def test_every_picture_is_drawn(browser):
    sizes = browser.execute_script(
        "return [...document.images].map((i) => [i.naturalWidth, i.clientWidth])"
    )
    assert len(sizes) == 18
    assert all(natural > 0 and shown > 50 for natural, shown in sizes)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map((s) =>"
        " [s.getBoundingClientRect().width, s.getBoundingClientRect().height])"
    )
    assert boxes
    assert all(width > 30 and height > 10 for width, height in boxes)


def test_starting_a_player_pauses_the_others_and_keeps_the_moment(browser):
    first, second = browser.execute_async_script(
        """
        const done = arguments[0], [a, b] = document.querySelectorAll("audio");
        a.currentTime = 0.5;
        const started = (p) => new Promise((resolve) =>
          p.addEventListener("playing", resolve, { once: true }));
        (async () => {
          const one = started(a); a.play(); await one;
          const two = started(b); b.play(); await two;
          const state = [[a.paused, a.currentTime], [b.paused, b.currentTime]];
          b.pause(); done(state);
        })();
        """
    )
    assert first[0] is True
    assert second[0] is False
    assert first[1] >= 0.5
    assert second[1] >= 0.5, "the second goes on where the first was"


def test_every_player_seeks_up_to_its_end(browser):
    failed = browser.execute_async_script(
        """
        const done = arguments[0], failed = [];
        const arrival = (p) => new Promise((resolve) => {
          p.addEventListener("seeked", () => resolve(null), { once: true });
          p.addEventListener("error", () => resolve(p.error.message), { once: true });
        });
        (async () => {
          for (const p of document.querySelectorAll("audio"))
            for (const part of [0.03, 0.5, 0.95, 0.99, 0]) {
              const arrived = arrival(p);
              p.currentTime = part * p.duration;
              const message = await arrived;
              if (message) { failed.push(message); break; }
            }
          done(failed);
        })();
        """
    )
    assert failed == []


def test_a_click_on_a_spectrogram_seeks(browser):
    place = browser.execute_async_script(
        """
        const done = arguments[0], picture = document.querySelector(".picture");
        const box = picture.getBoundingClientRect();
        const player = picture.parentElement.querySelector("audio");
        player.addEventListener("seeked", () => {
          player.pause(); done(player.currentTime); }, { once: true });
        picture.dispatchEvent(new MouseEvent("click",
          { clientX: box.left + 0.25 * box.width, bubbles: true }));
        """
    )
    assert place == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_page_does_not_scroll_sideways(browser, width):
    show(browser, width, "light")
    browser.execute_script(
        "document.querySelectorAll('details').forEach((d) => d.open = true)"
    )
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth") <= width
    visible = browser.execute_script(f"return {root}.clientWidth")
    assert visible >= width - 20, "the width that was asked for, less a scroll bar"


CUT = """
const cut = [];
for (const e of document.querySelectorAll("body *:not(svg *)")) {
  if (e.closest("svg, .wide, pre")) continue;
  if (e.clientWidth && e.scrollWidth > e.clientWidth + 1 &&
      getComputedStyle(e).overflow != "visible") cut.push(["cut", e.textContent]);
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let n = walker.nextNode(); n; n = walker.nextNode()) {
  if (n.parentElement.closest("script, style, pre, .wide")) continue;
  for (const word of n.data.matchAll(/[^\\s\\-\u2013\\/]+/g)) {
    const range = document.createRange();
    range.setStart(n, word.index);
    range.setEnd(n, word.index + word[0].length);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
    if (new Set(boxes.map((box) => Math.round(box.top))).size > 1)
      cut.push(["broken", word[0]]);
  }
}
return cut;
"""


@pytest.mark.parametrize("width", [390, 400])
def test_a_phone_breaks_no_word_and_cuts_no_label(browser, tmp_path, width):
    names = ("vocals", "backing vocals", "accompaniment", "electric guitar")
    other = write_report(write_fake_run(tmp_path / "run", sources=names))
    before = browser.current_url
    show(browser, width, "light")
    browser.get(other.as_uri())
    found = browser.execute_script(CUT)
    headings = browser.execute_script(
        "return [...document.querySelectorAll('.filters h3')].map((h) => h.innerText)"
    )
    browser.get(before)
    assert found == []
    assert headings == ["Encoder: conv", "Encoder: filterbank"]


def test_dark_scheme_is_dark(browser):
    shades = {}
    for scheme in ("light", "dark"):
        show(browser, 1280, scheme)
        color = browser.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
        shades[scheme] = sum(map(int, color[4:-1].split(",")))
    assert shades["dark"] < 150 < 600 < shades["light"]


def test_nothing_is_fetched_and_nothing_goes_wrong(browser):
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    assert [name for name in fetched if not name.startswith("data:")] == []
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []


def test_mp3_of_larger_reports_decodes_and_seeks(browser, page, monkeypatch):
    monkeypatch.setattr(audio, "BUDGET", 0)
    run = read_run(page.parent)
    uris, _ = audio.encode([audio.read_excerpt(run.path, run.excerpts[0])])
    duration, place = browser.execute_async_script(
        """
        const [uri, done] = arguments, player = new Audio(uri);
        player.onloadedmetadata = () => { player.currentTime = 0.97; };
        player.onseeked = () => done([player.duration, player.currentTime]);
        player.onerror = () => done([player.error.message, 0]);
        """,
        uris[0][0],
    )
    # An MP3 frame at 8 kHz lasts 72 ms; players round the end up to one or two.
    assert 1.0 <= duration < 1.15
    assert place == pytest.approx(0.97)
