r"""Convolutions of 3 by 3 taps with fewer multiplications, where a CPU's are scarce.

Four results of three taps are :math:`A^T[(G g) \odot (B^T d)]`: six products instead of
twelve, and in two dimensions 36 instead of 144. The columns of :math:`A^T` are powers
of six points. Those here are 0, both signs of 3/4 and of 3/2, and infinity: with 0, 1,
2 and infinity float32 loses four times as much.

Reference: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks";
Toom 1963 and Cook 1966; Barabasz et al. 2020, "Error analysis and improving the
accuracy of Winograd convolution for deep neural networks", on the points.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
TAPS, RESULTS = 3, 4
SIZE = TAPS + RESULTS - 1  # products of a tile


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of results, taps and samples: A^T, G and B^T."""
    results, taps = np.zeros((RESULTS, SIZE)), np.zeros((SIZE, TAPS))
    samples = np.zeros((SIZE, SIZE))
    for n, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        samples[n, : SIZE - 1] = np.poly(others)[::-1]
        results[:, n] = point ** np.arange(RESULTS)
        taps[n] = point ** np.arange(TAPS) / np.prod(np.subtract(point, others))
    samples[-1], results[-1, -1], taps[-1, -1] = np.poly(POINTS)[::-1], 1, 1
    return results, taps, samples


OF_RESULTS, OF_TAPS, OF_SAMPLES = _matrices()


def transform_kernel(
    kernel: Float[np.ndarray, "3 3 channels filters"],
) -> Float[np.ndarray, "6 6 channels filters"]:
    """Return a kernel as :func:`convolve` takes it: four times as many numbers.

    Example:
        >>> transform_kernel(np.ones((3, 3, 1, 2), np.float32)).shape
        (6, 6, 1, 2)
    """
    both = np.kron(OF_TAPS, OF_TAPS).astype(kernel.dtype)
    return (both @ kernel.reshape(TAPS**2, -1)).reshape(SIZE, SIZE, *kernel.shape[2:])


def convolve(
    x: Float[Array, "batch rows columns channels"],
    transformed: Float[Array, "6 6 channels filters"],
) -> Float[Array, "batch rows columns filters"]:
    r"""Return :math:`y_{ij} = \sum_{kl} x_{i+k-1, j+l-1} W_{kl}`, with zeros outside.

    Equal to the convolution up to rounding: 3e-6 of the largest result in float32.

    Args:
        x: images.
        transformed: the kernel by :func:`transform_kernel`.

    Example:
        >>> kernel = np.zeros((3, 3, 1, 1), np.float32)
        >>> kernel[1, 2] = 2.0
        >>> x = jnp.arange(15.0).reshape(1, 3, 5, 1)
        >>> y = convolve(x, transform_kernel(kernel))
        >>> jnp.rint(y[0, 1, :, 0]).tolist()
        [12.0, 14.0, 16.0, 18.0, 0.0]
    """
    batch, rows, columns, channels = x.shape
    edges = [(1, 1 + -size % RESULTS) for size in (rows, columns)]
    x = jnp.pad(x, ((0, 0), *edges, (0, 0)))
    down, across = (-(-size // RESULTS) for size in (rows, columns))
    x = jnp.stack(_products(OF_SAMPLES, [x[:, part] for part in _parts(down)]))
    parts = [x[:, :, :, part] for part in _parts(across)]
    x = jnp.stack(_products(OF_SAMPLES, parts), axis=1)
    y = jax.lax.dot_general(
        x.reshape(SIZE**2, -1, channels),
        transformed.reshape(SIZE**2, channels, -1),
        (((2,), (1,)), ((0,), (0,))),
    )
    y = y.reshape(SIZE, SIZE, batch, down, across, -1)
    y = jnp.stack(_products(OF_RESULTS, y), axis=3)
    y = jnp.stack(_products(OF_RESULTS, y), axis=4)
    y = y.reshape(batch, RESULTS * down, RESULTS * across, -1)
    return y[:, :rows, :columns]


def _parts(count: int) -> list[slice]:
    """The first samples of all tiles, the second ones and so on."""
    stop = RESULTS * (count - 1) + 1
    return [slice(place, place + stop, RESULTS) for place in range(SIZE)]


def _products(matrix: np.ndarray, values: Sequence[Array] | Array) -> list[Array]:
    """A small matrix times a column of arrays, without the zeros."""
    return [
        functools.reduce(
            jnp.add, [np.float32(row[n]) * values[n] for n in range(SIZE) if row[n]]
        )
        for row in matrix
    ]
