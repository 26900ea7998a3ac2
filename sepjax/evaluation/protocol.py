"""Which metrics tracks are scored by, in which windows, and how they are averaged."""

import dataclasses
from typing import Any, Literal

from sepjax.evaluation.bss.windows import SILENCE, Silence
from sepjax.evaluation.metrics import LEAKAGE, METRICS
from sepjax.registry import nearest

USUAL = ("sdr", "isr", "sir", "sar", "si_sdr", "usdr")
PRESETS = {
    "thesis": {"window_seconds": 6.0, "metrics": USUAL, "medians": ("si_sdr",)},
    "museval": {"window_seconds": 1.0, "metrics": USUAL},
    "mdx": {"window_seconds": 1.0, "metrics": ("usdr", "si_sdr")},
}
FILTERS = 512  # taps of the projections, as in museval
SILENCES = {
    "drop": "a class that is silent in a whole track is not scored there; a window in "
    "which any other class is silent, as reference or estimate, counts for none",
    "source": "a class is not scored in windows and tracks in which it is silent",
    "museval": "a window in which any class is silent, as reference or estimate, "
    "counts for none; a class that is silent in a whole track fails the track",
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How tracks are scored; see :func:`make_protocol`."""

    preset: str
    window_seconds: float
    metrics: tuple[str, ...]
    medians: tuple[str, ...] = ()
    """Metrics that get the median of the tracks, beside those that always do."""
    channels: Literal["flatten", "mean"] = "flatten"
    zero_mean: bool = False
    silence: Silence = "drop"
    filters: int = FILTERS

    @property
    def columns(self) -> tuple[str, ...]:
        """Every metric that a track has a value of."""
        return tuple(dict.fromkeys((*self.metrics, LEAKAGE)))

    @property
    def quick(self) -> tuple[str, ...]:
        """The metrics that need no filters, which take most of the time; no leakage."""
        slow = {"isr", "sir", "sar", LEAKAGE}
        return tuple(name for name in self.metrics if name not in slow)

    def median(self, metric: str) -> bool:
        """Whether a set of tracks gets the median of its tracks, or their mean."""
        return METRICS.find(metric).median or metric in self.medians

    def aggregation(self, metric: str) -> str:
        """How the values of tracks become the value of the set, in words.

        Example:
            >>> make_protocol("thesis").aggregation("sdr")
            'median over 6 s windows, then median over tracks'
        """
        windows = f"median over {self.window_seconds:g} s windows, then "
        average = "median" if self.median(metric) else "mean"
        return f"{windows * METRICS[metric].windowed}{average} over tracks"

    def definition(self) -> dict[str, Any]:
        """Return every fact about the numbers that does not depend on the data."""
        found = {name: METRICS.find(name) for name in self.columns}
        channels = "flattened: one scale for all channels of a track"
        if self.channels == "mean":
            channels = "mean over the channels in which the reference sounds"
        taps = f"{self.filters} taps, one set for the track (BSS Eval v4)"
        windowed = {name for name, m in found.items() if m.windowed} | {LEAKAGE}
        whole = [m.label for name, m in found.items() if name not in windowed]
        return {
            "preset": self.preset,
            **{name: m.definition for name, m in found.items()},
            "labels": {name: m.label for name, m in found.items()},
            "units": {name: m.unit for name, m in found.items()},
            "window_seconds": self.window_seconds,
            "window": f"{self.window_seconds:g} s, one after the other, the rest left "
            f"out ({', '.join(whole) or 'others'}: the whole track)",
            **({"filters": taps} if {"isr", "sir", "sar"} & set(found) else {}),
            "channels": f"{channels} (SI-SDR); all at once (others)",
            "zero_mean": self.zero_mean,
            "silence": f"{self.silence}: {SILENCES[self.silence]}",
            "aggregation": {name: self.aggregation(name) for name in found}
            | {"mean": "unweighted mean over classes"},
        }


def make_protocol(preset: str = "museval", **changes: Any) -> Protocol:
    """Return a preset, with changes.

    Args:
        preset: "museval" (SDR, ISR, SIR, SAR in windows of 1 s; median of windows, then
            of tracks: "cSDR"), "thesis" (the same in windows of 6 s, and of SI-SDR the
            median over tracks) or "mdx" (uSDR, mean over tracks; quick). All give
            SI-SDR and uSDR of whole tracks, too.
        **changes: fields of :class:`Protocol`.

    Raises:
        ValueError: there is no such preset, metric or choice.

    Example:
        >>> make_protocol("thesis", zero_mean=True).window_seconds
        6.0
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: {nearest(preset, PRESETS)}")
    protocol = dataclasses.replace(Protocol(preset, **PRESETS[preset]), **changes)
    for metric in protocol.metrics:
        METRICS.find(metric)
    if not protocol.metrics:
        raise ValueError("no metrics: name at least one")
    if (silence := protocol.silence) not in SILENCE:
        raise ValueError(f"unknown silence {silence!r}: {nearest(silence, SILENCE)}")
    return protocol
