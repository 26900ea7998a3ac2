"""Separate a track block by block, in memory that does not grow with its length.

A first pass measures the track's length and level, a second one separates: blocks are
resampled, cut into chunks of one fixed length, separated in batches, cross-faded and
resampled back. A model with state hears the whole track instead, chunk after chunk.
Scales that are fitted to the whole mixture are known at the end only.
"""

import functools
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from data_pipelines.audio.resample import resample_blocks, scale_frames
from sepjax.inference.augmentation import (
    delayed,
    in_step,
    mirrors,
    shift_lengths,
    without_start,
)
from sepjax.inference.batches import (
    BATCHES,
    batch_form,
    batch_sizes,
    check_finite,
    estimate_batch,
)
from sepjax.inference.chunks import (
    DEFAULT,
    Chunk,
    Chunking,
    check_chunking,
    chunks_of,
    count_chunks,
    joined,
)
from sepjax.inference.level_and_scale import Level, ScaleFit
from sepjax.inference.steps import Steps
from sepjax.models.contract import SeparationModel, Tiling, Variables

Blocks = Callable[[], Iterable[np.ndarray]]
Place = tuple[Chunk, slice]
"""A chunk, and channels of it."""

BLOCK = 1 << 18  # samples at once of what is already in memory
STEP = 1.0  # seconds of a step on a CPU: caches hold what longer ones do not


class SeparationStream:
    r"""The stems of a track, block by block.

    Iterate over it once: blocks ``(time, sources, width)`` float32 follow each other
    without a gap, altogether as long as the track, at its rate. :meth:`stems` makes
    stems of the blocks, with :attr:`scales`, which are known after the last block.

    Args:
        model: see :func:`sepjax.separate`, also for all that is not said here.
        variables: its parameters.
        blocks: begins to read the track, twice: ``(time, channels)`` float arrays at
            full scale 1. An ideal mask takes ``(time, 1 + sources, channels)``: the
            mixture, and after it the true references.
        sample_rate: of the blocks, Hz.
        chunking: how the track is cut, levelled and fitted, and how often it is heard.
        shape: time and channels of the track, where they are known: unless it is to be
            levelled, it is read only once then.

    Raises:
        ValueError: no finite audio, or an argument is out of range.

    Example:
        >>> from sepjax.models import Separation, SeparationModel
        >>> class Halves(SeparationModel):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        ...     def __call__(self, mixture):
        ...         estimates = mixture[:, None].repeat(2, axis=1) / 2
        ...         return Separation(estimates)
        >>> blocks = [np.ones((30000, 2), np.float32)] * 3
        >>> stream = SeparationStream(Halves(), {}, lambda: blocks, sample_rate=8000)
        >>> estimates = np.concatenate(list(stream))
        >>> stream.stems(estimates).shape
        (90000, 2, 2)
    """

    def __init__(
        self,
        model: SeparationModel,
        variables: Variables,
        blocks: Blocks,
        *,
        sample_rate: int,
        chunking: Chunking = DEFAULT,
        shape: tuple[int, int] | None = None,
    ) -> None:
        chunk, overlap, normalize, self.rescale, shifts, augment = chunking
        check_chunking(chunk, overlap)
        if sample_rate <= 0:
            raise ValueError(f"sample_rate={sample_rate} must be positive")
        self.model, self.variables, self.blocks = model, variables, blocks
        self.sample_rate = sample_rate
        self.step: Callable[[], object] = lambda: None  # called after each chunk
        length = max(round(chunk * model.sample_rate), 1)
        hop = max(length - round(overlap * length), 1)
        # A model's own tiles leave nothing to choose.
        self.tiled = model.tiling is not None
        self.length, self.hop, before = model.tiling or Tiling(length, hop)
        self.streaming = model.streaming
        if self.streaming:
            # The estimates are the same, whatever the length.
            on_cpu = jax.default_backend() == "cpu"
            length = min(length, round(STEP * model.sample_rate)) if on_cpu else length
            self.length = self.hop = self.streaming.whole_blocks(length)
        self.width = model.audio_channels  # separated at once
        shifted = shift_lengths(shifts, model.sample_rate)
        self.shifts = [before + shift for shift in shifted]
        self.mirrors = mirrors(augment, self.width)
        self.levelled = normalize
        if shape is None or normalize:
            self.time, self.channels, self.level = self._measured(normalize)
        else:
            self.time, self.channels = shape
            heard = widen(np.zeros((1, self.channels), np.float32), self.width)
            self.level = np.ones_like(heard[0])
        self.scales = np.ones((len(model.sources), len(self.level)), np.float32)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Separate the track."""
        estimates = self._at_the_models_rate()
        rates = self.model.sample_rate, self.sample_rate
        return resample_blocks(estimates, *rates, frames=self.time)

    def stems(self, block: np.ndarray) -> np.ndarray:
        """Scale the estimates of a block and, for a mono track, average their channels.

        Args:
            block: ``(time, sources, width)``, as the iteration yields it.

        Returns:
            ``(time, sources, channels)``.
        """
        block = block * self.scales
        narrow = block.shape[-1] > self.channels
        return block.mean(-1, keepdims=True) if narrow else block

    def _inputs(self) -> Iterator[np.ndarray]:
        """(time, 1 + references, channels) at the model's rate, wide enough."""
        rates = self.sample_rate, self.model.sample_rate
        blocks = resample_blocks(map(self._checked, self.blocks()), *rates)
        return (widen(block, self.width) for block in blocks)

    @staticmethod
    def _checked(block: np.ndarray) -> np.ndarray:
        if not np.isfinite(block).all():
            raise ValueError("a block is not finite: repair or cut the recording")
        block = block.astype(np.float32, copy=False)
        return block.reshape(len(block), -1, block.shape[-1])

    def _measured(self, normalize: bool) -> tuple[int, int, np.ndarray]:
        """Samples and channels of the track, and the level of each channel."""
        time, channels, level = 0, 0, Level()

        def counted() -> Iterator[np.ndarray]:
            nonlocal time, channels
            for block in map(self._checked, self.blocks()):
                time, channels = time + len(block), block.shape[-1]
                yield block[:, :1]

        rate = self.model.sample_rate if normalize else self.sample_rate
        for block in resample_blocks(counted(), self.sample_rate, rate):
            level.add(widen(block, self.width)[:, 0], self.width)
        if not time:
            raise ValueError("the track holds no samples")
        scale = level.scale(self.width)
        return time, channels, scale if normalize else np.ones_like(scale)

    def _at_the_models_rate(self) -> Iterator[np.ndarray]:
        fit, inputs = ScaleFit(), self._inputs()
        if self.levelled:
            inputs = (block / self.level for block in inputs)
        copies = itertools.tee(inputs, len(self.shifts))
        for parts in in_step([*map(self._shifted, copies, self.shifts)]):
            mixture = parts[0][0]
            estimates = _mean([estimates for _, estimates in parts])
            if self.rescale:
                fit.add(estimates, mixture)
            yield estimates * self.level if self.levelled else estimates
        if self.rescale:
            self.scales = fit.solved()

    def _shifted(
        self, inputs: Iterable[np.ndarray], shift: int
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Mixture and estimates of a track that is heard ``shift`` samples later."""
        if self.streaming:
            return without_start(self._stepped(delayed(inputs, shift)), shift)
        form = self.length, self.hop
        chunks = chunks_of(delayed(inputs, shift), *form, tiled=self.tiled)
        blocks = joined(self._estimated(chunks), *form, tiled=self.tiled)
        return without_start(blocks, shift)

    def _stepped(
        self, inputs: Iterable[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Mixture and estimates of a model with state: no chunk has a border."""
        form = len(self.level), self.length
        each = [Steps(self.model, self.variables, *form) for _ in self.mirrors]
        each[0].tell = lambda: self.step()
        held = np.zeros((0, len(self.level)), np.float32)
        for block in itertools.chain(inputs, [None]):
            total: np.ndarray | float = 0.0
            for steps, (sign, order) in zip(each, self.mirrors):
                if block is None:
                    found = steps.finish()
                else:
                    wave = self._mirror(block[:, 0], order)
                    found = steps.push(np.float32(sign) * wave)
                total = total + np.float32(sign) * self._mirror(found, order)
            estimates = np.asarray(total) / np.float32(len(each))
            if block is not None:
                held = np.concatenate([held, block[:, 0]])
            if len(estimates):
                yield held[: len(estimates)], estimates
            held = held[len(estimates) :]

    def _mirror(self, wave: np.ndarray, order: int) -> np.ndarray:
        """Channels that are separated together, in the order or against it."""
        count = len(self.level) // self.width
        groups = wave.reshape(*wave.shape[:-1], count, self.width)
        return groups[..., ::order].reshape(wave.shape)

    def count(self) -> int:
        """Count the chunks of the track, of all shifts."""
        return sum(map(self._count, self.shifts))

    def _count(self, shift: int) -> int:
        """Chunks of the track that begins later."""
        time = scale_frames(self.time, self.sample_rate, self.model.sample_rate)
        if how := self.streaming:
            return -(-(time + shift + how.lead + how.delay) // self.length)
        return count_chunks(time + shift, self.length, self.hop, tiled=self.tiled)

    def _estimated(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Chunks with their estimates, computed in batches of one shape."""
        groups = self._count(self.shifts[0]) * len(self.level) // self.width
        form = batch_form(self.model, self.length, groups)
        sizes = batch_sizes(groups, form)
        size = next(sizes)
        waiting: deque[Chunk] = deque()
        computing: deque[tuple[Future, list[Place]]] = deque()
        places: list[Place] = []

        def finished(most: int) -> Iterator[Chunk]:
            """Chunks that are done once no more than some batches are computed."""
            while len(computing) > most:
                self._fill(*computing.popleft())
            while waiting and not waiting[0].missing:
                self.step()
                yield waiting.popleft()

        pool = ThreadPoolExecutor(BATCHES)
        try:
            for chunk in chunks:
                self._prepare(chunk, places)
                waiting.append(chunk)
                while len(places) >= size:
                    batch, places, size = places[:size], places[size:], next(sizes)
                    computing.append((self._compute(pool, batch, form), batch))
                yield from finished(BATCHES)
            if places:
                computing.append((self._compute(pool, places, form), places))
            yield from finished(0)
        finally:  # an error does not wait for batches that have not begun
            pool.shutdown(cancel_futures=True)

    def _prepare(self, chunk: Chunk, places: list[Place]) -> None:
        """Add the groups of a chunk's channels in which something sounds."""
        sounding = [
            slice(first, first + self.width)
            for first in range(0, chunk.wave.shape[-1], self.width)
            if chunk.wave[:, 0, first : first + self.width].any()
        ]
        shape = self.length, len(self.model.sources), chunk.wave.shape[-1]
        chunk.estimates = np.zeros(shape, np.float32)
        chunk.missing = len(sounding)
        places += [(chunk, place) for place in sounding]

    def _compute(
        self, pool: ThreadPoolExecutor, places: list[Place], form: tuple[int, int]
    ) -> Future:
        """Begin to estimate groups of channels of chunks, some of them at once."""
        waves = [chunk.wave[..., place] for chunk, place in places]
        inputs = np.zeros((math.prod(form), *waves[0].shape), np.float32)
        np.stack(waves, out=inputs[: len(waves)])
        inputs = inputs.reshape(*form, *waves[0].shape)
        steps = -(-len(waves) // form[1])
        # Contexts of JAX are those of a thread.
        device: Any = jax.config.jax_default_device  # type: ignore[attr-defined]
        wide: Any = jax.config.jax_enable_x64  # type: ignore[attr-defined]

        def compute() -> np.ndarray:
            with jax.default_device(device), jax.enable_x64(wide):
                return self._mirrored(inputs, steps)

        return pool.submit(compute)

    def _fill(self, estimates: Future, places: list[Place]) -> None:
        """Give chunks the estimates of their groups of channels."""
        for (chunk, place), estimate in zip(places, estimates.result()):
            check_finite(self.model, estimate, chunk, place)
            if estimate.shape == chunk.estimates.shape:
                chunk.estimates = estimate  # without a copy
            else:
                chunk.estimates[..., place] = estimate
            chunk.missing -= 1

    def _mirrored(self, inputs: np.ndarray, steps: int) -> np.ndarray:
        """The mean of what the model says of all mirrored inputs."""
        each = []
        for sign, order in self.mirrors:
            same = (sign, order) == (1, 1)
            mirrored = inputs if same else np.float32(sign) * inputs[..., ::order]
            estimates = estimate_batch(
                self.model, self.variables, mirrored, np.int32(steps)
            )
            found = np.asarray(estimates).reshape(-1, *estimates.shape[2:])
            found = np.moveaxis(found, 1, 2)
            each.append(found if same else np.float32(sign) * found[..., ::order])
        return _mean(each)


def _mean(arrays: list[np.ndarray]) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    return functools.reduce(np.add, arrays) / np.float32(len(arrays))


def widen(wave: np.ndarray, width: int) -> np.ndarray:
    """Both channels of a stereo model hear a mono recording."""
    if width > 1 and wave.shape[-1] == 1:
        return wave.repeat(width, axis=-1)
    if wave.shape[-1] % width:
        raise ValueError(
            f"the model separates {width} channels together, the mixture has "
            f"{wave.shape[-1]}: mix it down to 1 or {width}"
        )
    return wave
