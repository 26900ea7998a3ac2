"""Separation as fast as sound comes: at any rate, with its delay measured."""

import time
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from data_pipelines.audio.resample import resample_blocks
from sepjax.inference.steps import Steps
from sepjax.inference.stream import widen
from sepjax.models.contract import SeparationModel, Variables

QUALITY = "HQ"
"""Of soxr: 20 bits, with less delay than VHQ."""


class LiveSeparation:
    """The stems of a signal whose end is not known, block by block.

    What needs the whole track cannot be had: the level has to be known beforehand, and
    scales are not fitted to the mixture.

    Args:
        model: one with ``streaming``.
        variables: its parameters.
        sample_rate: of the signal, Hz; it is resampled to the model's and back.
        channels: of the signal.
        seconds: of a step, rounded to whole blocks of the model.
        level: standard deviation of the signal, by which the model's input is divided,
            and its estimates are multiplied.

    Attributes:
        steps: what separates.
        heard: samples that have come.
        busy: seconds of computing.
        delay: the longest time in seconds from a sample to its estimate, until the
            block of the estimate was taken from the iterator and the next one asked
            for. Samples of a block are taken to have come at their rate.

    Raises:
        ValueError: the model does not separate streams, or the channels do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from sepjax.models import Streaming
        >>> class Halves(SeparationModel):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        ...     streaming = Streaming(latency=7, block=8)
        ...     def init_state(self, batch):
        ...         return ()
        ...     def step(self, state, block, samples=None):
        ...         return state, jnp.stack([block / 2] * 2, axis=1)
        >>> live = LiveSeparation(Halves(), {}, sample_rate=16000, channels=1)
        >>> blocks = [np.ones((700, 1), np.float32)] * 3
        >>> sum(len(stems) for stems in live(blocks)), live.heard, live.latency
        (2100, 2100, 0.02)
    """

    def __init__(
        self,
        model: SeparationModel,
        variables: Variables,
        *,
        sample_rate: int,
        channels: int,
        seconds: float = 0.02,
        level: float = 1.0,
    ) -> None:
        if not (level > 0 and seconds > 0):
            raise ValueError(f"level={level} and block={seconds} s must be above zero")
        self.sample_rate, self.channels, self.level = sample_rate, channels, level
        self.width = model.audio_channels
        wide = widen(np.zeros((1, channels), np.float32), self.width).shape[-1]
        size = round(seconds * model.sample_rate)
        self.steps = Steps(model, variables, channels=wide, size=size)
        self.steps.compile()
        self.heard, self.busy, self.delay = 0, 0.0, 0.0
        self.arrivals: deque[tuple[int, float]] = deque()

    @property
    def latency(self) -> float:
        """Seconds that the model and its blocks wait for, without computing."""
        return self.steps.delay / self.steps.model.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for each second of sound; 0 before there was any."""
        return self.busy * self.sample_rate / self.heard if self.heard else 0.0

    def __call__(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Separate blocks ``(time, channels)``; yield ``(time, sources, channels)``."""
        rates, given = (self.sample_rate, self.steps.model.sample_rate), 0
        inputs = resample_blocks(self._noted(blocks), *rates, quality=QUALITY)
        outputs = resample_blocks(self._stepped(inputs), *rates[::-1], quality=QUALITY)
        for block in outputs:
            block = block[: self.heard - given]
            if self.channels < block.shape[-1]:
                block = block.mean(-1, keepdims=True)
            if len(block):
                yield block
                self._note_delay(given)
            given += len(block)
        # There and back a length may be rounded twice.
        if given < self.heard:
            shape = self.heard - given, len(self.steps.model.sources), self.channels
            yield np.zeros(shape, np.float32)

    def _noted(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            if not np.isfinite(block).all():
                raise ValueError(
                    f"a sample is not finite after {self.heard / self.sample_rate:.3f} "
                    "s: check the format of the samples"
                )
            self.heard += len(block)
            self.arrivals.append((self.heard, time.perf_counter()))
            yield widen(block / np.float32(self.level), self.width)

    def _stepped(self, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in inputs:
            yield self._timed(block)
        yield self._timed(None)

    def _timed(self, block: np.ndarray | None) -> np.ndarray:
        began = time.perf_counter()
        found = self.steps.finish() if block is None else self.steps.push(block)
        self.busy += time.perf_counter() - began
        return found * np.float32(self.level)

    def _note_delay(self, sample: int) -> None:
        """Note how long ago a sample came whose estimate has just been taken."""
        while self.arrivals[0][0] <= sample:
            self.arrivals.popleft()
        end, when = self.arrivals[0]
        came = when - (end - sample) / self.sample_rate
        self.delay = max(self.delay, time.perf_counter() - came)
