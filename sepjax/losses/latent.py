"""How much sources resemble each other in a latent space (Meta-TasNet)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from sepjax.losses.reduction import active_neighbours, active_pairs, preceding_items


def latent_dissimilarity(
    latents: Float[Array, "batch sources frames latent"],
    active: Bool[Array, "batch sources"],
    pairs: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    r"""Measure how much sources of a mixture resemble each other in the latent space.

    The cosine of the magnitudes of two latent frames, averaged over frames and over
    pairs of active sources of the same item; between 0, no channel in common, and 1.

    .. math:: \cos(|q_c|, |q_d|) = \frac{\langle |q_c|, |q_d| \rangle}{\|q_c\| \|q_d\|}

    Args:
        latents: of the true sources.
        active: which of them sound.
        pairs: :func:`active_pairs` of the *whole* batch where ``latents`` are only a
            share of it; the shares then sum up to the average.

    Example:
        >>> alone = jnp.eye(2)[None, :, None]
        >>> float(latent_dissimilarity(alone, jnp.ones((1, 2), bool)))
        0.0

    Reference:
        Samuel et al. 2020 (Meta-TasNet).
    """
    pairs = active_pairs(active) if pairs is None else pairs
    unit = _unit_frames(jnp.abs(latents), active)
    # The square of a sum of unit vectors has every pair twice, and themselves once.
    products = jnp.square(unit.sum(1)).sum(-1) - jnp.square(unit).sum((1, -1))
    return jnp.mean(products.sum(0) / 2) / (pairs + 1e-8)


def latent_similarity(
    latents: Float[Array, "batch sources frames latent"],
    active: Bool[Array, "batch sources"],
    both: Float[Array, ""] | None = None,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    r"""Measure how much a source resembles itself in other mixtures' latents.

    The cosine of the latents of a source in neighbouring items of the batch (the first
    one's neighbour is the last), averaged over frames and over sources that are active
    in both; between -1 and 1.

    Args:
        latents: of the true sources.
        active: which of them sound.
        both: :func:`active_neighbours` of the *whole* batch where ``latents`` are a
            device's share of it; the shares then sum up to the average.
        axis_name: along which the batch is split (:func:`preceding_items`).

    Example:
        >>> latents = jnp.ones((2, 1, 3, 4))
        >>> round(float(latent_similarity(latents, jnp.ones((2, 1), bool))), 3)
        1.0

    Reference:
        Samuel et al. 2020 (Meta-TasNet).
    """
    both = active_neighbours(active) if both is None else both
    unit = _unit_frames(latents, active)
    cosines = (unit * preceding_items(unit, axis_name)).sum(-1)
    return jnp.mean(cosines.sum((0, 1))) / jnp.maximum(both, 1)


def _unit_frames(latents: Array, active: Array) -> Array:
    """Frames of norm one; zero where the source is silent."""
    latents = jnp.where(active[..., None, None], latents, 0.0)
    # The floor stands inside of the root, whose gradient at zero is not finite.
    energy = jnp.maximum(jnp.square(latents).sum(-1, keepdims=True), 1e-16)
    return latents * jax.lax.rsqrt(energy)
