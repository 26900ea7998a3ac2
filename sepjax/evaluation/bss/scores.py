"""From energies of windows to scores in dB, and the order of the estimates."""

from typing import Any, NamedTuple

import jax
import numpy as np

from sepjax.evaluation.bss.projection import ENERGIES, LOADINGS, SINGULAR, Projection
from sepjax.evaluation.bss.windows import numpy_of


class BssScores(NamedTuple):
    """Scores in dB, ``(sources, windows)`` float64, and how far to trust them.

    NaN: not scored, since a signal is silent. Infinity: the error is zero.
    """

    sdr: np.ndarray
    """Source image to distortion: everything that is not the reference."""
    isr: np.ndarray
    """Source image to spatial distortion; NaN in the sources variant."""
    sir: np.ndarray
    """Source to interference of the other sources."""
    sar: np.ndarray
    """Sources to artifacts, which no reference explains."""
    permutation: np.ndarray
    """``estimate[permutation[j]]`` is scored as source j: ``(sources,)``, in mode v3
    ``(sources, windows)``."""
    ill_conditioned: np.ndarray
    """bool: the filters needed diagonal loading (ISR, SIR, SAR are approximate)."""
    near_singular: np.ndarray
    """bool: eigenvalues of the Gram matrix span more than float64 (same caution)."""
    counts: np.ndarray
    """``(sources,)`` int: windows that were scored."""
    windows: int
    """Windows in all."""
    loading: np.ndarray
    """Largest loading that was used, relative to each channel's power."""
    eigenvalue_ratio: np.ndarray
    """Smallest over largest eigenvalue, the worst of all systems."""
    dropped: np.ndarray
    """``(sources, channels)`` bool: left out of the subspace, in some window, as it is
    silent or a multiple of an earlier channel of its source."""


_NEVER = -1e6  # dB; keeps pairs without a score as the last choice


def score(
    energies: list[Any],
    scored: list[Any],
    solved: list[Projection],
    mode: str,
    variant: str,
    silence: str,
    channels: int,
) -> BssScores:
    """Return the scores of the best order of the estimates, if several were measured.

    Energies ``(len(ENERGIES), sources, estimates)``, and which of the pairs count, are
    those of each window. Mode "v3" chooses an order for each; silence "museval" keeps
    the order as given where a window has no scores.
    """
    xp = numpy_of(*energies, *scored)
    stacked = xp.stack([xp.asarray(energy) for energy in energies], -1)
    valid = xp.stack(scored, -1)
    metrics = [xp.where(valid, metric, np.nan) for metric in _metrics(stacked, variant)]
    order = _order(metrics[2], mode, silence)
    sources, estimates, count = valid.shape
    if estimates == sources:
        picked = order if mode == "v3" else xp.stack([order] * count, -1)
        metrics = [_pick(metric, picked) for metric in metrics]
        valid = _pick(valid, picked)
    else:
        metrics, valid = [metric[:, 0] for metric in metrics], valid[:, 0]
    facts = _trust(solved, (sources, channels), xp) | {"counts": valid.sum(-1)}
    return BssScores(*metrics, permutation=order, windows=count, **facts)


def _metrics(energies: Any, variant: str) -> tuple[Any, Any, Any, Any]:
    energy = dict(zip(ENERGIES, energies))
    sir = decibels(energy["filtered"], energy["interference"])
    sar = decibels(energy["projected"], energy["artifacts"])
    if variant == "sources":
        return decibels(energy["filtered"], energy["rest"]), sir * np.nan, sir, sar
    sdr = decibels(energy["signal"], energy["error"])
    return sdr, decibels(energy["signal"], energy["spatial"]), sir, sar


def decibels(signal: Any, error: Any) -> Any:
    """``10 log10(signal / error)``, infinite where there is no error."""
    xp = numpy_of(signal, error)
    safe = xp.where(error > 0, error, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10 * xp.log10(signal / safe)
    return xp.where(error == 0, np.inf, xp.where(error > 0, ratio, np.nan))


def _pick(values: Any, order: Any) -> Any:
    """(sources, estimates, windows) to (sources, windows) in this order."""
    return numpy_of(values, order).take_along_axis(values, order[:, None], 1)[:, 0]


def _order(sir: Any, mode: str, silence: str) -> Any:
    """The estimate of each source that together have the best mean SIR."""
    sources, estimates, count = sir.shape
    shape = (sources, count) if mode == "v3" else (sources,)
    if estimates != sources or sources == 1:
        same = np.arange(sources).reshape(-1, 1) if mode == "v3" else np.arange(sources)
        return np.broadcast_to(same, shape).copy()
    if numpy_of(sir) is np:
        return _assign(sir, mode, silence)
    result = jax.ShapeDtypeStruct(shape, np.int32)
    return jax.pure_callback(
        lambda sir: _assign(sir, mode, silence).astype(np.int32), result, sir
    )


def _assign(sir: Any, mode: str, silence: str) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment  # slow to load, seldom needed

    sir = np.asarray(sir)
    if mode == "v3":
        each = [_assign(sir[..., t, None], "v4", silence) for t in range(sir.shape[-1])]
        return np.stack(each, -1)
    missing = np.isnan(sir)
    if missing.all() or (missing.any() and silence == "museval"):
        return np.arange(len(sir))
    # Finite numbers in the place of infinities keep their rank and can be averaged.
    finite = np.where(missing, 0.0, np.clip(sir, _NEVER / 10, -_NEVER / 10))
    used = (~missing).sum(-1)
    mean = np.where(used > 0, finite.sum(-1) / np.maximum(used, 1), _NEVER)
    return linear_sum_assignment(mean, maximize=True)[1]


def _trust(solved: list[Projection], shape: tuple[int, int], xp: Any) -> dict[str, Any]:
    """Flags and figures over all sets of filters."""
    # Where nothing sounds together there are no filters, and no doubt.
    loading, ratio, dropped = np.float64(0), np.float64(np.nan), np.ones(shape, bool)
    if solved:
        loading, ratio, dropped = (
            xp.stack([xp.asarray(getattr(each, name)) for each in solved])
            for name in ("loading", "eigenvalue_ratio", "dropped")
        )
        loading, ratio, dropped = loading.max(), ratio.min(), dropped.any(0)
    ill_conditioned = loading > LOADINGS[0]
    if dropped.shape[1] < shape[1]:  # channels like the first were never looked at
        dropped = np.pad(dropped, ((0, 0), (0, shape[1] - 1)), constant_values=True)
    flags = {"ill_conditioned": ill_conditioned}
    flags["near_singular"] = ~ill_conditioned & (ratio < SINGULAR)
    return flags | {"loading": loading, "eigenvalue_ratio": ratio, "dropped": dropped}
