"""The device of float64: scores need it, and not every accelerator has it.

A TPU has no Fourier transform of float64 and no inverse of complex128: scores are
computed on its host, while the model separates on the TPU.
"""

import contextlib
from collections.abc import Iterator

import jax


def float64_device() -> jax.Device:
    """The default device if it is a GPU, otherwise the host's first CPU device.

    Raises:
        ValueError: the host's CPU was excluded by ``JAX_PLATFORMS``.

    Example:
        >>> float64_device().platform in ("cpu", "gpu")
        True
    """
    default = jax.config.jax_default_device or jax.local_devices()[0]
    if getattr(default, "platform", "") == "gpu":
        return default
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        raise ValueError(
            "scores are computed in float64, which this accelerator lacks, and jax "
            "was given no CPU: add it to JAX_PLATFORMS, as in JAX_PLATFORMS=tpu,cpu, "
            "or unset JAX_PLATFORMS"
        ) from error


@contextlib.contextmanager
def float64_enabled() -> Iterator[None]:
    """Context in which jax has 64-bit types and computes on :func:`float64_device`.

    Arguments of jitted functions must be NumPy arrays, or have been made in here: what
    was committed to another device would be computed there.
    """
    with jax.enable_x64(True), jax.default_device(float64_device()):
        yield
