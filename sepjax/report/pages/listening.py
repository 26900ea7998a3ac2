"""Players and spectrograms: mixture, and reference beside estimate of each class."""

import functools

import numpy as np

from sepjax.report.figures.spectrogram import mel_place, spectrogram
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import clock, decibels, hertz
from sepjax.report.html.pictures import class_color, color_bar, heat_image, swatch
from sepjax.report.html.players import ExcerptAudio, encode, read_excerpt
from sepjax.report.run_folder import RunFolder, number

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
    articles = [
        _article(run, excerpt, clips) for excerpt, clips in zip(excerpts, encoded)
    ]
    return join([element("p", hint, class_="note"), articles])


def _article(run: RunFolder, excerpt: ExcerptAudio, encoded: list[str]) -> Markup:
    top = float(spectrogram(_mono(excerpt.mixture), excerpt.sample_rate).max())
    figure = functools.partial(_figure, excerpt, top)
    names = list(excerpt.references)
    references = dict(zip(names, encoded[1:]))
    estimates = dict(zip(excerpt.estimates, encoded[1 + len(names) :]))
    rows = [
        element(
            "div",
            _class_heading(run, excerpt, name),
            figure("Reference", excerpt.references[name], references[name], name),
            figure("Estimate", excerpt.estimates[name], estimates[name], name)
            if name in estimates
            else element("p", "no estimate", class_="note"),
            class_=f"row {class_color(run.sources, name)}",
        )
        for name in names
    ]
    mixture = element(
        "div",
        element("div", element("h4", "Mixture"), class_="row-name"),
        figure("All classes together", excerpt.mixture, encoded[0], "mixture"),
        class_="row mixture-row",
    )
    end = excerpt.start + len(excerpt.mixture) / excerpt.sample_rate
    times = f"{clock(excerpt.start)} \N{EN DASH} {clock(end)}"
    bar = color_bar(-RANGE, 0.0, "re the mixture's loudest point")
    heading = element("h3", excerpt.track, " ", element("small", times))
    return element("article", heading, bar, mixture, rows, class_="excerpt")


def _class_heading(run: RunFolder, excerpt: ExcerptAudio, name: str) -> Markup:
    """Name of the class and its SI-SDR over this excerpt."""
    reference, estimate = excerpt.references[name], excerpt.estimates.get(name)
    heading = element("h4", swatch(run.sources, name))
    if _level(reference) < _level(excerpt.mixture) + SILENT:
        lines = [element("p", "silent in this excerpt")]
        if estimate is not None and estimate.any():
            leak = _level(estimate) - _level(excerpt.mixture)
            text = f"estimate {decibels(leak, signed=True)} dB re the mixture"
            lines.append(element("p", text))
        return element("div", heading, lines, class_="row-name")
    before, after = _score(reference, excerpt.mixture), _score(reference, estimate)
    gain = None if None in (before, after) else after - before
    lines = [
        element("p", element("b", f"{decibels(after)} dB"), " SI-SDR"),
        element("p", f"{decibels(gain, signed=True)} dB over the mixture"),
    ]
    return element("div", heading, lines, class_="row-name")


def _score(reference: np.ndarray, estimate: np.ndarray | None) -> float | None:
    from sepjax.evaluation.whole_track import si_sdr  # pulls in jax

    if estimate is None or estimate.shape != reference.shape:
        return None
    return number(float(si_sdr(reference, estimate)))


def _figure(
    excerpt: ExcerptAudio, top: float, title: str, wave: np.ndarray, uri: str, name: str
) -> Markup:
    label = f"{title}: {name}, {excerpt.track}"
    image = heat_image(
        spectrogram(_mono(wave), excerpt.sample_rate),
        top - RANGE,
        top,
        alt=f"Spectrogram. {label}",
    )
    seconds = len(wave) / excerpt.sample_rate
    picture = element(
        "div", image, _axis(excerpt.sample_rate, seconds), class_="picture"
    )
    audio = element(
        "audio", controls=True, preload="metadata", src=uri, aria_label=label
    )
    return element("figure", element("figcaption", title), picture, audio)


def _axis(sample_rate: int, seconds: float) -> Markup:
    """A few frequencies and the length, written into the picture."""
    top = sample_rate / 2
    marks = [mark for mark in (200, 1000, 4000, 12000) if mark < 0.8 * top]
    labels = [
        element(
            "span", hertz(mark), style=f"bottom:{100 * mel_place(mark, 2 * top):.1f}%"
        )
        for mark in marks
    ]
    labels.append(element("span", f"{seconds:.3g} s", class_="end"))
    return element("div", labels, class_="ticks", aria_hidden="true")


def _mono(wave: np.ndarray) -> np.ndarray:
    return wave.mean(axis=1)


def _level(wave: np.ndarray) -> float:
    power = float(np.mean(wave.astype(float) ** 2)) if wave.size else 0.0
    return 10 * np.log10(max(power, 1e-20))
