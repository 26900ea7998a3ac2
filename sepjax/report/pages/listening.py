"""Players and spectrograms: mixture, and reference beside estimate of each class."""

import functools
from typing import Any

import numpy as np

from sepjax.report.figures.spectrogram import mel_place, spectrogram
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import clock, decibels, hertz
from sepjax.report.html.pictures import class_color, color_bar, heat_image, swatch
from sepjax.report.html.players import ExcerptAudio, encode, read_excerpt
from sepjax.report.run_folder import RunFolder, gain, number

RANGE = 70.0  # dB of the color scale, below the loudest point of the mixture
SILENT = -60.0  # dB below the mixture: a reference that cannot be heard


def listening_section(run: RunFolder) -> Markup:
    """An article for every excerpt of audio/index.json."""
    excerpts = [read_excerpt(run.path, entry) for entry in run.excerpts]
    encoded, note = encode(excerpts)
    hint = (
        "Starting one player pauses the others and, within an excerpt, goes on from "
        "the same moment. Click a spectrogram to jump there."
    )
    if note:
        hint += f" To keep this page small its players are {note}; the files in audio/ "
        hint += "are lossless."
    articles = [_article(run, *pair) for pair in zip(excerpts, encoded)]
    return join([element("p", hint, class_="note"), articles])


def _article(run: RunFolder, excerpt: ExcerptAudio, encoded: list[str]) -> Markup:
    rate, names = excerpt.sample_rate, list(excerpt.references)
    top = float(spectrogram(excerpt.mixture.mean(1), rate).max())
    figure = functools.partial(_figure, excerpt, top)
    references = dict(zip(names, encoded[1:]))
    estimates = dict(zip(excerpt.estimates, encoded[1 + len(names) :]))
    rows = []
    for name in names:
        heading = _class_heading(run, excerpt, name)
        left = figure("Reference", excerpt.references[name], references[name], name)
        right = element("p", "no estimate", class_="note")
        if name in estimates:
            right = figure("Estimate", excerpt.estimates[name], estimates[name], name)
        style = f"row {class_color(run.sources, name)}"
        rows.append(element("div", heading, left, right, class_=style))
    heading = element("div", element("h4", "Mixture"), class_="row-name")
    whole = figure("All classes together", excerpt.mixture, encoded[0], "mixture")
    mixture = element("div", heading, whole, class_="row mixture-row")
    end = excerpt.start + len(excerpt.mixture) / rate
    times = f"{clock(excerpt.start)} \N{EN DASH} {clock(end)}"
    bar = color_bar(-RANGE, 0.0, "re the mixture's loudest point")
    heading = element("h3", excerpt.track, " ", element("small", times))
    return element("article", heading, bar, mixture, rows, class_="excerpt")


def _class_heading(run: RunFolder, excerpt: ExcerptAudio, name: str) -> Markup:
    """Name of the class and its SI-SDR over this excerpt."""
    reference, estimate = excerpt.references[name], excerpt.estimates.get(name)
    lines: list[Any] = []
    if _level(reference) < _level(excerpt.mixture) + SILENT:
        lines.append("silent in this excerpt")
        if estimate is not None and estimate.any():
            leak = _level(estimate) - _level(excerpt.mixture)
            lines.append(f"estimate {decibels(leak, signed=True)} dB re the mixture")
    else:
        before, after = _score(reference, excerpt.mixture), _score(reference, estimate)
        lines.append([element("b", f"{decibels(after)} dB"), " SI-SDR"])
        more = decibels(gain(after, before), signed=True)
        lines.append(f"{more} dB over the mixture")
    heading = element("h4", swatch(run.sources, name))
    texts = [element("p", line) for line in lines]
    return element("div", heading, texts, class_="row-name")


def _score(reference: np.ndarray, estimate: np.ndarray | None) -> float | None:
    from sepjax.evaluation.whole_track import si_sdr  # pulls in jax

    if estimate is None or estimate.shape != reference.shape:
        return None
    return number(float(si_sdr(reference, estimate)))


def _figure(
    excerpt: ExcerptAudio, top: float, title: str, wave: np.ndarray, uri: str, name: str
) -> Markup:
    label = f"{title}: {name}, {excerpt.track}"
    levels = spectrogram(wave.mean(1), excerpt.sample_rate)
    image = heat_image(levels, top - RANGE, top, alt=f"Spectrogram. {label}")
    axis = _axis(excerpt.sample_rate, len(wave) / excerpt.sample_rate)
    picture = element("div", image, axis, class_="picture")
    facts = {"preload": "metadata", "src": uri, "aria_label": label}
    audio = element("audio", controls=True, **facts)
    return element("figure", element("figcaption", title), picture, audio)


def _axis(sample_rate: int, seconds: float) -> Markup:
    """A few frequencies and the length, written into the picture."""
    labels = []
    for mark in (200, 1000, 4000, 12000):
        if mark < 0.4 * sample_rate:
            style = f"bottom:{100 * mel_place(mark, sample_rate):.1f}%"
            labels.append(element("span", hertz(mark), style=style))
    labels.append(element("span", f"{seconds:.3g} s", class_="end"))
    return element("div", labels, class_="ticks", aria_hidden="true")


def _level(wave: np.ndarray) -> float:
    power = float(np.mean(wave.astype(float) ** 2)) if wave.size else 0.0
    return 10 * np.log10(max(power, 1e-20))
