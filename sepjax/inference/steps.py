"""A stream of any blocks through a model with state, whose steps have one shape."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.models.contract import SeparationModel, Streaming, Variables


class Steps:
    r"""Separate samples as they come: what is settled by them comes back.

    The estimates of all blocks together, those of :meth:`finish` included, are as long
    as the blocks together, and those of the whole signal at once, up to rounding,
    however the signal is cut.

    Args:
        model: one with ``streaming``.
        variables: its parameters.
        channels: of the signal; a model hears each of them alone, or
            ``audio_channels`` of them together.
        size: samples of a step, rounded to the nearest multiple of the model's block.
        tell: called after each step.

    Attributes:
        streaming: of the model.
        size: samples of a step.
        delay: samples by which estimates lie behind what was pushed, at most: what the
            model waits for, and what a step waits for.

    Raises:
        ValueError: the model needs the whole song; the message says why.

    Example:
        >>> class Halves(SeparationModel):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        ...     streaming = Streaming(latency=15, block=8, lead=4)
        ...     def init_state(self, batch):
        ...         return jnp.zeros((batch, 8))
        ...     def step(self, state, block, samples=None):
        ...         wave = jnp.concatenate([state, block], axis=-1)
        ...         return wave[:, -8:], jnp.stack([wave[:, :-8] / 2] * 2, axis=1)
        >>> steps = Steps(Halves(), {}, channels=1, size=16)
        >>> wave = np.arange(50, dtype=np.float32)[:, None]
        >>> found = [steps.push(wave[at : at + 10]) for at in range(0, 50, 10)]
        >>> [len(block) for block in found], len(rest := steps.finish()), steps.delay
        ([0, 4, 16, 0, 16], 14, 24)
        >>> bool((np.concatenate([*found, rest])[:, 1] == wave / 2).all())
        True
    """

    def __init__(
        self,
        model: SeparationModel,
        variables: Variables,
        channels: int,
        size: int,
        *,
        tell: Callable[[], object] = lambda: None,
    ) -> None:
        width = model.audio_channels
        state = model.init_state(channels // width)
        streaming = model.streaming
        assert streaming is not None  # init_state has said why not
        self.model, self.variables, self.tell = model, variables, tell
        self.streaming: Streaming = streaming
        self.size = streaming.whole_blocks(size)
        self.delay = streaming.delay + self.size
        # Each leaf its own: a step gives its state away.
        self.state = jax.tree.map(jnp.array, state)
        self.held = np.zeros((streaming.lead, channels), np.float32)
        self.skip = streaming.lead + streaming.delay  # of the estimates to come
        self.heard = self.given = 0

    def compile(self) -> None:
        """Compile the step, before anything waits for it."""
        block = np.zeros_like(self.held, shape=(self.size, self.held.shape[1]))
        self._compute(block, jax.tree.map(jnp.array, self.state), 0)

    def push(self, wave: np.ndarray) -> np.ndarray:
        """Take ``(time, channels)``; return ``(time, sources, channels)``, settled."""
        self.heard += len(wave)
        self.held = np.concatenate([self.held, wave])
        found = [self._empty()]
        while len(self.held) >= self.size:
            found.append(self._step(self.held[: self.size], self.size))
            self.held = self.held[self.size :]
        return np.concatenate(found)

    def finish(self) -> np.ndarray:
        """Return the estimates up to the end of the signal; nothing may follow."""
        found = [self._empty()]
        while self.given < self.heard:
            rest = len(self.held)
            block = np.pad(self.held, [(0, self.size - rest), (0, 0)])
            self.held = self.held[:0]
            found.append(self._step(block, rest))
        return np.concatenate(found)

    def _empty(self) -> np.ndarray:
        shape = len(self.model.sources), self.held.shape[1]
        return np.zeros((0, *shape), np.float32)

    def _step(self, block: np.ndarray, samples: int) -> np.ndarray:
        self.state, found = self._compute(block, self.state, samples)
        self._check_finite(found)
        self.tell()
        skipped = min(self.skip, self.size)
        self.skip -= skipped
        found = found[skipped:][: self.heard - self.given]
        self.given += len(found)
        return found

    def _compute(
        self, block: np.ndarray, state: Any, samples: int
    ) -> tuple[Any, np.ndarray]:
        """A step from ``(size, channels)`` to ``(size, sources, channels)``."""
        width = self.model.audio_channels
        groups = block.reshape(self.size, -1, width).transpose(1, 2, 0)
        inputs = groups if width > 1 else groups[:, 0]
        state, estimates = _apply_step(
            self.model, self.variables, state, inputs, np.int32(samples)
        )
        found = np.asarray(estimates, np.float32)
        found = found.reshape(*found.shape[:2], width, self.size).transpose(3, 1, 0, 2)
        return state, found.reshape(self.size, found.shape[1], -1)

    def _check_finite(self, estimates: np.ndarray) -> None:
        bad = ~np.isfinite(estimates).all((0, 2))
        if bad.any():
            name, rate = self.model.sources[bad.argmax()], self.model.sample_rate
            raise FloatingPointError(
                f"the estimate of {name!r} is not finite from {self.given / rate:.1f} s"
                " on: the model overflows here; try another checkpoint, or float32 if "
                "it computes in bfloat16"
            )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _apply_step(
    model: SeparationModel,
    variables: Variables,
    state: Any,
    block: jax.Array,
    samples: jax.Array,
) -> tuple[Any, jax.Array]:
    return model.apply(variables, state, block, samples, method="step")


def streamable(model: SeparationModel) -> SeparationModel | None:
    """Return the model, or it without its steps for whole songs, if it has state."""
    for each in (model, model.for_validation()):
        if each.streaming is not None:
            return each
    return None
