"""What is measured on a track, and how it is averaged: the presets and their words."""

import dataclasses
import itertools
from typing import Any, Literal

from sepjax.evaluation.bss.windows import SILENCE, Silence
from sepjax.registry import nearest

WINDOWED = ("sdr", "isr", "sir", "sar")  # scored in windows
WHOLE = ("si_sdr", "usdr")  # scored over the whole track
LEAKAGE = "leakage_dbfs"
LABELS = {"sdr": "SDR", "isr": "ISR", "sir": "SIR", "sar": "SAR"} | {
    "si_sdr": "SI-SDR",
    "usdr": "uSDR",
    LEAKAGE: "leakage",
}
UNITS = dict.fromkeys((*WINDOWED, *WHOLE), "dB") | {LEAKAGE: "dBFS"}
PRESETS = {
    "thesis": {"window_seconds": 6.0, "metrics": (*WINDOWED, *WHOLE)},
    "museval": {"window_seconds": 1.0, "metrics": (*WINDOWED, *WHOLE)},
    "mdx": {"window_seconds": 1.0, "metrics": ("usdr", "si_sdr")},
}
FILTERS = 512  # taps of the projections, as in museval


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How tracks are scored; see :func:`make_protocol`."""

    preset: str
    window_seconds: float
    metrics: tuple[str, ...]
    channels: Literal["flatten", "mean"] = "flatten"
    zero_mean: bool = False
    silence: Silence = "drop"
    filters: int = FILTERS

    @property
    def columns(self) -> tuple[str, ...]:
        """Everything that a track gets a value of."""
        return (*self.metrics, LEAKAGE)

    @property
    def needs_filters(self) -> bool:
        """Whether more than SDR is asked for, which takes most of the time."""
        return bool({"isr", "sir", "sar"} & set(self.metrics))

    def aggregation(self, metric: str) -> str:
        """From a track to the set, in words.

        Example:
            >>> make_protocol("thesis").aggregation("sdr")
            'median over 6 s windows, then median over tracks'
        """
        if metric in WINDOWED:
            windows = f"{self.window_seconds:g} s windows"
            return f"median over {windows}, then median over tracks"
        if metric == LEAKAGE:
            return "median over tracks"
        return "mean over tracks"

    def title(self) -> str:
        """One line on what the columns of a table are.

        Example:
            >>> make_protocol("mdx").title()
            'uSDR, SI-SDR (dB): mean over tracks. leakage (dBFS): median over tracks'
        """
        groups = itertools.groupby(
            self.columns, lambda m: (UNITS[m], self.aggregation(m))
        )
        return ". ".join(
            f"{', '.join(LABELS[m] for m in metrics)} ({unit}): {how}"
            for (unit, how), metrics in groups
        )

    def definition(self) -> dict[str, Any]:
        """Everything about the numbers that does not depend on the data."""
        words = {metric: MEANINGS[metric] for metric in self.columns}
        window = f"{self.window_seconds:g} s, one after the other, the rest left out"
        channels = "flattened: one scale for all channels of a track"
        if self.channels == "mean":
            channels = "mean over the channels in which the reference sounds"
        return {
            "preset": self.preset,
            **words,
            "window_seconds": self.window_seconds,
            "window": f"{window} (SI-SDR, uSDR: the whole track)",
            **self._filters(),
            "channels": f"{channels} (SI-SDR); all at once (others)",
            "zero_mean": self.zero_mean,
            "silence": f"{self.silence}: {SILENCES[self.silence]}",
            "aggregation": {m: self.aggregation(m) for m in self.columns}
            | {"mean": "unweighted mean over classes"},
            "pairing": "songs and classes by name",
            "length": "estimates cut, or filled with zeros, at their end",
        }

    def _filters(self) -> dict[str, str]:
        taps = f"{self.filters} taps, one set for the track (BSS Eval v4)"
        return {"filters": taps} if self.needs_filters else {}


MEANINGS = {
    "sdr": "10 log10(|s|^2 / |s - e|^2) dB of a window, reference s, estimate e",
    "isr": "source image to spatial distortion of a window, dB (BSS Eval images)",
    "sir": "source to interference of the other classes that were scored, dB",
    "sar": "sources to artifacts, which no scored class explains, dB",
    "si_sdr": "10 log10(|a s|^2 / |a s - e|^2) dB with a = <e, s> / |s|^2 "
    "(thesis eq. 2.12)",
    "usdr": "10 log10((sum s^2 + 1e-7) / (sum (s - e)^2 + 1e-7)) dB",
    LEAKAGE: "root mean square of the estimate in windows in which the reference is "
    "all zeros, dB re full scale 1",
}
SILENCES = {
    "drop": "a class that is silent in a whole track is not scored there; a window in "
    "which any other class is silent, as reference or estimate, counts for none",
    "source": "a class is not scored in windows and tracks in which it is silent",
    "museval": "a window in which any class is silent, as reference or estimate, "
    "counts for none; a class that is silent in a whole track fails the track",
}


def make_protocol(preset: str = "museval", **changes: Any) -> Protocol:
    """A preset, with changes.

    Args:
        preset: "museval" (SDR, ISR, SIR, SAR in windows of 1 s; median of windows, then
            of tracks: "cSDR"), "thesis" (the same in windows of 6 s) or "mdx" (uSDR,
            mean over tracks; quick). All give SI-SDR and uSDR of whole tracks, too.
        **changes: fields of :class:`Protocol`.

    Raises:
        ValueError: there is no such preset or choice.

    Example:
        >>> make_protocol("thesis", zero_mean=True).window_seconds
        6.0
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: {nearest(preset, PRESETS)}")
    protocol = dataclasses.replace(Protocol(preset, **PRESETS[preset]), **changes)
    for metric in protocol.metrics:
        if metric not in (*WINDOWED, *WHOLE):
            known = nearest(metric, (*WINDOWED, *WHOLE))
            raise ValueError(f"unknown metric {metric!r}: {known}")
    if not protocol.metrics:
        raise ValueError("no metrics: name at least one")
    if protocol.silence not in SILENCE:
        known = nearest(protocol.silence, SILENCE)
        raise ValueError(f"unknown silence {protocol.silence!r}: {known}")
    return protocol
