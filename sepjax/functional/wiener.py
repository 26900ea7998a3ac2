r"""Multichannel Wiener filtering of a mixture, refined by expectation-maximization.

Every source j is a local Gaussian: its short-time spectrum has the variance
:math:`v_j(t, f)` times a spatial covariance :math:`R_j(f)`. Sources that are estimated
give both, and both give better estimates.

Reference: Duong, Vincent and Gribonval 2010; Nugraha, Liutkus and Vincent 2016;
norbert 0.2.1; Open-Unmix 1.3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

Mixture = Complex[Array, "*batch frames bins channels"]
Estimates = Complex[Array, "*batch sources frames bins channels"]
Magnitudes = Float[Array, "*batch sources frames bins channels"]

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
    rotate: bool | None = None,
) -> Estimates:
    r"""Separate a mixture, given what the magnitudes of its sources are thought to be.

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
        rotate: see :func:`expectation_maximization`.

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

    def separate(magnitudes: Array, mixture: Array) -> Array:
        first = initial_estimates(
            magnitudes, mixture, softmask=softmask, residual=residual, variant=variant
        )
        if not iterations:
            return first
        scale = _scale(mixture)
        found = expectation_maximization(
            first * (1 / scale),
            mixture * (1 / scale),
            iterations=iterations,
            variant=variant,
            rotate=rotate,
        )
        return found * scale

    frames = mixture.shape[-3]
    length = min(excerpt_frames or frames, frames)
    tail = frames % length if frames % length < merge_tail else 0
    last = frames - length - tail if tail else frames
    pieces = [(0, last, length), (last, frames, length + tail)]
    parts = [
        _by_excerpts(separate, magnitudes, mixture, *piece)
        for piece in pieces
        if piece[0] < piece[1]
    ]
    return jnp.concatenate(parts, axis=-3)


def initial_estimates(
    magnitudes: Magnitudes,
    mixture: Mixture,
    *,
    softmask: bool = False,
    residual: bool = False,
    variant: str = "umx",
) -> Estimates:
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
    mixture = jnp.expand_dims(mixture, -4)
    if softmask:
        total = jnp.sum(magnitudes, axis=-4, keepdims=True)
        shares = magnitudes / (total + _eps(variant, mixture))
        estimates = shares.astype(mixture.dtype) * mixture
    else:
        phase = _phase(mixture)
        if variant == "umx":
            phase = phase * _slip(mixture)
        estimates = magnitudes.astype(mixture.dtype) * phase
    if residual:
        rest = mixture - jnp.sum(estimates, axis=-4, keepdims=True)
        estimates = jnp.concatenate([estimates, rest], axis=-4)
    return estimates


def expectation_maximization(
    estimates: Estimates,
    mixture: Mixture,
    *,
    iterations: int = 1,
    variant: str = "umx",
    rotate: bool | None = None,
) -> Estimates:
    r"""Fit Gaussians to estimates and filter the mixture with them, again and again.

    With :math:`v_j` and :math:`R_j` of :func:`gaussian_model` an iteration is

    .. math:: y_j = v_j R_j w, \quad
              w = \Big(\sum_k v_k R_k + \sqrt\epsilon I\Big)^{-1} x

    where no gain is ever formed: :math:`w` of one or two channels has a closed form.
    Nothing is scaled here.

    Where two channels are nearly the same, its determinant is the small difference of
    large numbers: in float32 the error of a duplicated mono signal is only 25 dB below
    the signal. The algorithm commutes with unitary matrices, so that each bin can be
    turned to the principal axes of the mixture first and back at the end; the error
    then is 110 dB below in float32.

    Args:
        estimates: of the sources.
        mixture: what they sum to, nearly.
        iterations: how often.
        variant: see :func:`wiener_em`.
        rotate: turn to principal axes; by default in single precision only.

    Example:
        >>> y = jnp.ones((2, 4, 3, 2)) * (0.5 + 0j)
        >>> expectation_maximization(y, jnp.sum(y, 0))[0, 0, 0].round(3)
        Array([0.5+0.j, 0.5+0.j], dtype=complex64)
    """
    _check(estimates, mixture, variant)
    y, x = jnp.moveaxis(estimates, -1, -3), jnp.moveaxis(mixture, -1, -3)
    eps = _eps(variant, x)
    single = x.dtype == jnp.complex64
    turned = x.shape[-3] == 2 and (single if rotate is None else rotate)
    if turned:
        axes = _principal_axes(x)
        x, y = _turn(x, axes), _turn(y, tuple(jnp.expand_dims(a, -3) for a in axes))

    def iterate(_: int, y: Array) -> Array:
        v, covariance = _gaussian_model(y, eps)
        w = _whiten(v, covariance, x, eps, variant)
        w = jnp.expand_dims(w, (-5, -4))
        filtered = jnp.sum(jnp.expand_dims(covariance, -2) * w, axis=-3)
        return jnp.expand_dims(v, -3).astype(y.dtype) * filtered

    y = jax.lax.fori_loop(0, iterations, iterate, y)
    if turned:
        y = _turn_back(y, tuple(jnp.expand_dims(a, -3) for a in axes))
    return jnp.moveaxis(y, -3, -1)


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
    v, covariance = _gaussian_model(y, _eps(variant, y))
    return v, jnp.moveaxis(covariance, -1, -3)


def residual_model(
    magnitudes: Magnitudes, mixture: Mixture, *, alpha: float = 1.0
) -> Magnitudes:
    r"""Scale magnitudes to the mixture's and append what they leave of it.

    With :math:`v_x = \max(\epsilon, |x|^\alpha)` and
    :math:`v = \sum_j v_j` every bin has the gain
    :math:`g = \sum_t v_x v / (\epsilon + \sum_t v^2)`; sources become
    :math:`g v_j`, and :math:`\max(0, v_x - v)` follows them: what the magnitudes leave
    before they are scaled, as norbert computes it.

    Args:
        magnitudes: of the sources, to the power ``alpha``.
        mixture: short-time spectra.
        alpha: 1: magnitudes, 2: powers.

    Example:
        >>> magnitudes = jnp.array([1.0, 2.0]).reshape(1, 2, 1, 1)
        >>> residual_model(magnitudes, jnp.array([2, 4 + 0j]).reshape(2, 1, 1)).ravel()
        Array([2., 4., 1., 2.], dtype=float32)
    """
    _check(magnitudes, mixture, "norbert")
    power = _power(mixture)
    eps = jnp.finfo(power.dtype).eps
    # The power is limited before its root is drawn, which has no gradient at zero.
    given = jnp.maximum(power, eps ** (2 / alpha)) ** (alpha / 2)
    given = jnp.expand_dims(given, -4)
    total = jnp.sum(magnitudes, axis=-4, keepdims=True)
    gain = jnp.sum(given * total, axis=-3, keepdims=True)
    gain = gain / (jnp.sum(jnp.square(total), axis=-3, keepdims=True) + eps)
    rest = jnp.maximum(given - total, 0.0)
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


def _power(x: Array) -> Array:
    return jnp.square(x.real) + jnp.square(x.imag)


def _phase(x: Array) -> Array:
    """Phase factors; 1 where x is zero, or so small that the gradient overflows."""
    power = _power(x)
    heard = power > float(jnp.finfo(power.dtype).tiny) ** (2 / 3)
    magnitude = jnp.sqrt(jnp.where(heard, power, 1.0)).astype(x.dtype)
    return jnp.where(heard, x, jnp.ones_like(x)) / magnitude


def _slip(x: Array) -> Array:
    """Open-Unmix adds a float32 pi to angles, 1e-7 too large: seen in float64 only."""
    error = float(np.float32(np.pi)) - np.pi
    angle = jnp.where(x.real < 0, jnp.where(x.imag < 0, -error, error), 0.0)
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle)).astype(x.dtype)


def _scale(mixture: Array) -> Array:
    """The root comes last: it would have no gradient at silence."""
    scale = jnp.sqrt(jnp.maximum(jnp.max(_power(mixture)) / 100, 1.0))
    return scale.astype(mixture.dtype)


def _gaussian_model(y: Array, eps: float) -> tuple[Array, Array]:
    """(..., sources, frames, bins) and (..., sources, channels, channels, bins)."""
    v = jnp.mean(_power(y), axis=-3)
    outer = jnp.expand_dims(y, -3) * jnp.conj(jnp.expand_dims(y, -4))
    weight = jnp.expand_dims(jnp.sum(v, axis=-2) + eps, (-3, -2))
    return v, jnp.sum(outer, axis=-2) / weight.astype(y.dtype)


def _whiten(v: Array, covariance: Array, x: Array, eps: float, variant: str) -> Array:
    """The mixture (..., channels, frames, bins) by the inverse of its covariance."""
    channels = x.shape[-3]
    spread = jnp.expand_dims(v, (-4, -3)).astype(x.dtype)
    total = jnp.sum(spread * jnp.expand_dims(covariance, -2), axis=-5)
    if channels == 1:
        power = total[..., 0, :, :, :] + eps**0.5
        return x / (power + eps if variant == "norbert" else power)
    if channels == 2:
        a = total[..., 0, 0, :, :].real + eps**0.5
        d = total[..., 1, 1, :, :].real + eps**0.5
        b = total[..., 0, 1, :, :]
        determinant = a * d - _power(b)
        a, d, inverse = (part.astype(x.dtype) for part in (a, d, 1 / determinant))
        first, second = x[..., 0, :, :], x[..., 1, :, :]
        w = jnp.stack([d * first - b * second, a * second - jnp.conj(b) * first], -3)
        return w * jnp.expand_dims(inverse, -3)
    total = jnp.moveaxis(total, (-4, -3), (-2, -1))
    loading = eps**0.5 * jnp.eye(channels, dtype=x.dtype)
    total = total + jnp.broadcast_to(loading, total.shape)
    inverse = jnp.linalg.pinv(total, hermitian=True)
    return jnp.einsum("...tfab,...btf->...atf", inverse, x)


def _principal_axes(x: Array) -> tuple[Array, Array]:
    """Cosine, and sine with the phase, of the eigenvectors of every bin.

    They come without a gradient: where one turns to makes no difference.
    """
    x = jax.lax.stop_gradient(x)
    left, right = x[..., 0, :, :], x[..., 1, :, :]
    cross = jnp.sum(left * jnp.conj(right), axis=-2)
    balance = jnp.sum(_power(left) - _power(right), axis=-2)
    angle = jnp.arctan2(2 * jnp.sqrt(_power(cross)), balance) / 2
    cosine = jnp.cos(angle).astype(x.dtype)
    sine = jnp.sin(angle).astype(x.dtype) * _phase(cross)
    return jnp.expand_dims(cosine, -2), jnp.expand_dims(sine, -2)


def _turn(x: Array, axes: tuple[Array, Array]) -> Array:
    cosine, sine = axes
    left, right = x[..., 0, :, :], x[..., 1, :, :]
    along = cosine * left + sine * right
    return jnp.stack([along, cosine * right - jnp.conj(sine) * left], axis=-3)


def _turn_back(x: Array, axes: tuple[Array, Array]) -> Array:
    cosine, sine = axes
    return _turn(x, (cosine, -sine))


def _by_excerpts(
    separate: Callable[[Array, Array], Array],
    magnitudes: Array,
    mixture: Array,
    start: int,
    stop: int,
    length: int,
) -> Array:
    """Frames from start to stop in excerpts, all of the batch in one row."""
    frames, batch = stop - start, mixture.shape[:-3]
    count = -(-frames // length)
    # Frames of zeros add nothing to any sum.
    ends = (0, count * length - frames)

    def cut(x: Array) -> Array:
        x = jax.lax.slice_in_dim(x, start, stop, axis=x.ndim - 3)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [ends, (0, 0), (0, 0)])
        x = x.reshape(*x.shape[:-3], count, length, *x.shape[-2:])
        x = jnp.moveaxis(x, -4, len(batch))
        return x.reshape(-1, *x.shape[len(batch) + 1 :])

    found = jax.lax.map(lambda pair: separate(*pair), (cut(magnitudes), cut(mixture)))
    found = found.reshape(*batch, count, *found.shape[1:])
    found = jnp.moveaxis(found, len(batch), -4)
    found = found.reshape(*found.shape[:-4], count * length, *found.shape[-2:])
    return jax.lax.slice_in_dim(found, 0, frames, axis=found.ndim - 3)
