"""One step of expectation-maximization, for one, two or any number of channels.

Estimates ``(..., sources, channels, frames, bins)`` and a mixture ``(..., channels,
frames, bins)`` give better estimates. Formulas: :mod:`sepjax.functional.wiener`.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sepjax.functional.wiener.split_complex import Split


def local_gaussians(y: Split, eps: float) -> tuple[Array, Split]:
    """(..., sources, frames, bins) and (..., sources, channels, channels, bins)."""
    v = jnp.mean(y.power(), axis=-3)
    rows = y.map(lambda part: jnp.expand_dims(part, -3))
    columns = y.map(lambda part: jnp.expand_dims(part, -4))
    outer = (rows * columns.conj()).map(lambda part: jnp.sum(part, axis=-2))
    return v, outer * (1 / jnp.expand_dims(jnp.sum(v, axis=-2) + eps, (-3, -2)))


def filter_once(y: Split, x: Split, eps: float, loading: float) -> Split:
    """Filter the mixture x with the covariances of the estimates y."""
    filters = {1: _filter_mono, 2: _filter_pair}
    return filters.get(x.real.shape[-3], _filter_many)(y, x, eps, loading)


def _filter_mono(y: Split, x: Split, eps: float, loading: float) -> Split:
    v, covariance = local_gaussians(y, eps)
    power = v * covariance.real[..., 0, :, :]
    share = power / (jnp.sum(power, axis=-3, keepdims=True) + loading)
    return x.map(lambda part: jnp.expand_dims(part, -4)) * jnp.expand_dims(share, -3)


def _filter_pair(y: Split, x: Split, eps: float, loading: float) -> Split:
    """See :func:`sepjax.functional.wiener.expectation_maximization`."""
    first, second = (_channel(y, i) for i in range(2))
    v = (first.power() + second.power()) / 2
    weight, power = _over_frames(v) + eps, _over_frames(first.power())
    # Ratios are sums of two numbers, so that their differences are exact.
    ratio = _ratio((second * first.conj()).map(_over_frames), power)
    alone = second - ratio * first
    rest = _ratio((alone * first.conj()).map(_over_frames), power)
    vp = v * (power / weight)
    vq = v * (_over_frames(alone.power()) / weight)
    inverse = 1 / (_over_sources(vp) + loading)
    share, short = vp * inverse, loading * inverse
    turned = ratio + rest
    spread = turned * short
    for k in range(v.shape[-3]):
        difference = _from(ratio, k) + _from(rest, k)
        spread = spread + difference * share[..., k : k + 1, :, :]
    mean = (turned * share).map(_over_sources)
    s = _over_sources(vp * spread.power() + vq) + loading * (1 + mean.power())
    left, right = (
        _channel(x, i).map(lambda part: jnp.expand_dims(part, -3)) for i in range(2)
    )
    common = _ratio(
        (right * left.conj()).map(_over_frames), _over_frames(left.power())
    ).map(jax.lax.stop_gradient)
    offset = ((ratio - common + rest) * share).map(_over_sources) - common * short
    unexplained = ((right - common * left) - offset * left) * (1 / s)
    left = (left * inverse + spread.conj() * unexplained) * vp
    right = turned * left + unexplained * vq
    return jax.tree.map(lambda *parts: jnp.stack(parts, axis=-3), left, right)


def _filter_many(y: Split, x: Split, eps: float, loading: float) -> Split:
    v, covariance = local_gaussians(y, eps)
    matrices, mixture = covariance.joined(), x.joined()
    variances = v.astype(mixture.dtype)
    total = jnp.einsum("...jtf,...jabf->...tfab", variances, matrices)
    unit = loading * jnp.eye(mixture.shape[-3], dtype=mixture.dtype)
    total = total + jnp.broadcast_to(unit, total.shape)
    inverse = jnp.linalg.pinv(total, hermitian=True)
    w = jnp.einsum("...tfab,...btf->...atf", inverse, mixture)
    turned = jnp.einsum("...jabf,...btf->...jatf", matrices, w)
    return Split.of(turned) * jnp.expand_dims(v, -3)


def _channel(x: Split, index: int) -> Split:
    return x.map(lambda part: part[..., index, :, :])


def _over_frames(part: Array) -> Array:
    return jnp.sum(part, axis=-2, keepdims=True)


def _over_sources(part: Array) -> Array:
    # Term by term: XLA fuses sums of a few slices into one pass, a reduction into none.
    terms = (part[..., k : k + 1, :, :] for k in range(part.shape[-3]))
    return functools.reduce(jnp.add, terms)


def _ratio(cross: Split, power: Array) -> Split:
    # A channel below this is as good as silent, and its ratio might overflow.
    audible = power > float(jnp.finfo(power.dtype).tiny) ** 0.5
    power = jnp.where(audible, power, 1.0)
    return cross.map(lambda part: jnp.where(audible, part, 0.0) / power)


def _from(x: Split, k: int) -> Split:
    """Differences of all sources to one of them."""
    return x - x.map(lambda part: part[..., k : k + 1, :, :])
