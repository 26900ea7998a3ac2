"""A convolution whose gradients a CPU computes fast."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Image = Float[Array, "batch _ _ channels"]
Kernel = Float[Array, "_ _ channels filters"]
Filtered = Float[Array, "batch _ _ filters"]

LAYOUT = ("NHWC", "HWIO", "NHWC")
BLOCK = 256  # places of a product, or one column: caches hold what they see


def convolve(
    x: Image, kernel: Kernel, *, stride: int = 1, edges: Sequence[int] = (0, 0)
) -> Filtered:
    r"""Convolve rows and columns, :math:`y_{ij} = \sum_{kl} x_{i+k, sj+l} W_{kl}`.

    For the gradient of a kernel XLA goes through all places once for every tap. On CPUs
    it is computed here as the sum of products of some columns at a time, whose taps lie
    side by side. ``jax.shard_map`` then needs ``check_vma=False``.

    Args:
        x: images.
        kernel: taps, in the type of the images.
        stride: of columns.
        edges: zeros around rows, and around columns.

    Example:
        >>> x = jnp.arange(8.0).reshape(1, 1, 8, 1)
        >>> convolve(x, jnp.ones((1, 2, 1, 1)), stride=2)[0, 0, :, 0].tolist()
        [1.0, 5.0, 9.0, 13.0]
        >>> jax.grad(lambda w: convolve(x, w).sum())(jnp.ones((1, 2, 1, 1))).tolist()
        [[[[21.0]], [[28.0]]]]
    """
    return _convolve(stride, tuple(edges), x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _convolve(
    stride: int, edges: tuple[int, int], x: Image, kernel: Kernel
) -> Filtered:
    return _plain(stride, edges, x, kernel)


def _plain(stride: int, edges: tuple[int, int], x: Image, kernel: Kernel) -> Filtered:
    padding = [(edge, edge) for edge in edges]
    return jax.lax.conv_general_dilated(
        x, kernel, (1, stride), padding, dimension_numbers=LAYOUT
    )


def _forward(stride: int, edges: tuple[int, int], x: Image, kernel: Kernel) -> Any:
    return _plain(stride, edges, x, kernel), (x, kernel)


def _backward(
    stride: int, edges: tuple[int, int], kept: tuple[Image, Kernel], change: Filtered
) -> tuple[Image, Kernel]:
    x, kernel = kept
    plain = functools.partial(_plain, stride, edges)

    def whole(x: Image, change: Filtered) -> Kernel:
        return jax.linear_transpose(lambda w: plain(x, w), kernel)(change)[0]

    taps = kernel.shape[0], kernel.shape[1]
    blocks = functools.partial(_by_blocks, stride, edges, taps)
    (of_x,) = jax.linear_transpose(lambda x: plain(x, kernel), x)(change)
    return of_x, jax.lax.platform_dependent(x, change, cpu=blocks, default=whole)


def _by_blocks(
    stride: int,
    edges: tuple[int, int],
    taps: tuple[int, int],
    x: Image,
    change: Filtered,
) -> Kernel:
    """The gradient of a kernel, from some columns at a time."""
    batch, rows, columns, filters = change.shape
    size = max(min(-(-BLOCK // max(rows, 1)), columns), 1)  # columns of a block
    count = -(-columns // size)  # blocks of an item
    more = max((count * size - 1) * stride + taps[1] - x.shape[2] - 2 * edges[1], 0)
    above, beside = edges
    x = jnp.pad(x, ((0, 0), (above, above), (beside, beside + more), (0, 0)))
    change = jnp.pad(change, ((0, 0), (0, 0), (0, count * size - columns), (0, 0)))
    kind, span = np.promote_types(x.dtype, np.float32), (size - 1) * stride + 1

    def part(x: Image, item: Array, first: Array, width: int) -> Array:
        own = jax.lax.dynamic_index_in_dim(x, item, keepdims=False)
        return jax.lax.dynamic_slice_in_dim(own, first, width, axis=1)

    def add(total: Array, n: Array) -> tuple[Array, None]:
        item, first = n // count, n % count * size
        own = part(x, item, first * stride, span + taps[1] - 1)
        shifted = [
            own[i : i + rows, j : j + span : stride] for i, j in np.ndindex(*taps)
        ]
        side = jnp.concatenate(shifted, axis=-1).reshape(rows * size, -1)
        own = part(change, item, first, size).reshape(-1, filters)
        return total + jnp.matmul(side.T, own, preferred_element_type=kind), None

    start = jnp.zeros((taps[0] * taps[1] * x.shape[-1], filters), kind)
    total = jax.lax.scan(add, start, jnp.arange(batch * count))[0]
    return total.reshape(*taps, -1, filters).astype(x.dtype)


_convolve.defvjp(_forward, _backward)
