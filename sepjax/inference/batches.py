"""Batches of chunks: their sizes, and the program that estimates one on the device."""

import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.inference.chunks import Chunk
from sepjax.models.contract import SeparationModel, Variables

# Computed at a time: parts of a program run on one core, or wait for memory.
BATCHES = 2
TILED_SECONDS = 40.0  # most of a program on a CPU, tile after tile


def batch_form(model: SeparationModel, length: int, count: int) -> tuple[int, int]:
    """Return the steps of a batch, and the chunks of a step: accelerators like many.

    On a CPU one is best, unless the model says with ``cpu_batch_seconds`` how much
    sound it likes at once; then the last step is as full as the others. There, several
    tiles of a model that has them are the steps of one program: memory that it needs is
    then not given back, and cleared by the system, for each of them.

    Args:
        model: what separates.
        length: of a chunk, samples.
        count: chunks altogether.
    """
    if jax.default_backend() != "cpu":
        return 1, 8
    seconds = model.cpu_batch_seconds
    most = max(round(seconds * model.sample_rate / length), 1)
    at_once = -(-count // -(-count // most))
    steps = int(TILED_SECONDS * model.sample_rate / (at_once * length))
    return max(steps if model.tiling else 1, 1), at_once


def batch_sizes(count: int, form: tuple[int, int]) -> Iterator[int]:
    """Yield the chunks of batch after batch: all threads have as much to do.

    Example:
        >>> [*itertools.islice(batch_sizes(21, (4, 1)), 6)]
        [4, 4, 4, 3, 3, 3]
    """
    steps, at_once = form
    left = -(-count // at_once)
    for batches in range(BATCHES * -(-left // (BATCHES * steps)), 0, -1):
        most = max(-(-left // batches), 1)
        yield most * at_once
        left -= most
    yield from itertools.repeat(steps * at_once)


@functools.partial(jax.jit, static_argnums=0)
def estimate_batch(
    model: SeparationModel, variables: Variables, inputs: jax.Array, steps: int
) -> jax.Array:
    """Estimate the sources of a batch of chunks.

    Args:
        model: what separates.
        variables: its parameters.
        inputs: ``(any, batch, time, 1 + references, width)``.
        steps: of the first axis so many are computed, one after the other; one of one.

    Returns:
        ``(any, batch, sources, time, width)``: the samples of a source lie side by
        side, as they will in its stem. What is not computed may be any number.
    """
    *lead, time, _, width = inputs.shape
    shape = *lead, len(model.sources), time, width

    def estimates_of(inputs: jax.Array) -> jax.Array:
        waves = jnp.moveaxis(inputs, 1, -1)
        if waves.shape[2] == 1:
            waves = waves[:, :, 0]
        references = [waves[:, 1:]] if waves.shape[1] > 1 else []
        options = {"method": "tile"} if model.tiling else {}
        result = model.apply(variables, waves[:, 0], *references, **options)
        estimates = jnp.moveaxis(result.estimates, -1, 2).astype(jnp.float32)
        estimates = estimates.reshape(*estimates.shape[:3], -1)
        if estimates.shape != shape[1:]:
            raise ValueError(
                f"the model's estimates are {result.estimates.shape} of a mixture "
                f"{waves[:, 0].shape}: of {len(model.sources)} sources, as many "
                "channels and samples are needed"
            )
        return estimates

    if len(inputs) == 1:
        return estimates_of(inputs[0])[None]
    # Not by ``at``, which reads what is there in order to check the place.
    put = functools.partial(jax.lax.dynamic_update_index_in_dim, axis=0)
    return jax.lax.fori_loop(
        0,
        steps,
        lambda n, found: put(found, estimates_of(inputs[n]), index=n),
        jax.lax.empty(shape, jnp.float32),
    )


def check_finite(
    model: SeparationModel, estimate: np.ndarray, chunk: Chunk, place: slice
) -> None:
    """Raise an error that names the source and the time of what is not finite."""
    if np.isfinite(estimate).all():
        return
    for source, name in enumerate(model.sources):
        if not np.isfinite(estimate[:, source]).all():
            times = chunk.start, chunk.start + len(estimate)
            first, last = (t / model.sample_rate for t in times)
            raise FloatingPointError(
                f"the estimate of {name!r} is not finite between {first:.1f} and "
                f"{last:.1f} s of channel {place.start}: the model overflows here; "
                "try another checkpoint, or float32 if it computes in bfloat16"
            )
