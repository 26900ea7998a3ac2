"""The pictures show what the numbers say."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from sepjax.report.figures.curves import (
    _spread,
    best_step,
    curves_section,
    learning_rate_drops,
)
from sepjax.report.figures.spectrogram import ROWS, mel_place, spectrogram
from sepjax.report.html.pictures import heat_image, round_scale
from sepjax.report.pages.filters import magnitude_response, peak_frequencies
from sepjax.report.run_folder import read_run


def test_magnitude_response_is_the_fourier_transform_even_of_long_kernels():
    kernel = np.random.default_rng(0).normal(size=(50, 3))
    frequencies = np.linspace(0, 0.5, 9)
    waves = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(50)))
    # Both are float64 sums of 50 terms.
    np.testing.assert_allclose(
        magnitude_response(kernel, 9), np.abs(waves @ kernel), atol=1e-12
    )


@pytest.mark.parametrize("frequency", [440.0, 1234.0, 3500.0])
def test_peak_is_found_where_the_filter_is_tuned(frequency):
    time = np.arange(400)
    tone = np.hanning(400) * np.cos(2 * np.pi * frequency / 8000 * time)
    # The grid of 2049 points has steps of 1.95 Hz.
    assert peak_frequencies(tone[:, None], 8000.0)[0] == pytest.approx(frequency, abs=1)


@pytest.mark.parametrize("sample_rate", [8000, 44100])
@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_spectrogram_shows_a_tone_at_its_place_and_level(sample_rate, frequency):
    time = np.arange(sample_rate) / sample_rate
    levels = spectrogram(np.sin(2 * np.pi * frequency * time), sample_rate)
    middle = levels[:, levels.shape[1] // 2]
    place = mel_place(frequency, sample_rate) * (ROWS - 1)
    # A row away: the tone may fall between rows, and between bins of the transform.
    assert middle.argmax() == pytest.approx(place, abs=1.01)
    # Hann's loss half-way between two bins is 1.4 dB.
    assert -1.5 < middle.max() < 0.1


def test_spectrogram_of_silence_and_of_a_few_samples():
    assert spectrogram(np.zeros(8000), 8000).max() == -200
    assert spectrogram(np.ones(10), 8000).shape[0] == ROWS


def test_heat_image_has_row_0_below_and_clips_to_its_range():
    markup = heat_image(np.array([[-np.inf, -90.0], [0.0, 10.0]]), -40, 0, alt="x")
    png = base64.b64decode(markup.split("base64,")[1].split('"')[0])
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int).sum(-1)
    assert pixels[0, 0] == pixels[0, 1] > 600, "light on top"
    assert pixels[1, 0] == pixels[1, 1] < 10, "dark below"


def test_round_scale_holds_its_values_and_labels_whole_steps():
    rng = np.random.default_rng(0)
    for low, span in zip(rng.uniform(-40, 20, 50), rng.uniform(0, 50, 50)):
        scale = round_scale([low, low + span])
        assert scale.low <= low
        assert low + span <= scale.high
        assert 3 <= len(scale.ticks) <= 10


def test_labels_at_the_ends_of_lines_do_not_overlap():
    places = _spread(sorted(np.random.default_rng(0).uniform(60, 100, 8).tolist()))
    assert min(np.diff(places)) > 5.99
    assert places[-1] <= 100


def test_best_step_and_learning_rate_cuts(tmp_path):
    rates = [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]
    lines = [
        {"kind": "train", "step": 10 * i, "loss": 1.0, "learning_rate": rate}
        for i, rate in enumerate(rates)
    ]
    losses = {10: -1.0, 20: -3.0, 30: None, 40: -2.0}
    lines += [{"kind": "valid", "step": s, "loss": x} for s, x in losses.items()]
    # A resumed run logs a step again; the later line counts.
    lines += [{"kind": "valid", "step": 40, "loss": -2.5}]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    run = read_run(tmp_path)
    assert best_step(run) == 20
    assert run.valid[-1]["loss"] == -2.5
    assert learning_rate_drops(run) == [(20, 1e-3, 5e-4), (40, 5e-4, 2.5e-4)]
    # Rates that fall at every step are no cuts.
    (tmp_path / "config.json").write_text('{"optim": {"schedule": "restarts"}}')
    assert learning_rate_drops(read_run(tmp_path)) == []


def test_classes_that_were_trained_apart_have_a_best_step_each(tmp_path):
    losses = {"bass": [3.0, 1.0, 1.0], "wind": [2.0, 2.5, 1.5]}
    lines = [
        {"kind": "valid", "step": 10 * (i + 1), "loss": bass + wind}
        | {"loss/bass": bass, "loss/wind": wind, "si_sdr/bass": 1.0}
        for i, (bass, wind) in enumerate(zip(*losses.values()))
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    (tmp_path / "config.json").write_text('{"data": {"sources": ["bass", "wind"]}}')
    run = read_run(tmp_path)
    assert best_step(run) is None
    page = str(curves_section(run))
    assert "Best parameters of bass: step 20. Best parameters of wind: step 30." in page
    assert "Best checkpoint" not in page
