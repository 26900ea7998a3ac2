"""Pseudo-inverse of a filterbank, differentiable and cheap enough for every step."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def pinv_kernel(
    kernel: Float[Array, "length filters"], stride: int, *, ridge: float = 1e-6
) -> Float[Array, "filters length"]:
    r"""Synthesis kernel that undoes :func:`~sepjax.functional.framing.analyze`.

    .. math:: D = \frac{W}{L} \, F \left(F^T F + \lambda
              \frac{\mathrm{tr} F^T F}{L} I\right)^{-1}

    with the analysis filters as rows of F. Where the filters span all L taps and the
    stride W divides L, every interior sample is covered L/W times and reconstruction is
    exact but for the ridge. A bank with fewer filters than taps, or of deficient rank,
    gives the best least-squares reconstruction of each frame.

    A ``ridge`` of 1e-6 keeps float32 well-behaved; a bank with a condition number
    beyond about 1e3 needs float64 and a smaller one.

    Example:
        >>> pinv_kernel(jnp.eye(4), stride=4).round(3)
        Array([[1., 0., 0., 0.],
               [0., 1., 0., 0.],
               [0., 0., 1., 0.],
               [0., 0., 0., 1.]], dtype=float32)
    """
    length, filters = kernel.shape
    # F (F'F + c I)^-1 = (F F' + c I)^-1 F: solve in the smaller dimension.
    tall = kernel.T if filters >= length else kernel
    gram = jnp.matmul(tall.T, tall, precision=jax.lax.Precision.HIGHEST)
    loading = ridge * jnp.trace(gram) / length
    inverse = _inverse(gram + loading * jnp.eye(len(gram), dtype=gram.dtype))
    inverse = jnp.matmul(tall, inverse, precision=jax.lax.Precision.HIGHEST)
    return stride / length * (inverse if filters >= length else inverse.T)


@jax.custom_jvp
def _inverse(gram: Float[Array, "n n"]) -> Float[Array, "n n"]:
    identity = jnp.eye(len(gram), dtype=gram.dtype)
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(gram), identity)


@_inverse.defjvp
def _inverse_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # d(G^-1) = -G^-1 dG G^-1: products only, where Cholesky's own rule solves again.
    inverse = _inverse(*primals)
    product = jnp.matmul(inverse, tangents[0], precision=jax.lax.Precision.HIGHEST)
    return inverse, -jnp.matmul(product, inverse, precision=jax.lax.Precision.HIGHEST)
