"""Figure 5.2 of the thesis: a few filters of a bank, in time and in frequency."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.report.figures.grid import (
    COLORS,
    INK,
    QUIET,
    RULE,
    canvas,
    save,
    style_axes,
)
from sepjax.report.html.numbers import hertz
from sepjax.report.pages.filters import magnitude_response, peak_frequencies
from sepjax.report.run_folder import read_run

SHARES = (0.06, 0.2, 0.45, 0.8)  # of the Nyquist rate: where the examples peak
POINTS = 513  # frequencies of a response
FLOOR = -45.0  # dB below a filter's peak, the end of the axis


def write_filter_figure(
    banks: Mapping[str, np.ndarray],
    sample_rate: float,
    output: Path,
    *,
    title: str,
    note: str,
) -> tuple[list[Path], str]:
    """Draw impulse and magnitude responses of example filters.

    Output and result are those of :func:`sepjax.report.figures.grid.write_figure`.

    Args:
        banks: name -> taps ``(length, filters)``; a line of two panels for each.
        sample_rate: Hz.
        output: file.
        title: of the figure.
        note: where the filters come from, for the caption.
    """
    sizes = "; ".join(
        f"{name}: {taps.shape[1]:,} filters of {taps.shape[0]} taps "
        f"({1000 * taps.shape[0] / sample_rate:.3g} ms)"
        for name, taps in banks.items()
    )
    text = (
        f"{note} {sizes}. Left: impulse responses, each scaled to its own height. "
        f"Right: their magnitude responses, dB below each filter's peak, at "
        f"{sample_rate:g} Hz; colors belong together."
    )

    def draw(title: str, text: str) -> Any:
        top = 0.3 + (0.3 if title else 0)
        figure, grid, _ = canvas(title, text, top, len(banks), 2)
        for row, (name, bank) in enumerate(banks.items()):
            taps = bank[:, examples(bank, sample_rate)]
            _impulses(figure.add_subplot(grid[row, 0]), name, taps, sample_rate)
            _responses(figure.add_subplot(grid[row, 1]), taps, sample_rate)
        return figure

    return save(output, title, text, draw), text


def run_banks(run: Path) -> tuple[dict[str, np.ndarray], float]:
    """The encoder's banks of a run after training, and its sample rate in Hz.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the run has no filters yet.
    """
    folder = read_run(run)
    start = "final/encoder/"
    names = [name for name in folder.filters if name.startswith(start)]
    banks = {name.removeprefix(start): folder.filters[name] for name in names}
    if not banks or not folder.sample_rate:
        raise ValueError(
            f"{run}: has no filters of an encoder; filters.npz is written when "
            "training ends"
        )
    return banks, folder.sample_rate


def examples(taps: np.ndarray, sample_rate: float) -> list[int]:
    """Columns whose peaks are nearest to a few frequencies, low to high, each once.

    Example:
        >>> time = np.arange(32)[:, None]
        >>> bank = np.cos(2 * np.pi * np.linspace(0.02, 0.48, 24) * time)
        >>> examples(bank, 8000.0)
        [0, 4, 10, 19]
    """
    peaks = peak_frequencies(taps, sample_rate)
    nearest = [int(np.abs(peaks - s * sample_rate / 2).argmin()) for s in SHARES]
    return list(dict.fromkeys(nearest))


def _impulses(axes: Any, name: str, taps: np.ndarray, rate: float) -> None:
    time = 1000 * np.arange(len(taps)) / rate
    for place, wave in enumerate(taps.T):
        height = max(float(np.abs(wave).max()), np.finfo(float).tiny)
        base = -2.2 * place
        axes.axhline(base, color=RULE, linewidth=0.6)
        style = {"color": COLORS[place], "linewidth": 1.6, "marker": "o"}
        axes.plot(time, base + wave / height, markersize=2.2, **style)
    axes.set_title(name, loc="left", fontsize=9.5, color=INK)
    axes.set_xlabel("ms", fontsize=8)
    style_axes(axes)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _responses(axes: Any, taps: np.ndarray, rate: float) -> None:
    response = magnitude_response(taps, POINTS)
    level = 20 * np.log10(np.maximum(response / response.max(0), 1e-6))
    frequency = np.linspace(0, rate / 2000, POINTS)
    peaks = peak_frequencies(taps, rate)
    for place, line in enumerate(level.T):
        style = {"color": COLORS[place], "linewidth": 1.6}
        axes.plot(frequency, line, label=hertz(peaks[place]), **style)
    axes.set(ylim=(FLOOR, 3), xlim=(0, rate / 2000))
    axes.set_xlabel("kHz", fontsize=8)
    axes.set_ylabel("dB", fontsize=8)
    axes.set_title("peaks at", loc="left", fontsize=8, color=QUIET)
    legend = {"borderaxespad": 0, "borderpad": 0.15, "columnspacing": 1.2}
    legend |= {"handlelength": 1.2, "bbox_to_anchor": (0.14, 0.995), "fontsize": 8}
    axes.legend(loc="lower left", ncols=len(SHARES), frameon=False, **legend)
    style_axes(axes)
