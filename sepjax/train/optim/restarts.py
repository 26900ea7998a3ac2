"""A learning rate that falls along a cosine and starts again, lower."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def cosine_restarts(
    lr: float, *, every: int = 200_000, decay: float = 0.85
) -> optax.Schedule:
    """Return the rate of each step of gradient descent with warm restarts.

    ``rate(n) = lr decay^j (1 + cos(pi (n / every - j))) / 2``, ``j = floor(n / every)``

    for step ``n``, counted from 1. As optax counts from 0, the schedule's argument is
    the number of steps already taken, ``n - 1``.

    Args:
        lr: the rate at the beginning.
        every: steps from restart to restart.
        decay: factor of the rate from restart to restart.

    Example:
        >>> rate = cosine_restarts(1.0, every=4, decay=0.5)
        >>> [round(float(rate(jnp.array(count))), 3) for count in range(5)]
        [0.854, 0.5, 0.146, 0.5, 0.427]

    Reference:
        Loshchilov and Hutter 2017, SGDR: stochastic gradient descent with warm
        restarts; counted and decayed as in Meta-TasNet.
    """

    def rate(count: Int[Array, ""]) -> Float[Array, ""]:
        step = count + 1
        # (1 + cos(pi x)) / 2 = sin(pi (1 - x) / 2)^2, which keeps its digits near 0.
        left = (every - step % every) / every
        return lr * decay ** (step // every) * jnp.sin(jnp.pi / 2 * left) ** 2

    return rate
