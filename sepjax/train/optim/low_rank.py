"""Low-rank adaptation: what is learned of a matrix is the product of two small ones."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from sepjax.train.optim.freeze import frozen_leaves, leaf_names
from sepjax.train.optim.matrices import matrices


class LowRankState(NamedTuple):
    """The factors of every matrix by its path, and the state of their optimiser."""

    factors: dict[str, dict[str, Array]]
    inner: optax.OptState


def low_rank(
    optimizer: optax.GradientTransformation,
    rank: int,
    *,
    freeze: Sequence[str] = (),
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Return the optimiser whose steps change every matrix by a product of low rank.

    .. math::
        W = W_0 + A B, \quad
        \frac{\partial L}{\partial A} = \frac{\partial L}{\partial W} B^\top, \quad
        \frac{\partial L}{\partial B} = A^\top \frac{\partial L}{\partial W}

    with A (inputs, rank), normal with variance 1 / inputs, and B (rank, outputs), zero
    at first. The given optimiser moves A and B; the parameters move by the difference
    of their products, so that they are always those of the merged model: scores,
    checkpoints and export need not know. All that is no matrix stays.

    Args:
        optimizer: of the factors.
        rank: of the change of each matrix, at most what its size allows.
        freeze: paths of parts that stay as they are.
        seed: of A.

    Raises:
        ValueError: there is no matrix to be trained.

    Example:
        >>> adapt = low_rank(optax.sgd(0.1), rank=1)
        >>> params = {"kernel": jnp.ones((6, 4)), "bias": jnp.ones(4)}
        >>> state = adapt.init(params)
        >>> slopes = jax.tree.map(jnp.ones_like, params)
        >>> moves, state = adapt.update(slopes, state, params)
        >>> int(jnp.linalg.matrix_rank(moves["kernel"])), moves["bias"].tolist()
        (1, [0.0, 0.0, 0.0, 0.0])

    Reference:
        Hu et al. 2021, LoRA: low-rank adaptation of large language models.
    """
    own = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> LowRankState:
        factors = _draw(params, rank, freeze, seed)
        return LowRankState(factors, own.init(factors))

    def update(
        gradients: Any, state: LowRankState, params: Any = None, **more: Any
    ) -> tuple[Any, LowRankState]:
        leaves = dict(zip(leaf_names(gradients), jax.tree.leaves(gradients)))
        slopes = {
            name: {
                "a": leaves[name] @ jnp.swapaxes(pair["b"], -1, -2),
                "b": jnp.swapaxes(pair["a"], -1, -2) @ leaves[name],
            }
            for name, pair in state.factors.items()
        }
        steps, inner = own.update(slopes, state.inner, state.factors, **more)
        after = optax.apply_updates(state.factors, steps)
        moves = {name: jnp.zeros_like(leaf) for name, leaf in leaves.items()}
        for name, pair in after.items():
            before = state.factors[name]
            moves[name] = pair["a"] @ pair["b"] - before["a"] @ before["b"]
        moved = jax.tree.unflatten(jax.tree.structure(gradients), [*moves.values()])
        return moved, LowRankState(after, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _draw(
    params: Any, rank: int, freeze: Sequence[str], seed: int
) -> dict[str, dict[str, Array]]:
    """The factors of all matrices that are trained, by their paths."""
    leaves, factors = dict(zip(leaf_names(params), jax.tree.leaves(params))), {}
    still = jax.tree.leaves(frozen_leaves(params, freeze))
    moving = {name for name, stays in zip(leaves, still) if not stays}
    wanted = [name for name in matrices(params) if name in moving]
    if not wanted:
        raise ValueError("train.lora: the model has no matrix that is trained")
    keys = jax.random.split(jax.random.key(seed), len(wanted))
    for name, key in zip(wanted, keys):
        *stack, inputs, outputs = leaves[name].shape
        most, dtype = min(rank, inputs, outputs), leaves[name].dtype
        drawn = jax.random.normal(key, (*stack, inputs, most), dtype)
        b = jnp.zeros((*stack, most, outputs), dtype)
        factors[name] = {"a": drawn / inputs**0.5, "b": b}
    return factors
