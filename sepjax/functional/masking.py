"""Masks: ideal ratios, their application, and mixture consistency."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def ratio_mask(
    sources: Float[Array, "batch sources frames latent"],
    *,
    power: float = 1.0,
    eps: float = 1e-8,
) -> Float[Array, "batch sources frames latent"]:
    r"""Ideal ratio masks, :math:`M_j = |y_j|^p / (\sum_k |y_k|^p + \epsilon)`.

    With the learnt encoding of the thesis (eq. 5.1) the power is 1.

    Example:
        >>> latents = jnp.array([[[[1.0]], [[-3.0]]]])
        >>> ratio_mask(latents).squeeze().round(2)
        Array([0.25, 0.75], dtype=float32)
    """
    magnitude = jnp.abs(sources)
    magnitude = magnitude if power == 1.0 else magnitude**power
    return magnitude / (jnp.sum(magnitude, axis=1, keepdims=True) + eps)


def apply_masks(
    latent: Float[Array, "batch frames latent"],
    masks: Float[Array, "batch sources frames latent"],
) -> Float[Array, "batch sources frames latent"]:
    """The mixture's latent seen through every source's mask.

    Example:
        >>> apply_masks(jnp.ones((1, 5, 3)), jnp.ones((1, 2, 5, 3))).shape
        (1, 2, 5, 3)
    """
    return latent[:, None] * masks


def mixture_consistency(
    estimates: Float[Array, "batch sources *channels time"],
    mixture: Float[Array, "batch *channels time"],
) -> Float[Array, "batch sources *channels time"]:
    """Spread the residual evenly, so that the estimates sum to the mixture.

    ``e_j + (x - sum_k e_k) / J``, the projection onto consistent estimates.

    Example:
        >>> mixture_consistency(jnp.zeros((1, 2, 3)), jnp.ones((1, 3)))[0, 0]
        Array([0.5, 0.5, 0.5], dtype=float32)

    Reference:
        Wisdom et al. 2019, differentiable consistency constraints.
    """
    residual = mixture - jnp.sum(estimates, axis=1)
    return estimates + residual[:, None] / estimates.shape[1]


def waves_of_sources(
    outputs: Float[Array, "batch time outputs"],
    mixture: Float[Array, "batch *channels time"],
    *,
    difference: bool,
) -> Float[Array, "batch sources *channels time"]:
    """Part a network's last channels into sources, in the type of the mixture.

    The channels of a source lie side by side. With ``difference`` there is one more
    source, the last: what the others leave of the mixture.

    Example:
        >>> outputs, mixture = jnp.ones((1, 5, 6)), jnp.ones((1, 2, 5))
        >>> waves_of_sources(outputs, mixture, difference=True)[0, :, 0, 0].tolist()
        [1.0, 1.0, 1.0, -2.0]
    """
    waves = jnp.swapaxes(outputs, 1, 2).astype(mixture.dtype)
    waves = waves.reshape(len(mixture), -1, *mixture.shape[1:])
    rest = mixture[:, None] - waves.sum(1, keepdims=True)
    return jnp.concatenate([waves, rest], axis=1) if difference else waves
