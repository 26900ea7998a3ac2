"""BSS Eval: SDR, ISR, SIR and SAR of windows, equal to museval's, in float64."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.audio.int16 import to_float
from sepjax.evaluation.bss import projection
from sepjax.evaluation.bss import windows as framing
from sepjax.evaluation.bss.scores import BssScores, decibels, score
from sepjax.evaluation.device import float64_enabled

# Blocks in one step of the computation, of about 15 filter lengths each. With twice as
# many, temporaries are so large that the allocator hands them back to the kernel.
_BLOCKS = 8


def bss_eval(
    reference: Any,
    estimate: Any,
    *,
    window: float,
    hop: float,
    filters: int = 512,
    mode: Literal["v4", "v3"] = "v4",
    permute: bool = False,
    silence: framing.Silence = "drop",
    variant: Literal["images", "sources"] = "images",
) -> BssScores:
    r"""Score estimates against references with BSS Eval, in windows.

    With :math:`P` the least-squares projection onto all references delayed by 0 to
    ``filters - 1`` samples and :math:`P_j` that onto the channels of source j alone,

    .. math::
        e_\text{spat} = P_j \hat s - s, \quad e_\text{interf} = P \hat s - P_j \hat s,
        \quad e_\text{artif} = \hat s - P \hat s

        \text{SDR} = \tfrac{|s|^2}{|e_\text{spat} + e_\text{interf} +
        e_\text{artif}|^2}, \quad \text{ISR} = \tfrac{|s|^2}{|e_\text{spat}|^2}, \quad
        \text{SIR} = \tfrac{|P_j \hat s|^2}{|e_\text{interf}|^2}, \quad
        \text{SAR} = \tfrac{|P \hat s|^2}{|e_\text{artif}|^2}

    in dB, sums over samples and channels of a window.

    Args:
        reference: ``(sources, time, channels)``, floats or 16-bit integers.
        estimate: same shape.
        window: samples; infinite for the whole track. A shorter track is one window.
        hop: samples from window to window, may be fractional.
        filters: length of the projection filters in samples.
        mode: "v4", one set of filters for the track; "v3", one for each window.
        permute: match estimates to references by the best mean SIR, over the track in
            v4, in each window in v3.
        silence: a source counts as silent where its channels sum to zero all the time.
            "drop": one that is silent throughout, as reference or as estimate, gets
            NaN and leaves the others alone; a window in which any of the rest is silent
            is NaN for all, as in museval. "source": a silent source is NaN for itself
            only, in windows too. "museval": windows as in museval, and an error where a
            source is silent throughout.
        variant: "images", or "sources", where :math:`P_j \hat s` takes the place of
            the reference: SDR :math:`= |P_j \hat s|^2 / |\hat s - P_j \hat s|^2`, no
            ISR.

    Returns:
        :class:`BssScores`.

    Raises:
        ValueError: shapes, types or choices do not fit, samples are not finite, or a
            source is silent throughout under ``silence="museval"``.

    Example:
        >>> reference = np.random.default_rng(0).normal(size=(2, 4000, 1))
        >>> scores = bss_eval(
        ...     reference, 0.9 * reference, window=2000, hop=2000, filters=16
        ... )
        >>> scores.sdr.round(2)
        array([[20., 20.],
               [20., 20.]])
        >>> scores.counts
        array([2, 2])

    Note:
        Memory is that of the inputs and a few Gram matrices of
        ``(sources * channels * filters) ** 2`` float64, whatever the length. Under
        ``jax.jit`` the caller enables x64 and nothing is checked.

    Reference:
        Vincent et al., "Performance measurement in blind audio source separation",
        2006; Stöter et al., "The 2018 Signal Separation Evaluation Campaign".
    """
    _check_choices(mode, variant, filters)
    with float64_enabled():
        reference, estimate = framing.check(reference, estimate)
        parts = framing.windows(reference.shape[1], window, hop)
        scored = _scored_pairs(reference, estimate, parts, silence, permute)
        channels = reference.shape[2]
        pieces = [slice(None)]
        if framing.panned(reference):
            # One channel spans what all do: a problem of its own for each channel, with
            # an eighth of the work of two together.
            pieces = [slice(channel, channel + 1) for channel in range(channels)]
        energies, solved = [], []
        for piece in pieces:
            waves = reference[..., piece], estimate[..., piece]
            more = _measure(*waves, parts, scored, mode, filters, permute)
            energies.append(more[0])
            solved += more[1]
        total = [sum(windows) for windows in zip(*energies)]
        return score(total, scored, solved, mode, variant, silence, channels)


def sdr_frames(
    reference: Any,
    estimate: Any,
    *,
    window: float,
    hop: float,
    silence: framing.Silence = "drop",
) -> np.ndarray:
    r"""SDR alone, :math:`10 \log_{10} |s|^2 / |\hat s - s|^2` of every window.

    The three errors of BSS Eval images sum to :math:`\hat s - s`: its SDR needs neither
    filters nor the other sources. The number is the same, for next to no work.
    Arguments and errors are those of :func:`bss_eval`; ``silence`` is the only way in
    which sources touch one another.

    Returns:
        ``(sources, windows)`` float64 in dB.

    Example:
        >>> reference = np.ones((1, 8, 2))
        >>> sdr_frames(reference, 0.9 * reference, window=4, hop=4).round(2)
        array([[20., 20.]])
    """
    reference, estimate = framing.check(reference, estimate)
    parts = framing.windows(reference.shape[1], window, hop)
    scored = _scored_pairs(reference, estimate, parts, silence, False)
    columns = []
    for part, valid in zip(parts, scored):
        s, e = (to_float(wave[:, part], np.float64) for wave in (reference, estimate))
        ratio = decibels(np.square(s).sum((1, 2)), np.square(e - s).sum((1, 2)))
        columns.append(np.where(valid[:, 0], ratio, np.nan))
    return np.stack(columns, 1)


def _check_choices(mode: str, variant: str, filters: int) -> None:
    choices = {"mode": (mode, "v4", "v3"), "variant": (variant, "images", "sources")}
    for name, (value, *known) in choices.items():
        if value not in known:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}")
    if filters != int(filters) or filters < 1:
        raise ValueError(f"filters={filters!r} must be a whole number of samples, >= 1")


def _scored_pairs(
    reference: Any, estimate: Any, parts: Any, silence: Any, permute: bool
) -> list[Any]:
    """Which pairs of sources count in each window, by the rule for silence."""

    def sounding(part: slice) -> list[Any]:
        return [framing.sounding(wave, part) for wave in (reference, estimate)]

    sounds = sounding(slice(0, reference.shape[1]))
    framing.check_silence(silence, sounds)
    heard = (sounding(part) for part in parts)
    return list(framing.scored_pairs(sounds, heard, silence, permute))


def _measure(
    reference: Any,
    estimate: Any,
    parts: list[slice],
    scored: list[Any],
    mode: str,
    filters: int,
    permute: bool,
) -> tuple[list[Any], list[projection.Projection]]:
    """Energies of every window, and every set of filters that was solved for."""
    waves = reference, estimate
    energies: list[Any] = []
    solved: list[projection.Projection] = []
    spectra: dict[int, Any] = {}
    for part, pairs in zip(parts, scored):
        if framing.numpy_of(pairs) is np and not pairs.any():
            energies.append(np.full((len(projection.ENERGIES), *pairs.shape), np.nan))
            continue
        if mode == "v3" or not solved:
            stretch = part if mode == "v3" else slice(0, reference.shape[1])
            solved.append(_solve(*waves, stretch, filters, permute))
            spectra = {}
        length = part.stop - part.start + filters - 1
        plan = framing.plan_blocks(length, filters, _BLOCKS)
        size = plan.fft_size
        if size not in spectra:
            spectra[size] = projection.filter_spectra(*solved[-1][:2], fft_size=size)
        energies.append(_energies(spectra[size], waves, part, plan, filters))
    return energies, solved


def _solve(
    reference: Any, estimate: Any, part: slice, filters: int, permute: bool
) -> projection.Projection:
    """Filters of one stretch of the track, from its correlations."""
    sources, _, channels = reference.shape
    plan = framing.plan_blocks(part.stop - part.start, filters, _BLOCKS)
    width = sources * channels
    total = jnp.zeros((width, 2 * width, plan.fft_size // 2 + 1), complex)
    sizes = {"filters": filters, "fft_size": plan.fft_size}
    step = plan.block * plan.count
    for i in range(plan.steps):
        start = part.start + i * step
        stop = start + step + filters - 1
        pieces = [framing.segment(w, start, stop, part) for w in (reference, estimate)]
        total = projection.add_cross_spectra(total, *pieces, **sizes)
        _wait(total)
    return projection.solve_filters(total, **sizes, sources=sources, permute=permute)


def _wait(value: Any) -> None:
    # Steps that are queued hold their samples: waiting keeps memory bounded.
    if not isinstance(value, jax.core.Tracer):
        value.block_until_ready()


def _energies(
    spectra: Any, waves: Any, part: slice, plan: framing.Blocks, filters: int
) -> Any:
    """Energies of one window, filtered without history and with its tail."""
    step, total = plan.block * plan.count, 0.0
    sizes = {"filters": filters, "fft_size": plan.fft_size}
    for i in range(plan.steps):
        start = part.start + i * step - (filters - 1)
        stop = part.start + (i + 1) * step
        pieces = [framing.segment(wave, start, stop, part) for wave in waves]
        total = total + projection.window_energies(spectra, *pieces, **sizes)
        _wait(total)
    return total
