"""Medians of windows by minima and maxima alone, which compile to one quick loop."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float


def median_of(arrays: list[Float[Array, "..."]]) -> Float[Array, "..."]:
    """Median of several arrays, element by element; of an even number the upper one.

    Both halves are sorted by Batcher's merges; with sorted halves ``a`` and ``b`` the
    k-th smallest element is ``min over i of max(a[i], b[k - i])``.

    Example:
        >>> median_of([jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0]), jnp.zeros(2)])
        Array([1., 2.], dtype=float32)

    Reference:
        Batcher 1968, Sorting networks and their applications.
    """
    half, k = len(arrays) // 2, len(arrays) // 2 + 1
    low, high = _sorted(arrays[:half]), _sorted(arrays[half:])
    pairs = [(i, k - i) for i in range(k + 1) if i <= len(low) and k - i <= len(high)]
    tops = [
        functools.reduce(jnp.maximum, low[max(i - 1, 0) : i] + high[max(j - 1, 0) : j])
        for i, j in pairs
    ]
    return functools.reduce(jnp.minimum, tops)


def _sorted(arrays: list[Array]) -> list[Array]:
    if len(arrays) < 2:
        return arrays
    half = len(arrays) // 2
    return _merged(_sorted(arrays[:half]), _sorted(arrays[half:]))


def _merged(a: list[Array], b: list[Array]) -> list[Array]:
    """Merge two sorted lists: those of even places, those of odd places, neighbours."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        return [jnp.minimum(a[0], b[0]), jnp.maximum(a[0], b[0])]
    even, odd = _merged(a[::2], b[::2]), _merged(a[1::2], b[1::2])
    out = even[:1]
    for e, o in zip(even[1:], odd):
        out += [jnp.minimum(e, o), jnp.maximum(e, o)]
    return out + even[1 + len(odd) :] + odd[len(even) - 1 :]


def windows(
    x: Float[Array, "..."], size: int, axis: int, step: int = 1
) -> list[Float[Array, "..."]]:
    """Shift an array by each place of a centred window; the edges are mirrored.

    Neighbours in the window of odd ``size`` lie ``step`` elements apart.

    Example:
        >>> [w.tolist() for w in windows(jnp.array([1.0, 2.0, 3.0]), 3, 0)]
        [[1.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 3.0]]
    """
    axis, count = axis % x.ndim, x.shape[axis]
    edges = [(0, 0)] * x.ndim
    edges[axis] = (size // 2 * step,) * 2
    wide = jnp.moveaxis(jnp.pad(x, edges, mode="symmetric"), axis, 0)
    return [
        jnp.moveaxis(wide[place * step : place * step + count], 0, axis)
        for place in range(size)
    ]


def median_filter(
    x: Float[Array, "..."], size: int, axis: int = -1
) -> Float[Array, "..."]:
    """Median of a centred window of odd ``size`` along an axis, edges mirrored.

    As ``scipy.ndimage.median_filter`` with its default edges.

    Example:
        >>> median_filter(jnp.array([1.0, 9.0, 2.0, 3.0]), 3)
        Array([1., 2., 3., 3.], dtype=float32)
    """
    return median_of(windows(x, size, axis))
