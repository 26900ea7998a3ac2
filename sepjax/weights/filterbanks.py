"""Filterbanks of others: asteroid-filterbanks, SincNet and MP-GTF, as taps."""

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.foreign.state_dict import StateReader
from sepjax.functional.filterbanks import sinc_hz_to_bands, sinc_kernel
from sepjax.registry import Registry, nearest

Taps = Float[Array, "length filters"]
KINDS = Registry("kind of filterbank")
"""Functions of arrays, the prefix of one bank and its sizes that return taps."""


def filterbank_from_state_dict(
    state: Mapping[str, Any],
    *,
    kind: str = "free",
    who_is_pinv: Literal["none", "enc", "dec"] = "none",
    kernel_size: int,
    stride: int = 0,
    sample_rate: float = 8000.0,
    min_low_hz: float = 50.0,
    min_band_hz: float = 50.0,
    rtol: float | None = None,
) -> tuple[Taps, Taps | None]:
    r"""Analysis and synthesis taps of a public filterbank, as a function of its state.

    A pseudo-inverse side is :math:`(W/L)\,(F^+)^T` of the other one's taps F, from a
    singular value decomposition, as in the source. The function can be differentiated
    with respect to the arrays in the state, so to filters or to parameters in hertz.

    Args:
        state: names -> arrays, with the prefixes ``encoder.filterbank.`` and
            ``decoder.filterbank.`` for two banks (``/`` for ``.`` will do), without
            them for one.
        kind: a key of :data:`KINDS`: "free", "stft" and "mpgtf" have their taps in the
            state, "param_sinc" and "sincnet" their edges in hertz.
        who_is_pinv: which side is the pseudo-inverse of the other, which alone is read.
        kernel_size: taps that were asked for; sinc filters of an even number get one
            more, as in the sources.
        stride: samples between frames; 0: half of the taps.
        sample_rate: Hz.
        min_low_hz: least lower edge.
        min_band_hz: least width of a band.
        rtol: singular values below this share of the greatest count as zero; by
            default what rounding leaves of a dependent filter, in the type computed in.
            The source has 1e-15.

    Returns:
        Analysis and synthesis taps (length, filters); the latter are ``None`` where the
        state has one bank and there is no pseudo-inverse.

    Raises:
        KeyError: an array is missing; the message names it.
        ValueError: an array has another shape than the sizes imply, or an option is
            not known.

    Example:
        >>> state = {"_filters": np.eye(4)[:, None]}
        >>> analysis, synthesis = filterbank_from_state_dict(
        ...     state, kernel_size=4, stride=2, who_is_pinv="dec"
        ... )
        >>> synthesis.shape, float(synthesis[0, 0])
        ((4, 4), 0.5)

    Reference:
        asteroid-filterbanks 0.4; Ravanelli and Bengio 2018 (SincNet).
    """
    if who_is_pinv not in ("none", "enc", "dec"):
        known = nearest(str(who_is_pinv), ("none", "enc", "dec"))
        raise ValueError(f"who_is_pinv={who_is_pinv!r}: {known}")
    arrays = {name.replace("/", "."): array for name, array in state.items()}
    reader = StateReader(arrays, jnp.asarray)
    sides = {side: f"{side}.filterbank." for side in ("encoder", "decoder")}
    present = [side for side in sides if reader.has(sides[side])]
    if not present:
        sides = dict.fromkeys(sides, "filterbank." * reader.has("filterbank."))
    rates = dict(
        sample_rate=sample_rate, min_low_hz=min_low_hz, min_band_hz=min_band_hz
    )

    def taps(side: str) -> Taps:
        return KINDS.build(kind, reader, sides[side], kernel_size, **rates)

    if who_is_pinv == "none":
        return taps("encoder"), taps("decoder") if "decoder" in present else None
    side = "decoder" if who_is_pinv == "enc" else "encoder"
    bank = taps(side if side in present or not present else present[0])
    hop = stride or len(bank) // 2
    # (L, N) -> (N, L) -> (L, N): the pseudo-inverse of the matrix of filters in rows.
    inverse = hop / len(bank) * jnp.linalg.pinv(bank.T, rtol=rtol)
    return (bank, inverse) if who_is_pinv == "dec" else (inverse, bank)


@KINDS.register("free")
@KINDS.register("stft")
@KINDS.register("mpgtf")
def stored_taps(
    state: StateReader, prefix: str, kernel_size: int, **unused: float
) -> Taps:
    """The filters that the state has, (filters, 1, length) there."""
    return state.take(f"{prefix}_filters", -1, 1, kernel_size)[:, 0].T


@KINDS.register("param_sinc")
def param_sinc_taps(
    state: StateReader, prefix: str, kernel_size: int, **rates: float
) -> Taps:
    """ParamSincFB of asteroid: all even filters, then all odd ones, Hamming window."""
    low, high = _edges(state, prefix, **rates)
    return sinc_kernel(low, high, kernel_size + 1 - kernel_size % 2)


@KINDS.register("sincnet")
def sincnet_taps(
    state: StateReader, prefix: str, kernel_size: int, **rates: float
) -> Taps:
    r"""SincNet's SincConv_fast: even filters alone under a window of its own.

    Its window :math:`0.54 - 0.46 \cos(2\pi n / L)` is sampled at (L-1)/2 points from
    0 to L/2 - 1, which are not whole numbers, and mirrored around a centre of one.
    """
    low, high = _edges(state, prefix, **rates)
    length = kernel_size + 1 - kernel_size % 2
    points = np.linspace(0, length / 2 - 1, length // 2)
    half = 0.54 - 0.46 * np.cos(2 * np.pi * points / length)
    window = np.concatenate([half, [1.0], half[::-1]])[:, None]
    taps = sinc_kernel(low, high, length, window="none", phase="even")
    return taps * jnp.asarray(window, taps.dtype)


def _edges(state: StateReader, prefix: str, **rates: float) -> tuple[Array, Array]:
    params = {
        name: state.take(f"{prefix}{name}_", -1, 1)[:, 0]
        for name in ("low_hz", "band_hz")
    }
    return sinc_hz_to_bands(params, **rates)


def multiphase_gammatone(
    filters: int, length: int, *, sample_rate: float, centers: int = 24
) -> Taps:
    r"""The multi-phase gammatone filterbank as its authors compute it.

    ``centers`` frequencies one ERB apart from 100 Hz on, whatever the rate; every one
    has equally many phases over :math:`[0, \pi)`, the lowest ones those left over,
    followed by their negatives. All filters have the root
    mean square of the loudest one, with time in seconds.

    Args:
        filters: even number of filters.
        length: taps.
        sample_rate: Hz.
        centers: number of centre frequencies.

    Raises:
        ValueError: the number of filters is odd.

    Example:
        >>> multiphase_gammatone(128, 16, sample_rate=8000).shape
        (16, 128)

    Reference:
        Ditter and Gerkmann 2020; sp-uhh/mp-gtf.
    """
    if filters % 2:
        raise ValueError(f"filters={filters} must be even: negatives make pairs")
    scale, offset = 9.265, 24.7 * 9.265  # of ERB numbers; Glasberg and Moore 1990
    center = (100 + offset) * np.exp(np.arange(centers) / scale) - offset
    counts = np.full(centers, filters // 2 // centers)
    counts[: filters // 2 % centers] += 1
    phase = np.concatenate([np.pi * np.arange(n) / n for n in counts if n])
    center = np.repeat(center, counts)
    decay = 4 * (24.7 + 0.108 * center)  # 2 pi b with b = ERB 2 / pi
    # Nothing is learnt here: float64 costs nothing, and angles are large.
    time = np.arange(1, length + 1)[:, None] / sample_rate
    half = time * np.exp(-decay * time) * np.cos(2 * np.pi * center * time + phase)
    level = np.sqrt(np.mean(half**2, axis=0))
    half *= level.max() / level
    pairs = [np.hstack([f, -f]) for f in np.split(half, np.cumsum(counts)[:-1], axis=1)]
    return jnp.asarray(np.hstack(pairs), jnp.result_type(float))
