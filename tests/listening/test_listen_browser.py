"""The page in a real browser: whole sittings by keys and by mouse, and their files."""

import json
import time

import pytest

from sepjax.commands import cli
from tests.listening.systems import write_systems
from tests.support.browser import chromium

WAIT = 20  # seconds; a loaded machine is slow to decode
TRUTH = {"reference": 100, "A": 70, "B": 40, "low-pass 700 Hz": 20}
SHOWN = "return !document.getElementById(arguments[0]).hidden"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("listening")
    references, *systems = write_systems(home)
    arguments = [*map(str, systems), "--references", str(references), "--seed", "3"]
    options = ["--abx", "2", "--excerpts", "2", "--seconds", "0.5"]
    assert cli.main(["listen", *arguments, *options, "-o", str(home / "test")]) == 0
    return home / "test"


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium"), WAIT) as browser:
        place = {"behavior": "allow", "downloadPath": str(folder)}
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", place)
        browser.get((folder / "page" / "index.html").as_uri())
        yield browser


def until(browser, script, *arguments):
    """Wait until a script returns something true."""
    end = time.monotonic() + WAIT
    while not (value := browser.execute_script(script, *arguments)):
        assert time.monotonic() < end, script
        time.sleep(0.02)
    return value


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(browser, duration=0)
    for key in keys:
        if isinstance(key, tuple):
            chain.key_down(key[0]).send_keys(key[1]).key_up(key[0])
        else:
            chain.send_keys(key)
    chain.perform()


def begin(browser, name):
    from selenium.webdriver.common.keys import Keys

    browser.find_element("id", "name").send_keys(name, Keys.ENTER)
    until(browser, SHOWN, "trial")


def go_on(browser):
    """Press Enter, and wait for what comes."""
    from selenium.webdriver.common.keys import Keys

    done = browser.execute_script("return state.done")
    press(browser, Keys.ENTER)
    until(browser, "return state.done > arguments[0] && (view || state.finished)", done)


def wanted(browser, key):
    """The rating that each signal on the page shall get, by its place."""
    names = {c: n for item in key["items"].values() for c, n in item["clips"].items()}
    clips = browser.execute_script("return view.choices.slice(1).map((c) => c.clip)")
    return [TRUTH[names[clip]] for clip in clips]


def rate_by_keys(browser, key):
    from selenium.webdriver.common.keys import Keys

    press(browser, "0")
    for place, value in enumerate(wanted(browser, key), start=1):
        arrow = Keys.ARROW_RIGHT if value > 50 else Keys.ARROW_LEFT
        press(browser, str(place), *[(Keys.SHIFT, arrow)] * (abs(value - 50) // 10))


def rate_by_mouse(browser, key):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.find_element("css selector", ".reference button").click()
    rows = browser.find_elements("css selector", ".ratings li")
    for row, value in zip(rows, wanted(browser, key)):
        slider = row.find_element("css selector", "input")
        ActionChains(browser, duration=0).click(
            row
        ).perform()  # anywhere in it: it plays now
        share = (value - 50) / 100 * (slider.size["width"] - 16)  # less the thumb
        ActionChains(browser, duration=0).move_to_element_with_offset(
            slider, round(share), 0
        ).click().perform()


def answer_abx(browser, key):
    from selenium.webdriver.common.keys import Keys

    press(browser, "1", "2", "x")
    right = browser.execute_script("return view.trial.clips.indexOf(view.trial.x)")
    press(browser, Keys.ARROW_RIGHT if right else Keys.ARROW_LEFT)


def sitting(browser, key, name, rate):
    """A whole sitting of six trials, two of which are for practice."""
    begin(browser, name)
    for _ in range(3):
        answer_abx(browser, key)
        go_on(browser)
    for _ in range(3):
        rate(browser, key)
        go_on(browser)
    assert browser.execute_script(SHOWN, "end")


def test_sittings_are_saved_and_merged(folder, browser, capsys):
    key = json.loads((folder / "key.json").read_text())
    for name, rate in (("Änne", rate_by_keys), ("Bob", rate_by_mouse)):
        sitting(browser, key, name, rate)
        text = browser.find_element("id", "end").text
        assert "Pair 1: you were right about X in 2 of 2 trials" in text
        assert "probability 0.250" in text
        browser.get(browser.current_url)  # nothing is lost by closing the page
        until(browser, SHOWN, "end")
        browser.find_element("css selector", ".save").click()
        file = folder / f"ratings-{name}.json"
        end = time.monotonic() + WAIT
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.02)
        browser.find_element("css selector", "#end button").click()
        until(browser, SHOWN, "welcome")
    files = sorted(map(str, folder.glob("ratings-*.json")))
    command = ["listen", "--merge", str(folder / "key.json"), *files]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    results = json.loads((folder / "merged" / "listening.json").read_text())
    assert [one["listener"] for one in results["listeners"]] == ["Bob", "Änne"]
    assert results["listeners"][1]["mushra"] == TRUTH
    for name, value in TRUTH.items():  # by mouse, to two points
        assert results["conditions"][name]["mean"] == pytest.approx(value, abs=1)
    (pair,) = results["abx"]
    assert (pair["pair"], pair["right"], pair["trials"]) == (["A", "B"], 4, 4)
    assert pair["p"] == pytest.approx(1 / 16)
    assert "A and B" in out


def test_a_reload_keeps_answers_and_order(browser):
    begin(browser, "Cleo")
    for _ in range(3):
        answer_abx(browser, None)
        go_on(browser)
    press(browser, "1")
    browser.execute_script("rate(77)")
    order = (
        "return [view.trial.id, view.trial.clips, state.answers, plan.map((t) => t.x)]"
    )
    before = browser.execute_script(order)
    browser.refresh()
    until(browser, "return view")
    assert browser.execute_script(order) == before
    assert "77" in browser.find_element("css selector", ".ratings").text
    assert not browser.find_elements("css selector", ".onward button:enabled")
    hint = browser.find_element("css selector", ".onward .note").text
    assert hint == "To go on, listen to the reference, 1, 2, 3, 4 and rate 2, 3, 4."
    only = "#trial .ratings input:enabled"
    assert browser.find_elements("css selector", only) == []
    press(browser, "2")
    (slider,) = browser.find_elements("css selector", only)
    assert slider.get_attribute("aria-label") == "Rating of 2"
    assert browser.execute_script("return document.activeElement") == slider
    assert browser.find_element("id", "status").text == "2 plays"
    press(browser, " ")
    assert browser.find_element("id", "status").text == "2 is paused"


def test_buttons_that_have_the_focus_are_pressed_by_enter_and_space(browser):
    from selenium.webdriver.common.keys import Keys

    until(browser, "return view")
    third, fourth = browser.find_elements("css selector", ".ratings button")[2:]
    for button, key in ((third, Keys.ENTER), (fourth, " ")):
        browser.execute_script("arguments[0].focus()", button)
        press(browser, key)
        assert browser.execute_script("return view.choices[view.at].button") == button
        assert browser.execute_script("return sound.playing")
    press(browser, " ")
    assert not browser.execute_script("return sound.playing")


def test_signals_run_together_and_switching_keeps_the_place(browser):
    until(browser, "return view")
    lengths, early, late, levels = browser.execute_async_script(
        """
        const done = arguments[0], wait = (s) => new Promise((r) => setTimeout(r, s));
        (async () => {
          const buffers = Object.values(sound.buffers);
          sound.choose(view.choices[1].clip);
          sound.play();
          await wait(150);
          const early = [sound.place + sound.context.currentTime - sound.began];
          early.push(performance.now());
          sound.choose(view.choices[3].clip);
          await wait(150);
          const late = [sound.place + sound.context.currentTime - sound.began];
          late.push(performance.now());
          const levels = view.choices.map(({ clip }) => sound.nodes[clip].gain.value);
          sound.stop();
          done([buffers.map((buffer) => buffer.length), early, late, levels]);
        })();
        """
    )
    assert len(lengths) == 5  # the open reference, and four
    assert len(set(lengths)) == 1
    heard, passed = late[0] - early[0], (late[1] - early[1]) / 1000
    assert heard == pytest.approx(passed, abs=0.05)
    assert levels == [0, 0, 0, 1, 0]


def test_x_is_faded_alike_whether_it_is_the_signal_before_or_not(browser):
    """Else one would hear, at the switch, what X is."""
    until(browser, "return view")
    fades = browser.execute_script(
        """
        const own = AudioParam.prototype.setValueCurveAtTime, calls = [];
        AudioParam.prototype.setValueCurveAtTime = function (curve, time, length) {
          calls.push([curve[0], curve.at(-1), +(time - now).toFixed(4), length]);
          own.call(this, curve, time, length);
        };
        const [, one, two] = view.choices.map((choice) => choice.clip), fades = [];
        let now = 0;
        sound.choose(one);
        sound.play();
        for (const clip of [one, two]) {
          calls.length = 0;
          now = sound.context.currentTime;
          sound.choose(clip);
          fades.push(calls.map((call) => call.join(" ")).sort());
        }
        sound.stop();
        AudioParam.prototype.setValueCurveAtTime = own;
        return fades;
        """
    )
    assert fades[0] == fades[1] == ["0 1 0.0051 0.005", "1 0 0 0.005"]


def test_letters_and_order_are_drawn_for_each_listener(browser):
    plans = browser.execute_script(
        """
        const names = [...Array(400).keys()].map((i) => `listener ${i}`);
        return names.map((name) => planned(name).map((t) => [t.id, t.x, t.clips]));
        """
    )
    abx = [trial for plan in plans for trial in plan if len(trial[2]) == 2]
    share = sum(x == clips[0] for _, x, clips in abx) / len(abx)
    assert share == pytest.approx(0.5, abs=0.07)  # four deviations of 1200 fair draws
    first = sum(clips == sorted(clips) for _, _, clips in abx) / len(abx)
    assert first == pytest.approx(0.5, abs=0.07)
    both = sum((x == c[0]) == (c == sorted(c)) for _, x, c in abx) / len(abx)
    assert both == pytest.approx(0.5, abs=0.07)  # X and letters are independent
    mushra = [plan[-1] for plan in plans]
    for clip in mushra[0][2]:
        places = [trial[2].index(clip) for trial in mushra if clip in trial[2]]
        counts = [places.count(place) / len(places) for place in range(4)]
        assert counts == pytest.approx([0.25] * 4, abs=0.12)


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_cut_off(browser, width):
    size = {"width": width, "height": 844, "deviceScaleFactor": 1}
    size |= {"mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    until(browser, "return view")
    root = "document.documentElement"
    assert browser.execute_script(f"return {root}.scrollWidth") <= width
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('button, .scale span')].map((e) =>"
        " [e.textContent, e.scrollWidth - e.clientWidth, e.clientHeight])"
    )
    assert [one for one in sizes if one[1] > 1] == []


def test_nothing_is_fetched_from_elsewhere_and_no_name_is_there(folder, browser):
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map((e) => e.name)"
    )
    home = (folder / "page").as_uri()
    assert [name for name in fetched if not name.startswith((home, "data:"))] == []
    assert [e for e in browser.get_log("browser") if e["level"] == "SEVERE"] == []
    key = json.loads((folder / "key.json").read_text())
    songs = [item["song"] for item in key["items"].values()]
    for path in (folder / "page").rglob("*.*"):
        text = path.read_text()
        for secret in (*songs, *key["systems"].values(), "low-pass 700", '"A"'):
            assert f'"{secret}"' not in text
            assert f"/{secret}" not in text
    scripts = {path.stem for path in (folder / "page" / "audio").iterdir()}
    assert scripts == set(key["items"])
