"""The page in headless Chromium: its stems are those of ``sepjax separate``."""

import base64
import functools
import http.server
import io
import threading
import time

import numpy as np
import pytest
import soundfile

from sepjax.export import bundle, page
from sepjax.export.programs import null_db
from sepjax.inference.separator import Separator, load_ensemble
from tests.export.test_export_command import write_model
from tests.support.browser import chromium

pytestmark = pytest.mark.slow
WAIT = 120  # seconds; a loaded machine is slow to start a runtime
READ = """
const [link, done] = arguments;
const blob = await (await fetch(link.href)).blob();
const reader = new FileReader();
reader.onload = () => done(reader.result.split(",")[1]);
reader.readAsDataURL(blob);
"""
MODELS = {
    "step": dict(audio_channels=2),
    "mono": dict(),
    "chunks": dict(audio_channels=2, bidirectional=True),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium"), WAIT) as browser:
        yield browser


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """A model, and the address of its page."""
    tmp_path = tmp_path_factory.mktemp("page")
    pytest.importorskip("onnx", reason="needs sepjax[onnx]")
    folder = tmp_path / "model"
    write_model(folder, **MODELS[request.param])
    member = load_ensemble([folder], chunk=0.5, normalize=True, rescale=True).members[0]
    try:
        bundle.export_model(member, tmp_path / "out", formats=["web"])
    except OSError as error:
        pytest.skip(f"no {page.RUNTIME}: {error}")
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=tmp_path / "out" / "web"
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def wait(browser, state):
    end, look = time.monotonic() + WAIT, "return document.body.dataset.state"
    while (now := browser.execute_script(look)) not in (state, "failed"):
        assert time.monotonic() < end, now
        time.sleep(0.1)
    assert now == state, browser.find_element("id", "problem").text


def test_stems_of_the_page_are_those_of_python(model, browser, tmp_path):
    folder, address = model
    rng = np.random.default_rng(0)
    wave = np.cumsum(rng.normal(0, 0.02, (12345, 2)), axis=0)
    wave = (wave - wave.mean(0)).clip(-0.9, 0.9).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", wave, 8000, "FLOAT")
    browser.get(address)
    wait(browser, "ready")
    browser.find_element("id", "file").send_keys(str(tmp_path / "song.wav"))
    wait(browser, "done")
    separator = Separator(folder, chunk=0.5, normalize=True, rescale=True)
    truth = separator(wave, 8000)
    links = browser.find_elements("css selector", "#stems a")
    assert [link.get_attribute("download") for link in links] == [
        f"song - {name}.wav" for name in truth
    ]
    for link, stem in zip(links, truth.values()):
        content = base64.b64decode(browser.execute_async_script(READ, link))
        found, rate = soundfile.read(io.BytesIO(content), dtype="float32")
        assert (rate, found.shape) == (8000, stem.shape)
        null = null_db(found, stem)
        print(f"{link.get_attribute('download')} {null}")
        assert null <= -60
    browser.find_element("id", "play").click()
    assert (
        browser.execute_script("return document.getElementById('play').disabled")
        is False
    )


def test_what_is_no_recording_is_refused(model, browser, tmp_path):
    (tmp_path / "letter.mp3").write_text("dear")
    browser.get(model[1])
    wait(browser, "ready")
    browser.find_element("id", "file").send_keys(str(tmp_path / "letter.mp3"))
    wait(browser, "failed")
    assert "cannot be decoded" in browser.find_element("id", "problem").text
    assert browser.find_element("id", "file").is_enabled()


def test_a_page_from_a_file_says_how_to_open_it(browser, tmp_path):
    for name in page.OWN:
        (tmp_path / name).write_bytes(page.asset(name))
    browser.get((tmp_path / "index.html").as_uri())
    assert "python -m http.server" in browser.find_element("id", "problem").text
