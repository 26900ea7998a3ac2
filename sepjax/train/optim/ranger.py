"""Ranger: rectified Adam (RAdam) whose parameters look ahead.

optax' ``scale_by_radam`` adds epsilon after the bias correction, and its ``lookahead``
works on pairs of parameters, where here the slow parameters lie in the state.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int


def scale_by_rectified_adam(
    b1: float = 0.95, b2: float = 0.999, eps: float = 1e-5
) -> optax.GradientTransformation:
    """Adam's direction while its variance is known well enough, else momentum's.

    With the moments ``m`` and ``v`` at step ``t`` and

    ``rho_inf = 2 / (1 - b2) - 1``, ``rho = rho_inf - 2 t b2^t / (1 - b2^t)``,
    ``r^2 = (rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)``

    the direction is ``r sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)`` for
    ``rho > 5`` and ``m / (1 - b1^t)`` before.

    Args:
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment *before* its bias is corrected.

    Example:
        >>> transform = scale_by_rectified_adam()
        >>> gradient = {"kernel": jnp.array([2.0])}
        >>> direction, _ = transform.update(gradient, transform.init(gradient))
        >>> direction["kernel"].round(5)  # the first steps are momentum's
        Array([2.], dtype=float32)

    Reference:
        Liu et al. 2020, On the variance of the adaptive learning rate and beyond.
    """
    limit = 2 / (1 - b2) - 1
    scale = limit / ((limit - 4) * (limit - 2))

    def update(
        updates: Any, state: optax.ScaleByAdamState, params: Any = None
    ) -> tuple[Any, optax.ScaleByAdamState]:
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        nu = optax.tree.update_moment(updates, state.nu, b2, 2)
        count = optax.safe_increment(state.count)
        # expm1, as 1 - b2^t in float32 puts rho off by 0.04, and step 5 of the defaults
        # lies 0.004 below the threshold.
        first, second = (-jnp.expm1(count * math.log(b)) for b in (b1, b2))
        rho = limit - 2 * count * (1 - second) / second
        known = rho > 5
        variance = jnp.maximum((rho - 4) * (rho - 2) * scale / rho, 0.0)
        rectified = jnp.sqrt(variance * second) / first

        def direction(m: Array, v: Array) -> Array:
            adam = rectified.astype(m.dtype) * m / (jnp.sqrt(v) + eps)
            return jnp.where(known, adam, m / first.astype(m.dtype))

        return jax.tree.map(direction, mu, nu), optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


class LookaheadState(NamedTuple):
    """Where a period of :func:`lookahead` stands."""

    # Checkpoints know it by this name, which hides that of a tuple's method.
    count: Int[Array, ""]  # type: ignore[assignment]  # steps since slow ones moved
    slow: Any


def lookahead(
    sync_period: int = 6, step_size: float = 0.5
) -> optax.GradientTransformation:
    """Every few steps go back part of the way: the last link of a chain.

    The parameters are the fast ones. After ``sync_period`` steps the slow ones move,
    ``slow += step_size * (fast - slow)``, and the fast ones go on from there. In
    between, updates pass unchanged; after this link nothing may change them.

    The slow ones are read off where a period begins, so that parameters that were
    replaced between ``init`` and the first step are not drawn back.

    Raises:
        ValueError: the period has no step; ``update`` was not given the parameters.

    Example:
        >>> transform = lookahead(sync_period=2)
        >>> params = jnp.array(0.0)
        >>> state = transform.init(params)
        >>> for _ in range(4):
        ...     update, state = transform.update(jnp.array(1.0), state, params)
        ...     params = params + update
        ...     print(params)
        1.0
        1.0
        2.0
        2.0

    Reference:
        Zhang et al. 2019, Lookahead optimizer: k steps forward, 1 step back.
    """
    if sync_period < 1:
        raise ValueError(f"sync_period={sync_period} must be 1 or more")

    def init(params: Any) -> LookaheadState:
        return LookaheadState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(
        updates: Any, state: LookaheadState, params: Any = None
    ) -> tuple[Any, LookaheadState]:
        if params is None:
            raise ValueError("lookahead needs params: update(updates, state, params)")
        begins, ends = state.count == 0, state.count == sync_period - 1

        def new_slow(slow: Array, fast: Array, step: Array) -> Array:
            slow = jnp.where(begins, fast, slow)
            return jnp.where(ends, slow + step_size * (fast + step - slow), slow)

        def new_step(slow: Array, fast: Array, step: Array) -> Array:
            return jnp.where(ends, slow - fast, step)

        slow = jax.tree.map(new_slow, state.slow, params, updates)
        steps = jax.tree.map(new_step, slow, params, updates)
        return steps, LookaheadState((state.count + 1) % sync_period, slow)

    return optax.GradientTransformation(init, update)
