"""Attention whose weights need little memory, in training too."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Tokens = Float[Array, "batch _ heads channels"]


class Blocks(NamedTuple):
    """Sizes of the blocks of weights that are computed at once.

    Attributes:
        together: weights of all heads and items, not of one head at a time.
        weights: most weights in a block.
        queries: fewest queries in a block, even if that makes more weights.
    """

    together: bool
    weights: int
    queries: int

    def heads(self, x: Tokens) -> Float[Array, "groups group tokens channels"]:
        """Heads, apart or together."""
        batch, count, heads, width = x.shape
        every = batch * heads
        groups = (1, every) if self.together else (every, 1)
        return jnp.swapaxes(x, 1, 2).reshape(*groups, count, width)

    def cut(self, x: Tokens, keys: int) -> Float[Array, "groups blocks group _ _"]:
        """Blocks of the queries, of which the last one is filled up with zeros."""
        x = self.heads(x)
        group, count, width = x.shape[1:]
        size = max(self.weights // (group * keys), self.queries)
        size = -(-count // -(-count // size))  # as few more as can be
        x = jnp.pad(x, ((0, 0), (0, 0), (0, -count % size), (0, 0)))
        return jnp.swapaxes(x.reshape(len(x), group, -1, size, width), 1, 2)


def _joined(
    x: Float[Array, "groups blocks group _ width"], like: Tokens
) -> Float[Array, "batch _ heads width"]:
    """Tokens of blocks: as many as another array has."""
    batch, count, heads, _ = like.shape
    x = jnp.swapaxes(x, 1, 2).reshape(batch, heads, -1, x.shape[-1])[:, :, :count]
    return jnp.swapaxes(x, 1, 2)


CPU = Blocks(False, 1 << 18, 64)  # weights stay in the caches of a core
ACCELERATOR = Blocks(True, 1 << 20, 128)  # large products, and few of them


def attend(queries: Tokens, keys: Tokens, values: Tokens) -> Tokens:
    r"""Scaled dot-product attention, for some queries at a time (CPUs: of one head).

    .. math:: y_q = \sum_k P_{q k} v_k, \quad
        P_{q k} = e^{q \cdot k / \sqrt d - L_q}, \quad
        L_q = \log \sum_k e^{q \cdot k / \sqrt d}

    The gradient computes the weights P of a block again, from the :math:`L_q` that were
    kept. Weights are float32, whatever the type of the tokens. ``jax.shard_map`` needs
    ``check_vma=False``.

    Args:
        queries: tokens that hear, ``(batch, tokens, heads, channels)``.
        keys: tokens that are heard.
        values: of the keys.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 300, 2, 4))
        >>> whole = jax.nn.dot_product_attention(x, x, x)
        >>> bool(jnp.allclose(attend(x, x, x), whole, atol=1e-5))
        True

    Reference: Rabe and Staats 2021, "Self-attention does not need O(n^2) memory"; Dao
    et al. 2022, "FlashAttention".
    """
    return _attend(queries, keys, values)


@jax.custom_vjp
def _attend(queries: Tokens, keys: Tokens, values: Tokens) -> Tokens:
    return _forward(queries, keys, values)[0]


def _forward(
    queries: Tokens, keys: Tokens, values: Tokens
) -> tuple[Tokens, tuple[Array, ...]]:
    heard, total = _by_platform(_hear, queries, keys, values)
    return heard, (queries, keys, values, heard, total)


def _backward(kept: tuple[Array, ...], change: Tokens) -> tuple[Tokens, ...]:
    queries, keys, values, heard, total = kept
    mean = (change * heard).astype(jnp.float32).sum(-1, keepdims=True)
    return _by_platform(_change, queries, keys, values, total, mean, change)


_attend.defvjp(_forward, _backward)


def _by_platform(function: Callable[..., Any], *args: Array) -> Any:
    cpu, other = (functools.partial(function, each) for each in (CPU, ACCELERATOR))
    return jax.lax.platform_dependent(*args, cpu=cpu, default=other)


def _hear(
    blocks: Blocks, queries: Tokens, keys: Tokens, values: Tokens
) -> tuple[Tokens, Float[Array, "batch _ heads 1"]]:
    """What is heard, and the logarithm L of every query."""

    def hear(given: tuple[Array, ...]) -> Any:
        queries, keys, values = given
        keys = _turned(keys)  # once for all blocks

        def block(queries: Array) -> tuple[Array, Array]:
            scores = _product(queries, keys)
            peak = scores.max(-1, keepdims=True)
            shares = jnp.exp(scores - peak)
            total = shares.sum(-1, keepdims=True)
            sums = _product(shares.astype(values.dtype), values)
            return (sums / total).astype(values.dtype), peak + jnp.log(total)

        return jax.lax.map(block, queries)

    scaled = queries * queries.shape[-1] ** -0.5
    given = blocks.cut(scaled, keys.shape[1]), *map(blocks.heads, (keys, values))
    heard, total = (_joined(x, queries) for x in jax.lax.map(hear, given))
    return heard, total


def _change(
    blocks: Blocks,
    queries: Tokens,
    keys: Tokens,
    values: Tokens,
    total: Float[Array, "batch _ heads 1"],
    mean: Float[Array, "batch _ heads 1"],
    change: Tokens,
) -> tuple[Tokens, Tokens, Tokens]:
    """Gradients of queries, keys and values."""
    kind, scale = queries.dtype, queries.shape[-1] ** -0.5

    def gradients(given: tuple[Array, ...]) -> Any:
        *rows, keys, values = given
        across = _turned(keys), _turned(values)

        # Sums are turned as well, so that no block of weights has to be.
        def block(sums: tuple[Array, ...], rows: tuple[Array, ...]) -> Any:
            queries, total, mean, change = rows
            weights = jnp.exp(_product(queries, across[0]) - total)
            slopes = (weights * (_product(change, across[1]) - mean)).astype(kind)
            of_keys = sums[0] + _product(_turned(queries), slopes)
            of_values = sums[1] + _product(_turned(change), weights.astype(kind))
            return (of_keys, of_values), (_product(slopes, keys) * scale).astype(kind)

        start = tuple(jnp.zeros(x.shape, jnp.float32) for x in across)
        sums, of_queries = jax.lax.scan(block, start, tuple(rows))
        return of_queries, *(_turned(x).astype(kind) for x in sums)

    rows = (
        blocks.cut(x, keys.shape[1]) for x in (queries * scale, total, mean, change)
    )
    given = *rows, *map(blocks.heads, (keys, values))
    of_queries, of_keys, of_values = jax.lax.map(gradients, given)
    return (
        _joined(of_queries, queries),
        _joined(of_keys[:, None], keys),
        _joined(of_values[:, None], keys),
    )


def _turned(
    x: Float[Array, "*axes rows columns"],
) -> Float[Array, "*axes columns rows"]:
    return jnp.swapaxes(x, -1, -2)


def _product(first: Array, second: Array) -> Array:
    return jnp.matmul(first, second, preferred_element_type=jnp.float32)
