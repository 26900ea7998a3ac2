"""The device of float64: a TPU has neither its Fourier transform nor its inverse."""

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
            "scores need float64, which this accelerator lacks, and JAX_PLATFORMS "
            "leaves out the CPU: set JAX_PLATFORMS=tpu,cpu"
        ) from error


@contextlib.contextmanager
def float64_enabled() -> Iterator[None]:
    """Context in which jax has 64-bit types and computes on :func:`float64_device`.

    Give NumPy arrays to jitted functions: arrays of another device would stay there.
    """
    with jax.enable_x64(True), jax.default_device(float64_device()):
        yield
