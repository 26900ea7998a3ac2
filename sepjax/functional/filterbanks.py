r"""Parametrised filterbanks: sinc and gammatone kernels from learnable parameters.

Frequencies are in cycles per sample (:math:`\nu = f / f_s`, Nyquist 0.5), unless a name
says hertz. Learnable parameters are unconstrained reals, which ``sinc_params_to_bands``
and ``gammatone_params_to_physical`` map smoothly into their valid ranges.
"""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Spacing = Literal["mel", "uniform", "multiphase"]

SINC_FLOOR = 50 / 44100
"""Least lower edge and least width of a sinc band, cycles per sample."""
GAMMATONE_FLOOR = 5 / 44100
"""Least gammatone bandwidth, cycles per sample."""
GAMMATONE_CEILING = 0.25
"""Greatest gammatone bandwidth, cycles per sample: an impulse of about two taps."""


def sinc_kernel(
    low: Float[Array, " filters"],
    high: Float[Array, " filters"],
    length: int,
    *,
    window: Literal["hamming", "none"] = "hamming",
    phase: Literal["even", "analytic"] = "analytic",
    gain: Literal["unit", "band"] = "unit",
) -> Float[Array, "length channels"]:
    r"""Windowed ideal band-pass filters (thesis eq. 5.2).

    With centre :math:`c = (\nu_1 + \nu_2) / 2`, width :math:`\Delta = \nu_2 - \nu_1`
    and centred taps :math:`n = -(L-1)/2 \dots (L-1)/2`, the even filter is

    .. math:: g[n] = \frac{\sin 2\pi\nu_2 n - \sin 2\pi\nu_1 n}{2 \pi n \Delta}
              = \cos(2 \pi c n) \, \mathrm{sinc}(\Delta n),

    and the odd one has the sine in place of the cosine; the pair is the real and the
    imaginary part of one complex filter. Even filters alone span only half of the
    space of kernels, so a bank of them cannot be inverted.

    The printed form :math:`2 \Delta g[n]`, without a window, keeps the band's gain: its
    response is 1 there, where that of g is :math:`1 / (2 \Delta)`.

    Args:
        low: lower band edges :math:`\nu_1`.
        high: upper band edges :math:`\nu_2`.
        length: taps, odd or even; the centre tap of an even filter of odd length is 1.
        window: symmetric Hamming window or none.
        phase: ``"analytic"`` returns all even filters, then all odd ones;
            ``"even"`` the even ones alone.
        gain: ``"band"`` keeps the factor :math:`2 \Delta`, ``"unit"`` divides by it.

    Example:
        >>> sinc_kernel(jnp.array([0.1]), jnp.array([0.2]), 5).shape
        (5, 2)

    Reference:
        Ravanelli and Bengio 2018, SincNet; Pariente et al. 2020, filterbank design for
        end-to-end speech separation.
    """
    taps = (jnp.arange(length, dtype=low.dtype) - (length - 1) / 2)[:, None]
    envelope = jnp.sinc((high - low)[None] * taps)
    if window == "hamming":
        envelope = envelope * jnp.asarray(np.hamming(length), low.dtype)[:, None]
    if gain == "band":
        envelope = envelope * 2 * (high - low)[None]
    angle = jnp.pi * (low + high)[None] * taps
    even = envelope * jnp.cos(angle)
    if phase == "even":
        return even
    return jnp.concatenate([even, envelope * jnp.sin(angle)], axis=1)


def gammatone_kernel(
    center: Float[Array, " filters"],
    bandwidth: Float[Array, " filters"],
    phase: Float[Array, " filters"],
    length: int,
    *,
    order: int = 2,
    normalize: bool = True,
) -> Float[Array, "length filters"]:
    r"""Gammatone filters (thesis eq. 5.3).

    .. math:: g[n] = n^{k-1} e^{-2\pi b n} \cos(2\pi\nu n + \phi), \quad n = 1 \dots L

    The taps start at 1: with a tap at 0, which is zero for every filter, the bank would
    lose a rank and could not be inverted.

    Args:
        center: frequencies :math:`\nu`, cycles per sample.
        bandwidth: decay rates b, cycles per sample.
        phase: of the carriers, radians.
        length: taps.
        order: k.
        normalize: scale every filter to unit root mean square.

    Example:
        >>> one = jnp.array([0.1])
        >>> gammatone_kernel(one, 0.1 * one, 0 * one, 16).shape
        (16, 1)

    Reference:
        Ditter and Gerkmann 2020, multi-phase gammatone filterbank.
    """
    taps = jnp.arange(1, length + 1, dtype=center.dtype)[:, None]
    envelope = taps ** (order - 1) * jnp.exp(-2 * jnp.pi * bandwidth[None] * taps)
    kernel = envelope * jnp.cos(2 * jnp.pi * center[None] * taps + phase[None])
    if normalize:
        power = jnp.mean(kernel**2, axis=0, keepdims=True)
        kernel = kernel / jnp.sqrt(power + 1e-8)
    return kernel


def sinc_params_to_bands(
    params: Mapping[str, Array], *, floor: float = SINC_FLOOR
) -> tuple[Float[Array, " filters"], Float[Array, " filters"]]:
    r"""Lower and upper edges of sinc bands from unconstrained parameters.

    For ``{"low": a, "width": c}``, :math:`\nu_1 = \beta + (1/2 - 2\beta)\,\sigma(a)`
    and :math:`\nu_2 = \nu_1 + \beta + (1/2 - \nu_1 - \beta)\,\sigma(c)` with the floor
    :math:`\beta`, hence :math:`\beta \le \nu_1 < \nu_2 \le 1/2` for all reals.

    Example:
        >>> zero = jnp.zeros(1)
        >>> low, high = sinc_params_to_bands({"low": zero, "width": zero})
        >>> bool(low[0] < high[0] <= 0.5)
        True
    """
    low = floor + (0.5 - 2 * floor) * jax.nn.sigmoid(params["low"])
    high = low + floor + (0.5 - low - floor) * jax.nn.sigmoid(params["width"])
    return low, high


def gammatone_params_to_physical(
    params: Mapping[str, Array],
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    r"""Centres, bandwidths and phases from unconstrained parameters.

    For ``{"center": a, "bandwidth": c, "phase": radians}``, :math:`\nu = \sigma(a)/2`
    and :math:`b = b_0 + (b_1 - b_0)\,\sigma(c)` between ``GAMMATONE_FLOOR`` and
    ``GAMMATONE_CEILING``; phases are free.

    Example:
        >>> params = init_gammatone(4, sample_rate=8000, spacing="mel")
        >>> center, bandwidth, phase = gammatone_params_to_physical(params)
        >>> bool((center < 0.5).all())
        True
    """
    center = 0.5 * jax.nn.sigmoid(params["center"])
    span = GAMMATONE_CEILING - GAMMATONE_FLOOR
    bandwidth = GAMMATONE_FLOOR + span * jax.nn.sigmoid(params["bandwidth"])
    return center, bandwidth, params["phase"]


def sinc_hz_to_bands(
    params: Mapping[str, Array],
    *,
    sample_rate: float,
    min_low_hz: float = 50.0,
    min_band_hz: float = 50.0,
) -> tuple[Float[Array, " filters"], Float[Array, " filters"]]:
    r"""Lower and upper edges of sinc bands from parameters in hertz.

    :math:`f_1 = f_{min} + |\theta_1|` and
    :math:`f_2 = \mathrm{clip}(f_1 + b_{min} + |\theta_2|, f_{min}, f_s / 2)`, returned
    in cycles per sample. This is how the reference implementations learn; an optimiser
    that moves a parameter by its learning rate then moves a band by so many hertz, and
    a band whose upper edge has reached Nyquist no longer learns its width.

    Args:
        params: ``{"low_hz": theta_1, "band_hz": theta_2}``.
        sample_rate: Hz.
        min_low_hz: least lower edge.
        min_band_hz: least width.

    Example:
        >>> params = {"low_hz": jnp.array([-50.0]), "band_hz": jnp.array([150.0])}
        >>> low, high = sinc_hz_to_bands(params, sample_rate=1000)
        >>> low.tolist(), round(float(high[0]), 3)
        ([0.10000000149011612], 0.3)

    Reference:
        Ravanelli and Bengio 2018; Pariente et al. 2020.
    """
    low = min_low_hz + jnp.abs(params["low_hz"])
    high = low + min_band_hz + jnp.abs(params["band_hz"])
    high = jnp.clip(high, min_low_hz, sample_rate / 2)
    return low / sample_rate, high / sample_rate


def gammatone_hz_to_physical(
    params: Mapping[str, Array], *, sample_rate: float
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, " n"]]:
    """Centres, bandwidths and phases from parameters in hertz and radians.

    ``center_hz`` and ``bandwidth_hz`` by absolute value in cycles per sample, centres
    up to Nyquist, bandwidths between ``GAMMATONE_FLOOR`` and ``GAMMATONE_CEILING``;
    clipped values have no gradient.

    Example:
        >>> params = init_gammatone_hz(4, sample_rate=8000, spacing="mel")
        >>> center, _, _ = gammatone_hz_to_physical(params, sample_rate=8000)
        >>> round(float(center[0]) * 8000)
        50
    """
    center = jnp.minimum(jnp.abs(params["center_hz"]) / sample_rate, 0.5)
    bandwidth = jnp.abs(params["bandwidth_hz"]) / sample_rate
    bandwidth = jnp.clip(bandwidth, GAMMATONE_FLOOR, GAMMATONE_CEILING)
    return center, bandwidth, params["phase"]


def init_sinc_hz(
    filters: int, *, sample_rate: float, spacing: Literal["mel", "uniform"]
) -> dict[str, Array]:
    """The bands of :func:`init_sinc` as parameters of :func:`sinc_hz_to_bands`.

    Example:
        >>> sorted(init_sinc_hz(8, sample_rate=8000, spacing="mel"))
        ['band_hz', 'low_hz']
    """
    edges = _sinc_edges(filters, sample_rate, spacing)
    values = {"low_hz": edges[:-1], "band_hz": np.diff(edges)}
    return {name: jnp.asarray(hz, jnp.float32) for name, hz in values.items()}


def init_gammatone_hz(
    filters: int, *, sample_rate: float, spacing: Spacing
) -> dict[str, Array]:
    """The filters of :func:`init_gammatone` for :func:`gammatone_hz_to_physical`.

    Example:
        >>> init_gammatone_hz(6, sample_rate=8000, spacing="mel")["phase"].shape
        (6,)
    """
    center, bandwidth, phase = _gammatone_layout(filters, sample_rate, spacing)
    values = {"center_hz": center, "bandwidth_hz": bandwidth, "phase": phase}
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


def init_sinc(
    filters: int,
    *,
    sample_rate: float,
    spacing: Literal["mel", "uniform"],
    floor: float = SINC_FLOOR,
) -> dict[str, Array]:
    """Unconstrained parameters of ``filters`` adjacent sinc bands.

    ``filters + 1`` points lie between 30 Hz and 100 Hz below Nyquist, equally spaced in
    mel or in hertz; a band reaches from 50 Hz above its point to 100 Hz above the next,
    as in the reference implementations, whose least band edge and width of 50 Hz are
    added to the spacing.

    Raises:
        ValueError: a spacing that sinc filters do not have.

    Example:
        >>> sorted(init_sinc(8, sample_rate=8000, spacing="mel"))
        ['low', 'width']
    """
    edges = _sinc_edges(filters, sample_rate, spacing)
    low = (50 + edges[:-1]) / sample_rate
    high = np.minimum(low + (50 + np.diff(edges)) / sample_rate, 0.5)
    return {
        "low": _logit((low - floor) / (0.5 - 2 * floor)),
        "width": _logit((high - low - floor) / (0.5 - low - floor)),
    }


def init_gammatone(
    filters: int, *, sample_rate: float, spacing: Spacing
) -> dict[str, Array]:
    """Unconstrained parameters of gammatone filters with auditory bandwidths.

    ``"mel"`` and ``"uniform"`` place pairs of phases 0 and pi/2 at equally spaced
    centres from 50 Hz to 100 Hz below Nyquist; ``"multiphase"`` is the layout of the
    multi-phase gammatone filterbank: centres one ERB apart from 100 Hz on, several
    phases each, every filter beside its negative. Bandwidths follow
    ``ERB = 24.7 + 0.108 f`` Hz with ``b = 2 ERB / pi``, the value for order 2.

    Example:
        >>> init_gammatone(6, sample_rate=8000, spacing="mel")["phase"].shape
        (6,)

    Reference:
        Glasberg and Moore 1990; Ditter and Gerkmann 2020.
    """
    center, bandwidth, phase = _gammatone_layout(filters, sample_rate, spacing)
    span = GAMMATONE_CEILING - GAMMATONE_FLOOR
    return {
        "center": _logit(2 * center / sample_rate),
        "bandwidth": _logit((bandwidth / sample_rate - GAMMATONE_FLOOR) / span),
        "phase": jnp.asarray(phase, jnp.float32),
    }


def _sinc_edges(filters: int, sample_rate: float, spacing: str) -> np.ndarray:
    if spacing not in ("mel", "uniform"):
        raise ValueError(f"init_type {spacing!r} is not for sinc filters: mel, uniform")
    return _spaced(30.0, sample_rate / 2 - 100, filters + 1, spacing)


def _gammatone_layout(
    filters: int, sample_rate: float, spacing: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and bandwidths in hertz, and phases."""
    if spacing == "multiphase":
        center, phase = _multiphase(filters, sample_rate)
    else:
        half = _spaced(50.0, sample_rate / 2 - 100, (filters + 1) // 2, spacing)
        center = np.concatenate([half, half])[:filters]
        phase = np.repeat([0.0, np.pi / 2], len(half))[:filters]
    return center, (24.7 + 0.108 * center) * 2 / np.pi, phase


def _multiphase(filters: int, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (Hz) and phases of the multi-phase layout, negatives last."""
    first, scale, offset = 100.0, 9.265, 24.7 * 9.265
    steps = int(scale * np.log((sample_rate / 2 + offset) / (first + offset)))
    centers = (first + offset) * np.exp(np.arange(steps + 1) / scale) - offset
    pairs = -(-filters // 2)
    counts = np.full(len(centers), pairs // len(centers))
    counts[: pairs % len(centers)] += 1
    center = np.repeat(centers, counts)
    phase = np.concatenate([np.pi * np.arange(n) / n for n in counts if n])
    phases = np.concatenate([phase, phase + np.pi])
    return np.tile(center, 2)[:filters], phases[:filters]


def _spaced(first: float, last: float, count: int, spacing: str) -> np.ndarray:
    """``count`` frequencies in hertz, equally spaced in mel or in hertz."""
    if spacing == "uniform":
        return np.linspace(first, last, count)
    low, high = 2595 * np.log10(1 + np.array([first, last]) / 700)
    return 700 * (10 ** (np.linspace(low, high, count) / 2595) - 1)


def _logit(share: np.ndarray) -> Float[Array, " n"]:
    share = np.clip(share, 1e-4, 1 - 1e-4)
    return jnp.asarray(np.log(share) - np.log1p(-share), jnp.float32)
