"""``sepjax stream``: samples in, stems out, while they come."""

import io
import os
import signal
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from sepjax.commands import cli, stream
from sepjax.experiment import pace
from sepjax.inference.live import LiveSeparation
from sepjax.models.contract import SeparationModel, Streaming
from tests.support.models import config_of

RATE = 1000
BLOCK = 8


class Clipped(SeparationModel):
    """A delay of a block; the second source knows the level of the first."""

    sources: tuple[str, ...] = ("clipped", "rest")
    sample_rate: int = RATE
    offline: str = ""

    @property
    def streaming(self):
        return None if self.offline else Streaming(2 * BLOCK - 1, BLOCK, 3)

    def init_state(self, batch):
        if self.offline:
            return super().init_state(batch)
        return jnp.zeros((batch, BLOCK))

    def step(self, state, block, samples=None):
        wave = jnp.concatenate([state, block], axis=-1)
        now = wave[:, : block.shape[-1]]
        clipped = jnp.clip(now, -1, 1)
        return wave[:, -BLOCK:], jnp.stack([clipped, now - clipped], axis=1)


@pytest.fixture
def run(monkeypatch):
    """Run the command on standard input, with a model that is no folder."""

    def command(*options, data=b"", model=None, normalize=False):
        config = config_of()
        config.data.normalize = normalize
        loaded = model or Clipped(), {}, config
        monkeypatch.setattr("sepjax.train.load.load", lambda *args, **more: loaded)
        out = io.BytesIO()
        file = data if hasattr(data, "read") else io.BytesIO(data)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        fake = SimpleNamespace(buffer=out, write=len, flush=bool, isatty=bool)
        fake.encoding, fake.errors = "utf-8", "strict"
        monkeypatch.setattr(sys, "stdout", fake)
        status = cli.main(["stream", "-n", "mine", *options])
        return status, out.getvalue()

    return command


def music(time, channels=1, seed=0):
    wave = np.random.default_rng(seed).normal(0, 1, (time, channels))
    return wave.astype(np.float32)


def stems(wave, level=1.0):
    clipped = np.clip(wave, -level, level)
    return np.stack([clipped, wave - clipped], axis=1)


@pytest.mark.parametrize("time", [1, 7, 160, 1003])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_stems_lie_side_by_side(run, capsys, time, channels):
    wave = music(time, channels)
    options = "--channels", str(channels), "--block", "19"
    status, out = run(*options, data=wave.tobytes() + b"\0")  # less than a sample
    found = np.frombuffer(out, "<f4").reshape(-1, 2, channels)
    assert status == 0
    np.testing.assert_array_equal(found, stems(wave))
    text = capsys.readouterr().err
    assert "latency 24.0 ms: 16.0 of the model, the rest of blocks of 16.0" in text
    assert f"{time / RATE:.1f} s, real-time factor" in text


def test_a_stem_of_integers(run):
    wave = np.arange(-500, 500, dtype="<i2")
    status, out = run("--format", "s16", "--stem", "clipped", data=wave.tobytes())
    assert status == 0
    np.testing.assert_array_equal(np.frombuffer(out, "<i2"), wave)


def test_the_level_of_a_normalized_model_is_given(run):
    wave = music(99)
    for normalize, level in ((True, 0.5), (False, 1.0)):
        out = run("--level", "0.5", data=wave.tobytes(), normalize=normalize)[1]
        found = np.frombuffer(out, "<f4").reshape(-1, 2, 1)
        np.testing.assert_allclose(found, stems(wave, level), atol=1e-6)


def test_from_file_to_files_in_real_time(run, tmp_path, capsys):
    wave = 0.1 * music(6000, 2)
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype="FLOAT")
    names = str(tmp_path / "stems" / "{stem}.wav")
    assert run(str(tmp_path / "a.wav"), names, "--realtime")[0] == 0
    parts = [
        soundfile.read(tmp_path / "stems" / f"{name}.wav")[0]
        for name in ("clipped", "rest")
    ]
    assert parts[0].shape == wave.shape
    # The model hears 500 Hz, a sixteenth of the band.
    assert 0.03 < np.var(parts[0]) / np.var(wave) < 0.09
    assert not parts[1].any()
    words = capsys.readouterr().err.split("worst delay ")
    assert float(words[1].split()[0]) > 24


def interrupted(wave, after):
    """A file whose reader is interrupted as it waits for more."""
    data = io.BytesIO(wave[:after].tobytes())

    def read(size):
        block = data.read(size)
        if not block:
            os.kill(os.getpid(), signal.SIGINT)
        return block

    return SimpleNamespace(read=read)


def test_what_came_before_ctrl_c_is_finished(run):
    before = signal.getsignal(signal.SIGINT)
    wave = music(700)
    status, out = run(data=interrupted(wave, 333))
    assert status == 0
    found = np.frombuffer(out, "<f4").reshape(-1, 2, 1)
    np.testing.assert_array_equal(found, stems(wave[:333]))
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_between_two_blocks_ends_the_reading():
    blocks = stream.until_interrupted(iter([1, 2, 3]))
    assert next(blocks) == 1
    os.kill(os.getpid(), signal.SIGINT)
    assert list(blocks) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stem", "cliped"), "unknown stem 'cliped': did you mean 'clipped'"),
        (("--channels", "0"), "--channels 0 must be positive"),
        (("--block", "0"), "must be above zero"),
        (("--level", "0"), "must be above zero"),
        (("-", "out.wav"), "several stems need {stem}"),
        (("-", "{stem}.xyz"), "unknown format 'xyz'"),
        (("none.wav",), "none.wav"),
        (("--sound-card", ""), "pip install sepjax[live]"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_heard(run, capsys, options, message):
    assert run(*options, normalize=True)[0] == 1
    assert message in capsys.readouterr().err


def test_a_model_of_whole_songs_says_why_it_is_none(run, capsys):
    assert run(model=Clipped(offline="it hears tomorrow"))[0] == 1
    assert "mine is not for streams: it hears tomorrow" in capsys.readouterr().err


def test_samples_that_are_no_numbers_are_told_with_their_place(run, capsys):
    wave = music(300)
    wave[250] = np.nan
    assert run(data=wave.tobytes())[0] == 1
    assert "is not finite after 0.240 s" in capsys.readouterr().err


def test_files_that_are_there_are_not_overwritten(run, tmp_path, capsys):
    soundfile.write(path := tmp_path / "a.wav", music(99), RATE)
    assert run(str(path), str(path), "--stem", "rest")[0] == 1
    assert "a.wav is there" in capsys.readouterr().err
    assert soundfile.info(path).frames == 99


def test_a_sound_card_plays_one_stem(run, monkeypatch):
    heard, played = [music(20, seed=seed) for seed in range(5)], []

    class Stream:
        def __init__(self, **options):
            assert (options["samplerate"], options["channels"]) == (RATE, 1)
            self.blocks = iter(heard)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def read(self, size):
            assert size == 8
            if (block := next(self.blocks, None)) is None:
                os.kill(os.getpid(), signal.SIGINT)
            return block, False

        def write(self, block):
            played.append(block)

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(Stream=Stream))
    card = ("--sound-card", "", "--stem", "clipped", "--block", "8")
    assert run(*card)[0] == 0
    expected = np.clip(np.concatenate(heard), -1, 1)
    np.testing.assert_array_equal(np.concatenate(played), expected)


def test_the_delay_counts_from_the_sample_to_its_estimate(monkeypatch):
    """On a clock of our own: blocks come every 16 ms, and a taker takes 5 more."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    live = LiveSeparation(Clipped(), {}, sample_rate=RATE, channels=1, seconds=0.016)

    def blocks():
        for _ in range(10):
            clock[0] += 0.016
            yield music(16)

    for _ in live(blocks()):
        clock[0] += 0.005
    # A block's first sample waits for the block, and for the block after, of which the
    # delay of 8 and the lead of 3 samples are part.
    assert live.delay == pytest.approx(live.latency + 0.005 + 0.003, abs=0.0081)
    assert live.busy == 0


def test_facts_of_a_model_with_state(monkeypatch):
    monkeypatch.setattr(
        pace, "measured", lambda config: {"real_time_factor": 0.25, "seconds": 0.02}
    )
    causal = dict(causal=True, norm="frame", input_norm="cumulative")
    small = dict(N=8, L=16, W=8, B=4, H=4, layers=2, stack=3, encoding="simple")
    config = config_of(**small, **causal)
    # Clock, samples before and after, the norm of the input, two and four frames.
    size = 4 * (2 + 8 + 4 * 8 + 5 + 3 * (2 + 4) * 4)
    assert dict(pace.stream_lines(config)) == {
        "latency": "2.0 ms (16 samples)",
        "state": f"{size / 1024:.1f} KiB",
        "real time": "0.250 of it on one core, in blocks of 20.0 ms",
    }


@pytest.mark.slow
def test_speed_is_measured_in_a_process_of_one_core():
    causal = dict(causal=True, norm="frame", input_norm="cumulative")
    small = dict(N=8, L=16, W=8, B=4, H=4, layers=2, stack=3, encoding="simple")
    facts = pace.measured(config_of(**small, **causal))
    assert facts["seconds"] == 0.02
    assert 0 < facts["real_time_factor"] < 5
