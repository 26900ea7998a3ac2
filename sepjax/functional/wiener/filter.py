r"""Multichannel Wiener filtering of a mixture, refined by expectation-maximization.

Every source j is a local Gaussian: its short-time spectrum has the variance
:math:`v_j(t, f)` times a spatial covariance :math:`R_j(f)`. Sources that are estimated
give both, and both give better estimates.

Reference: Duong, Vincent and Gribonval 2010; Nugraha, Liutkus and Vincent 2016;
norbert 0.2.1; Open-Unmix 1.3.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from sepjax.functional.wiener.one_step import filter_once, local_gaussians
from sepjax.functional.wiener.split_complex import Split

Mixture = Complex[Array, "*batch frames bins channels"]
Estimates = Complex[Array, "*batch sources frames bins channels"]
Magnitudes = Float[Array, "*batch sources frames bins channels"]
Results = Complex[Array, "*batch results frames bins channels"]
"""One for each source, and one more where there is a residual."""

ENTRIES = 300 * 128  # of a spectrum filtered at once, whose variances fit into caches

VARIANTS = ("umx", "norbert")
"""Open-Unmix' filter, with one regularization, and norbert's, with its type's."""


def wiener_em(
    magnitudes: Magnitudes,
    mixture: Mixture,
    *,
    iterations: int = 1,
    softmask: bool = False,
    residual: bool = False,
    variant: str = "umx",
    excerpt_frames: int = 300,
    merge_tail: int = 0,
) -> Results:
    r"""Separate a mixture, given estimates of the magnitudes of its sources.

    The estimates of :func:`initial_estimates` go through ``iterations`` of
    :func:`expectation_maximization`. Long files are cut into excerpts without overlap,
    of which each has covariances and a scale of its own: mixture and estimates are
    divided by :math:`s = \max(1, \max|x| / 10)` and multiplied by it again at the end.
    Excerpts are computed one after the other, so that memory for one is enough.

    Args:
        magnitudes: of every source and channel, zero or more.
        mixture: short-time spectra.
        iterations: 0: the initial estimates as they are.
        softmask: start from a ratio mask, not from the mixture's phase.
        residual: one more source at the end, what the others leave of the mixture.
        variant: "umx" (:math:`\epsilon = 10^{-10}` in every type, at most two
            channels) or "norbert" (:math:`\epsilon` is that of the type, which in
            float32 regularizes 35 times as much; any number of channels).
        excerpt_frames: length of an excerpt; 0: all frames are one.
        merge_tail: a last excerpt with fewer frames than this belongs to the one
            before: covariances of few frames fit anything. 0: never, as in Open-Unmix.

    Raises:
        ValueError: shapes that do not fit, complex magnitudes, an unknown variant, or
            more than two channels with "umx".

    Example:
        >>> mixture = jnp.ones((5, 9, 2)) * (1 + 1j)
        >>> magnitudes = jnp.stack([abs(mixture) * share for share in (0.25, 0.75)])
        >>> (10 * wiener_em(magnitudes, mixture)[:, 0, 0, 0].real).round()
        Array([1., 9.], dtype=float32)
    """
    _check(magnitudes, mixture, variant)
    if jnp.iscomplexobj(magnitudes):
        raise ValueError(f"magnitudes must be real, they are {magnitudes.dtype}")

    eps, channels = _eps(variant, mixture), mixture.shape[-1]
    loading, slips = _loading(variant, eps, channels), variant == "umx"

    first = functools.partial(
        _first, eps=eps, softmask=softmask, residual=residual, slips=slips
    )

    def separate(magnitudes: Array, mixture: Array) -> Array:
        x = Split.of(mixture)
        if not iterations:
            return first(magnitudes, x).joined()
        scale = _scale(x)

        def refined(magnitudes: Array, x: Split) -> Array:
            y, x = first(magnitudes, x) * (1 / scale), x * (1 / scale)
            return (_refined(y, x, iterations, eps, loading) * scale).joined()

        return _by_bins(refined, magnitudes, x)

    # Frames and bins come last from here on: every pass runs along the bins.
    magnitudes, mixture = (jnp.moveaxis(z, -1, -3) for z in (magnitudes, mixture))
    y = _by_excerpts(separate, magnitudes, mixture, excerpt_frames, merge_tail)
    return jnp.moveaxis(y, -3, -1)


def initial_estimates(
    magnitudes: Magnitudes,
    mixture: Mixture,
    *,
    softmask: bool = False,
    residual: bool = False,
    variant: str = "umx",
) -> Results:
    r"""Sources with the phase of the mixture, or parts of the mixture itself.

    :math:`y_j = V_j x / |x|`, or with ``softmask``
    :math:`y_j = x V_j / (\epsilon + \sum_k V_k)`, for every channel alone; a
    ``residual`` :math:`x - \sum_j y_j` follows them.

    Example:
        >>> magnitudes = jnp.array([1.0, 4.0]).reshape(2, 1, 1, 1)
        >>> mixture = jnp.full((1, 1, 1), 10j)
        >>> initial_estimates(magnitudes, mixture, residual=True).ravel()
        Array([0.+1.j, 0.+4.j, 0.+5.j], dtype=complex64)
    """
    _check(magnitudes, mixture, variant)
    x, eps = Split.of(mixture), _eps(variant, mixture)
    return _first(magnitudes, x, eps, softmask, residual, variant == "umx").joined()


def expectation_maximization(
    estimates: Estimates,
    mixture: Mixture,
    *,
    iterations: int = 1,
    variant: str = "umx",
) -> Estimates:
    r"""Fit Gaussians to estimates and filter the mixture with them, again and again.

    With :math:`v_j` and :math:`R_j` of :func:`gaussian_model` an iteration is

    .. math:: y_j = v_j R_j w, \quad
              w = \Big(\sum_k v_k R_k + \sqrt\epsilon I\Big)^{-1} x

    and no matrix is ever inverted. Nothing is scaled here.

    Where two channels are nearly the same, or a source is in one of them only, the
    determinant of :math:`\sum_k v_k R_k` is the small difference of large numbers: in
    float32 its inverse leaves an error only 25 dB below a duplicated mono signal.
    Sums of terms that are not negative are computed instead. With the least-squares
    ratio :math:`l_j` of the second channel to the first one, :math:`p_j` and
    :math:`q_j` the power in the first channel and what it does not explain of the
    second one,

    .. math::
        R_j &= p_j \begin{pmatrix} 1 \\ l_j \end{pmatrix}
               \begin{pmatrix} 1 & \bar l_j \end{pmatrix}
               + q_j \begin{pmatrix} 0 \\ 1 \end{pmatrix}
               \begin{pmatrix} 0 & 1 \end{pmatrix} \\
        a &= \sqrt\epsilon + \sum_k v_k p_k, \quad
        m = \frac1a \sum_k v_k p_k l_k, \quad
        s = \sqrt\epsilon (1 + |m|^2)
            + \sum_k v_k (p_k |l_k - m|^2 + q_k) \\
        r &= \frac{x_2 - m x_1}{s}, \quad
        y_{j1} = v_j p_j \Big(\frac{x_1}{a} + \overline{(l_j - m)} r\Big), \quad
        y_{j2} = l_j y_{j1} + v_j q_j r .

    Differences of :math:`l_j` are taken between sources, never with a sum of them. The
    variants are those of :func:`wiener_em`.

    Example:
        >>> y = jnp.ones((2, 4, 3, 2)) * (0.5 + 0j)
        >>> expectation_maximization(y, jnp.sum(y, 0))[0, 0, 0].round(3)
        Array([0.5+0.j, 0.5+0.j], dtype=complex64)
    """
    _check(estimates, mixture, variant)
    eps = _eps(variant, mixture)
    loading = _loading(variant, eps, mixture.shape[-1])
    y, x = (Split.of(jnp.moveaxis(z, -1, -3)) for z in (estimates, mixture))
    return jnp.moveaxis(_refined(y, x, iterations, eps, loading).joined(), -3, -1)


def gaussian_model(
    estimates: Estimates, *, variant: str = "umx"
) -> tuple[
    Float[Array, "*batch sources frames bins"],
    Complex[Array, "*batch sources bins channels channels"],
]:
    r"""Variances and spatial covariances of estimates of I channels.

    :math:`v_j = \sum_i |y_{ij}|^2 / I` and
    :math:`R_j = \sum_t y_j y_j^H / (\epsilon + \sum_t v_j)`.

    Example:
        >>> v, covariance = gaussian_model(jnp.full((1, 2, 1, 2), 3j))
        >>> v.ravel(), covariance[0, 0].real
        (Array([9., 9.], dtype=float32), Array([[1., 1.],
               [1., 1.]], dtype=float32))
    """
    y = jnp.moveaxis(estimates, -1, -3)
    v, covariance = local_gaussians(Split.of(y), _eps(variant, y))
    return v, jnp.moveaxis(covariance.joined(), -1, -3)


def residual_model(
    magnitudes: Magnitudes, mixture: Mixture, *, alpha: float = 1.0
) -> Float[Array, "*batch results frames bins channels"]:
    r"""Scale magnitudes to the mixture's and append the rest of the mixture.

    With :math:`v_x = \max(\epsilon, |x|^\alpha)` and
    :math:`v = \sum_j v_j` every bin has the gain
    :math:`g = \sum_t v_x v / (\epsilon + \sum_t v^2)`; sources become
    :math:`g v_j`, and :math:`\max(0, v_x - v)` follows them: what the magnitudes leave
    before they are scaled, as norbert computes it. ``magnitudes`` are to the power
    ``alpha``, 1 or 2.

    Example:
        >>> magnitudes = jnp.array([1.0, 2.0]).reshape(1, 2, 1, 1)
        >>> residual_model(magnitudes, jnp.array([2, 4 + 0j]).reshape(2, 1, 1)).ravel()
        Array([2., 4., 1., 2.], dtype=float32)
    """
    _check(magnitudes, mixture, "norbert")
    power = Split.of(mixture).power()
    eps = jnp.finfo(power.dtype).eps
    # The power is limited before its root is drawn, which has no gradient at zero.
    power = jnp.maximum(power, eps ** (2 / alpha)) ** (alpha / 2)
    power = jnp.expand_dims(power, -4)
    total = jnp.sum(magnitudes, axis=-4, keepdims=True)
    gain = jnp.sum(power * total, axis=-3, keepdims=True)
    gain = gain / (jnp.sum(jnp.square(total), axis=-3, keepdims=True) + eps)
    rest = jnp.maximum(power - total, 0.0)
    return jnp.concatenate([magnitudes * gain, rest], axis=-4)


def _check(sources: Array, mixture: Array, variant: str) -> None:
    if variant not in VARIANTS:
        raise ValueError(f"variant={variant!r} must be one of {VARIANTS}")
    if not jnp.iscomplexobj(mixture):
        raise ValueError(f"the mixture must be complex, it is {mixture.dtype}")
    if (*sources.shape[:-4], *sources.shape[-3:]) != mixture.shape:
        raise ValueError(
            f"sources {sources.shape} do not fit the mixture {mixture.shape}: expected "
            "(*batch, sources, frames, bins, channels) and (*batch, frames, bins, "
            "channels)"
        )
    if variant == "umx" and mixture.shape[-1] > 2:
        raise ValueError(
            f"variant='umx' has one or two channels, the mixture {mixture.shape[-1]}: "
            "use variant='norbert'"
        )


def _eps(variant: str, x: Array) -> float:
    return 1e-10 if variant == "umx" else float(jnp.finfo(x.dtype).eps)


def _loading(variant: str, eps: float, channels: int) -> float:
    # norbert loads the variance of a single channel twice.
    return eps**0.5 + eps * (variant == "norbert" and channels == 1)


def _first(
    magnitudes: Array, x: Split, eps: float, softmask: bool, residual: bool, slips: bool
) -> Split:
    """See :func:`initial_estimates`, wherever the axis of the channels is."""
    x = x.map(lambda part: jnp.expand_dims(part, -4))
    if softmask:
        total = jnp.sum(magnitudes, axis=-4, keepdims=True)
        y = x * (magnitudes / (total + eps))
    else:
        y = (_phase(x) * _slip(x) if slips else _phase(x)) * magnitudes
    if not residual:
        return y
    rest = x - y.map(lambda part: jnp.sum(part, axis=-4, keepdims=True))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-4), y, rest)


def _refined(y: Split, x: Split, iterations: int, eps: float, loading: float) -> Split:
    def step(_: Array, y: Split) -> Split:
        return filter_once(y, x, eps, loading)

    return jax.lax.fori_loop(0, iterations, step, y)


def _phase(x: Split) -> Split:
    """Phase factors; 1 where x is zero, or so small that the gradient overflows."""
    power = x.power()
    audible = power > float(jnp.finfo(power.dtype).tiny) ** (2 / 3)
    magnitude = jnp.sqrt(jnp.where(audible, power, 1.0))
    real, imag = jnp.where(audible, x.real, 1.0), jnp.where(audible, x.imag, 0.0)
    return Split(real / magnitude, imag / magnitude)


def _slip(x: Split) -> Split:
    """Open-Unmix' pi is that of float32, 1e-7 too large: seen in float64 only."""
    error = float(np.float32(np.pi)) - np.pi
    turned, up = x.real < 0, x.imag >= 0
    cosine = jnp.where(turned, np.cos(error), 1.0).astype(x.real.dtype)
    sine = jnp.where(turned, jnp.where(up, np.sin(error), -np.sin(error)), 0.0)
    return Split(cosine, sine.astype(x.real.dtype))


def _scale(x: Split) -> Array:
    """The root comes last: it would have no gradient at silence."""
    return jnp.sqrt(jnp.maximum(jnp.max(x.power()) / 100, 1.0))


def _by_excerpts(
    separate: Callable[[Array, Array], Array],
    magnitudes: Array,
    mixture: Array,
    excerpt: int,
    merge_tail: int,
) -> Array:
    """Separate (..., channels, frames, bins) excerpt by excerpt, joined again."""
    frames, batch = mixture.shape[-2], mixture.shape[:-3]
    excerpt = min(excerpt or frames, frames)
    tail = frames % excerpt if frames % excerpt < merge_tail else 0
    last = frames - excerpt - tail if tail else frames

    def piece(start: int, stop: int, length: int) -> Array:
        count = -(-(stop - start) // length)
        # Frames of zeros add nothing to any sum.
        ends = (0, count * length - (stop - start))

        def cut(x: Array) -> Array:
            x = jnp.pad(x[..., start:stop, :], [(0, 0)] * (x.ndim - 2) + [ends, (0, 0)])
            x = x.reshape(*x.shape[:-2], count, length, x.shape[-1])
            x = jnp.moveaxis(x, -3, len(batch))  # all of the batch in one row
            return x.reshape(-1, *x.shape[len(batch) + 1 :])

        y = jax.lax.map(lambda pair: separate(*pair), (cut(magnitudes), cut(mixture)))
        y = jnp.moveaxis(y.reshape(*batch, count, *y.shape[1:]), len(batch), -3)
        y = y.reshape(*y.shape[:-3], count * length, y.shape[-1])
        return y[..., : stop - start, :]

    pieces = [(0, last, excerpt), (last, frames, excerpt + tail)]
    parts = [piece(*ends) for ends in pieces if ends[0] < ends[1]]
    return jnp.concatenate(parts, axis=-2)


def _by_bins(filtered: Callable[..., Array], magnitudes: Array, x: Split) -> Array:
    """Apply what treats each bin on its own; on a CPU block by block.

    What an accelerator would do at once takes a CPU four times as long as blocks that
    stay in its caches.
    """
    frames, bins = magnitudes.shape[-2:]
    count = min(max(round(frames * bins / ENTRIES), 1), bins)
    width = -(-bins // count)
    if count == 1:
        return filtered(magnitudes, x)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, count * width - bins)])
        return jnp.moveaxis(x.reshape(*x.shape[:-1], count, width), -2, 0)

    def by_blocks(*whole: Any) -> Array:
        y = jax.lax.map(lambda block: filtered(*block), jax.tree.map(cut, whole))
        y = jnp.moveaxis(y, 0, -2)
        return y.reshape(*y.shape[:-2], count * width)[..., :bins]

    return jax.lax.platform_dependent(magnitudes, x, cpu=by_blocks, default=filtered)
