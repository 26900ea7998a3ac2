"""The scores that a track can be given, by name: what each is, and how it is averaged.

A metric of your own is a function in your own file, and its name in
``config.eval.metrics`` or ``--metrics``::

    @METRICS.register("level", label="level", definition="level error, dB")
    def level(reference, estimate, *, sample_rate):
        return 10 * np.log10(np.mean(estimate**2) / np.mean(reference**2))
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sepjax.evaluation.bss import bss_eval, sdr_frames
from sepjax.evaluation.bss.windows import windows
from sepjax.evaluation.perceptual import bleeding, log_wmse, multi_mel_snr
from sepjax.evaluation.tables import LEAKAGE
from sepjax.evaluation.whole_track import si_sdr, usdr
from sepjax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Metric:
    """One score of one class: its description, and the function that computes it.

    The function takes a reference and an estimate, ``(time, channels)`` at full scale
    1, and returns a float. Its signature may name ``sample_rate`` (Hz), ``mixture``
    ``(time, channels)``, ``window`` (samples), ``zero_mean`` and ``channels``, which
    it is then given. A function of ``together`` is given the waveforms of all classes
    ``(sources, time, channels)``, and returns a dictionary of values of all,
    ``(sources, windows)``, perhaps with a ``"note"`` on them.
    """

    name: str
    function: Callable[..., Any]
    label: str
    definition: str
    unit: str = "dB"
    windowed: bool = False
    """Scored in windows of the protocol, of which a track gets the median."""
    median: bool = False
    """A set of tracks gets the median of its tracks, otherwise their mean."""
    silence: bool = False
    """Scored where the reference is silent, too."""
    part: str = ""
    """The attribute, or key, of the function's result that is this score."""
    together: bool = False

    def options(self, known: dict[str, Any]) -> dict[str, Any]:
        """Return the facts that the function takes as arguments."""
        names = inspect.signature(self.function).parameters
        return {name: value for name, value in known.items() if name in names}


class Metrics(Registry):
    """Metrics by name; ``register`` takes the fields of :class:`Metric`.

    Example:
        >>> metrics = Metrics("metric")
        >>> @metrics.register("peak", label="peak", definition="largest error")
        ... def peak(reference, estimate):
        ...     return abs(estimate - reference).max()
        >>> metrics.find("peak").unit
        'dB'
    """

    def register(self, name: str, **facts: Any) -> Callable[[Callable], Callable]:
        """Decorator that files a function as the metric ``name`` and returns it."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            super(Metrics, self).register(name)(Metric(name, function, **facts))
            return function

        return add


METRICS = Metrics("metric")
"""All metrics by name."""
COPY = 1e-7
"""Of its peak: less than that between two waves is the rounding of float32."""
ROUNDING = 140.0
"""The same in dB: a finite score beyond it is rounding noise."""
PIECE = 1 << 16  # samples that are compared at a time


def bss_windows(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    window: int,
    silence: Any,
    filters: int,
) -> Any:
    """:func:`sepjax.evaluation.bss_eval` of all classes in windows, side by side.

    Returns metric -> ``(sources, windows)`` in dB, SDR alone with 0 filters; and a
    ``"note"`` where the numbers are not to be trusted.
    """
    options = {"window": window, "hop": window, "silence": silence}
    if not filters:
        return {"sdr": sdr_frames(reference, estimate, **options)}
    result = bss_eval(reference, estimate, filters=filters, **options)
    scores = {name: getattr(result, name) for name in ("sdr", "isr", "sir", "sar")}
    if result.ill_conditioned or result.near_singular:
        note = "references nearly dependent: ISR, SIR and SAR are approximate"
        scores["note"] = note
    return scores


for _name, _definition in {
    "sdr": "10 log10(|s|^2 / |s - e|^2) dB of a window, reference s, estimate e",
    "isr": "source image to spatial distortion of a window, dB (BSS Eval images)",
    "sir": "source to interference of the other classes that were scored, dB",
    "sar": "sources to artifacts, which no scored class explains, dB",
}.items():
    _how = {"windowed": True, "median": True, "part": _name, "together": True}
    _words = {"label": _name.upper(), "definition": _definition}
    METRICS.register(_name, **_words, **_how)(bss_windows)

METRICS.register(
    "si_sdr",
    label="SI-SDR",
    definition="10 log10(|a s|^2 / |a s - e|^2) dB with a = <e, s> / |s|^2, "
    "reference s, estimate e (thesis eq. 2.12)",
)(si_sdr)
METRICS.register(
    "usdr",
    label="uSDR",
    definition="10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)) dB",
)(usdr)
METRICS.register(
    "log_wmse",
    label="logWMSE",
    unit="",
    definition="-4 ln(W(e - s) / W(x) + 1e-8), W the energy weighted by the ear's "
    "sensitivity, x the mixture; mean over channels",
    silence=True,
)(log_wmse)
for _name, _definition in {
    "bleedless": "100 / (1 + mean of the dB by which mel bands of the estimate exceed "
    "those of the reference, where they do)",
    "fullness": "100 / (1 + mean of the dB by which mel bands of the estimate fall "
    "short of those of the reference, where they do)",
}.items():
    METRICS.register(_name, label=_name, unit="", definition=_definition, part=_name)(
        bleeding
    )
METRICS.register(
    "multi_mel_snr",
    label="multi-mel-SNR",
    definition="10 log10(sum M(s)^2 / sum (M(s) - M(a e))^2) dB of mel power spectra M "
    "with a = <s, e> / |e|^2; mean of three resolutions and the channels",
)(multi_mel_snr)


@METRICS.register(
    LEAKAGE,
    label="leakage",
    unit="dBFS",
    definition="root mean square of the estimate in windows in which the reference is "
    "all zeros, dB re full scale 1",
    median=True,
    silence=True,
)
def leakage(reference: np.ndarray, estimate: np.ndarray, *, window: int) -> float:
    r"""Measure the level of the estimate where the reference is silent, in dBFS.

    :math:`10 \log_{10}` of the mean of :math:`\hat s^2` over the windows (samples) in
    which the reference is all zeros, so that a square wave of full scale has 0 dBFS.
    NaN where there are none, minus infinity where the estimate is as silent.

    Example:
        >>> reference, estimate = np.zeros((4, 1)), np.full((4, 1), 0.1)
        >>> reference[2:] = 1.0
        >>> print(f"{leakage(reference, estimate, window=2):.2f}")
        -20.00
    """
    parts = windows(len(reference), window, window)
    silent = [part for part in parts if not reference[part].any()]
    if not silent:
        return float("nan")
    power = [np.square(estimate[part].astype(np.float64)).mean() for part in silent]
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.mean(power)))


def same(reference: np.ndarray, estimate: np.ndarray) -> bool:
    """Return whether two waves differ by no more than samples of float32 are rounded.

    Example:
        >>> wave = np.array([0.5, -1.0])
        >>> same(wave, wave + 1e-8), same(wave, wave + 1e-6)
        (True, False)
    """
    limit = COPY * max(reference.max(), -reference.min())  # 0: nothing to compare
    steps = range(0, len(reference), PIECE)
    parts = (slice(start, start + PIECE) for start in steps)
    return limit > 0 and all(
        np.abs(reference[part] - estimate[part]).max() <= limit for part in parts
    )


def without_rounding(
    values: dict[str, np.ndarray], baseline: bool, copies: np.ndarray, alone: np.ndarray
) -> dict[str, np.ndarray]:
    """Scores without those that measure nothing but rounding, which become NaN.

    These are: ratios of more than :data:`ROUNDING` dB that are finite (60 dB more of
    ISR and SAR, which float32 limits to 150 dB); infinite ones of mixture and ideal
    masks, and infinite SIR, as in songs in which nothing could interfere; all scores of
    mixture and masks that are the reference itself; all of a copy of a class that
    sounds alone, where there was nothing to separate.

    Args:
        values: metric -> ``(sources, ...)``.
        baseline: they are those of the mixture, or of ideal masks.
        copies: ``(sources,)``, whether an estimate is :func:`same` as its reference.
        alone: ``(sources,)``, whether the mixture is.

    Example:
        >>> score = {"sir": np.array([307.0, 12.0])}
        >>> without_rounding(score, False, np.zeros(2, bool), np.zeros(2, bool))
        {'sir': array([nan, 12.])}
    """
    kept = {}
    for name, value in values.items():
        missing = np.zeros(value.shape, bool)
        if METRICS[name].unit == "dB":
            endless = baseline or name == "sir"
            limit = ROUNDING + 60 * (name in ("isr", "sar"))
            missing = (value > limit) & (np.isfinite(value) | endless)
        nothing = copies & (baseline | alone)
        if not METRICS[name].silence:
            missing |= nothing.reshape(-1, *[1] * (value.ndim - 1))
        kept[name] = np.where(missing, np.nan, value)
    return kept


def measure(
    references: np.ndarray,
    estimates: np.ndarray,
    metrics: Iterable[str],
    facts: dict[str, Any],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Measure the values of metrics for every class of a track.

    Waveforms are ``(sources, time, channels)`` at full scale 1, facts what functions
    may ask for, see :class:`Metric`, and ``window``, ``silence`` and ``filters``.

    Returns:
        Name -> ``(sources,)``, or ``(sources, windows)`` of a windowed metric, float64,
        NaN where the reference is silent unless the metric scores silence; and notes.

    Raises:
        ValueError: a metric is unknown, or refuses the waveforms.

    Example:
        >>> references = np.random.default_rng(0).normal(size=(2, 800, 1))
        >>> values, notes = measure(references, 0.9 * references, ["usdr"], {})
        >>> values["usdr"].round(2)
        array([20., 20.])
    """
    results: dict[tuple, Any] = {}  # metrics that share a function share its work
    values: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for metric in map(METRICS.find, metrics):
        key = metric.function, metric.windowed, metric.silence
        if key not in results and metric.together:
            options = metric.options(facts)
            results[key] = metric.function(references, estimates, **options)
            if note := results[key].get("note"):
                notes.append(note)
        elif key not in results:
            results[key] = _each_source(metric, references, estimates, facts)
        values[metric.name] = _picked(metric, results[key])
    return values, notes


def _each_source(
    metric: Metric, references: np.ndarray, estimates: np.ndarray, facts: dict[str, Any]
) -> list[list[Any]]:
    """For each class the results of its windows, of which a whole track is one."""
    parts, options = [slice(None)], metric.options(facts)
    if metric.windowed:
        parts = windows(references.shape[1], facts["window"], facts["window"])

    def score(part: slice, *waves: np.ndarray) -> Any:
        pieces = [wave[part] for wave in waves]
        if not (metric.silence or pieces[0].any()):
            return np.nan
        mixture = {"mixture": facts["mixture"][part]} if "mixture" in options else {}
        return metric.function(*pieces, **options | mixture)

    pairs = zip(references, estimates)
    return [[score(part, *pair) for part in parts] for pair in pairs]


def _picked(metric: Metric, result: Any) -> np.ndarray:
    if metric.together:
        return np.asarray(result[metric.part], np.float64)
    rows = [[float(getattr(v, metric.part or "real", v)) for v in r] for r in result]
    return np.array(rows)[:, slice(None) if metric.windowed else 0]
