"""Nonnegative matrix factorization by multiplicative updates, which keep signs.

Spectrograms are ``V = (frames, bins)``, so that activations stand at the left and
templates at the right: ``V ~ H W``.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

EPS = 1e-10
Spectrogram = Float[Array, "frames bins"]
Activations = Float[Array, "frames rank"]
Templates = Float[Array, "rank bins"]


def divergence(v: Spectrogram, model: Spectrogram, beta: int) -> Float[Array, ""]:
    r"""Mean Kullback-Leibler (beta 1) or Itakura-Saito (beta 0) divergence.

    .. math:: d_1 = v \ln \frac{v}{m} - v + m, \qquad
              d_0 = \frac{v}{m} - \ln \frac{v}{m} - 1

    Example:
        >>> one = jnp.ones((2, 3))
        >>> [round(float(divergence(one, 2 * one, beta)), 3) for beta in (1, 0)]
        [0.307, 0.193]
    """
    v, model = v + EPS, model + EPS
    if beta == 1:
        return jnp.mean(v * jnp.log(v / model) - v + model)
    return jnp.mean(v / model - jnp.log(v / model) - 1)


def _ratio(
    v: Array, model: Array, beta: int, project: Callable[[Array], Array]
) -> Array:
    """The factor of an update: v m^(beta-2) over m^(beta-1), both projected."""
    model = model + EPS
    below = project(model ** (beta - 1)) + EPS
    factor = (project((v + EPS) * model ** (beta - 2)) + EPS) / below
    return factor if beta else jnp.sqrt(factor)


def update_activations(
    v: Spectrogram, h: Activations, w: Templates, beta: int
) -> Activations:
    r"""One multiplicative update, after which the divergence is no higher.

    .. math:: H \leftarrow H \circ
        \left(\frac{(V \circ M^{\beta - 2}) W^T}{M^{\beta - 1} W^T}\right)^\gamma,
        \quad M = H W

    with :math:`\gamma = 1` for Kullback-Leibler and 1/2 for Itakura-Saito.

    Reference:
        Lee and Seung 2001; Fevotte and Idier 2011, Algorithms for nonnegative matrix
        factorization with the beta-divergence.
    """
    return h * _ratio(v, h @ w, beta, lambda x: x @ w.T)


def factorize(
    v: Spectrogram,
    h: Activations,
    w: Templates,
    *,
    beta: int,
    steps: int,
    learned: Bool[Array, " rank"] | bool = True,
) -> tuple[Activations, Templates, Float[Array, " steps"]]:
    """Update activations and templates in turn.

    Args:
        v: spectrogram: magnitudes for Kullback-Leibler, power for Itakura-Saito.
        h: first activations, above zero.
        w: first templates, above zero.
        beta: of :func:`divergence`.
        steps: how often both are updated.
        learned: which templates are; the others stay as they are.

    Returns:
        Activations, templates, and the divergence after each step.

    Example:
        >>> v = jnp.outer(jnp.arange(1.0, 5), jnp.arange(1.0, 4))
        >>> start = jnp.ones((4, 1)), jnp.ones((1, 3))
        >>> h, w, values = factorize(v, *start, beta=1, steps=3)
        >>> bool(jnp.allclose(h @ w, v, rtol=1e-4)), bool(values[-1] < 1e-5)
        (True, True)
    """
    keep = ~jnp.broadcast_to(jnp.asarray(learned), (len(w),))[:, None]

    def step(factors: tuple[Array, Array], _: Any) -> tuple[tuple, Array]:
        h, w = factors
        h = update_activations(v, h, w, beta)
        # The same update of the transposed problem.
        w = jnp.where(keep, w, update_activations(v.T, w.T, h.T, beta).T)
        return (h, w), divergence(v, h @ w, beta)

    (h, w), values = jax.lax.scan(step, (h, w), length=steps)
    return h, w, values


def project(
    v: Spectrogram,
    held: Spectrogram,
    w: Templates,
    bands: Float[Array, "bands bins"],
    *,
    steps: int,
) -> tuple[Spectrogram, Spectrogram]:
    r"""Split a spectrogram into a projection of what lasts and a sum of wide bands.

    .. math:: \min_{W, H \ge 0} |V - \tilde V W^T W - H B|^2

    The projection makes templates orthogonal, hence narrow, as the partials of tones
    are, and the smoothed :math:`\tilde V` (``held``) has no onsets; those are left to
    the bands B, which stay as they are.

    Returns:
        Harmonic and percussive part, each like ``v``.

    Reference:
        Yang and Oja 2010, Linear and nonlinear projective NMF; Laroche, Kowalski,
        Papadopoulos and Richard 2015, A structured NMF for source separation;
        Canadas-Quesada et al. 2014, smoothness along time.
    """
    gram, common = held.T @ held, held.T @ v

    def step(factors: tuple[Array, Array], _: Any) -> tuple:
        w, h = factors
        seen, wz = w @ held.T, w @ gram
        cross = (seen @ h) @ bands + (w @ bands.T) @ (h.T @ held)
        above = w @ (common + common.T)
        # The cube root, as the objective is of degree four in W.
        w = w * jnp.cbrt(above / ((w @ w.T) @ wz + (wz @ w.T) @ w + cross + EPS))
        model = (held @ w.T) @ w + h @ bands
        return (w, h * (v @ bands.T) / (model @ bands.T + EPS)), None

    start = w, jnp.full((len(v), len(bands)), v.mean() + EPS)
    (w, h), _ = jax.lax.scan(step, start, length=steps)
    return (held @ w.T) @ w, h @ bands


def source_filter(
    v: Spectrogram,
    pitches: Float[Array, "pitches bins"],
    filters: Float[Array, "filters bins"],
    w: Templates,
    *,
    beta: int,
    steps: int,
    allowed: Float[Array, "frames pitches"] | float = 1.0,
) -> tuple[Spectrogram, Spectrogram, Float[Array, "frames pitches"]]:
    r"""Split a spectrogram into a voice, pitches seen through filters, and the rest.

    .. math:: V \sim (H_\Phi \Phi) \circ (H_F F) + H W

    Args:
        v: power spectrogram.
        pitches: F, the harmonics of each pitch.
        filters: :math:`\Phi`, smooth bumps.
        w: first templates of the accompaniment.
        beta: of :func:`divergence`.
        steps: how often all are updated.
        allowed: of pitches, times their first activations: zeros stay.

    Returns:
        Voice and accompaniment, each like ``v``, and the activations of pitches.

    Reference:
        Durrieu, David and Richard 2011, A musically motivated mid-level representation
        for pitch estimation and musical audio source separation.
    """

    def step(factors: tuple[Array, ...], _: Any) -> tuple:
        hf, hp, h, w = factors
        tone, body = hf @ pitches, hp @ filters
        model = tone * body + h @ w
        hf = hf * _ratio(v, model, beta, lambda x: (x * body) @ pitches.T)
        tone = hf @ pitches
        model = tone * body + h @ w
        hp = hp * _ratio(v, model, beta, lambda x: (x * tone) @ filters.T)
        # Filters have a mean of one, so that pitches alone say how loud the voice is.
        level = hp.mean(1, keepdims=True) + EPS
        hf, hp = hf * level, hp / level
        voice = (hf @ pitches) * (hp @ filters)
        h = h * _ratio(v, voice + h @ w, beta, lambda x: x @ w.T)
        w = w * _ratio(v, voice + h @ w, beta, lambda x: h.T @ x)
        return (hf, hp, h, w), None

    frames, level = len(v), v.mean(1, keepdims=True) + EPS
    start = (
        allowed * level * jnp.ones((frames, len(pitches))) / len(pitches),
        jnp.ones((frames, len(filters))),
        level * jnp.ones((frames, len(w))) / len(w),
        w,
    )
    (hf, hp, h, w), _ = jax.lax.scan(step, start, length=steps)
    return (hf @ pitches) * (hp @ filters), h @ w, hf
