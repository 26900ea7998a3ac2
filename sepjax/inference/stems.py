"""Stems as files: all of a track or none, and nothing clipped that need not be."""

import collections
import contextlib
import dataclasses
import itertools
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from pathlib import Path

import numpy as np

from data_pipelines.audio.decode import open_part
from data_pipelines.audio.encode import FLOAT, FORMATS, Output, encoder
from data_pipelines.audio.resample import resample_blocks, scale_frames
from data_pipelines.manifest import DataError
from sepjax.inference.places import Place, mark
from sepjax.storage import move_all, scratch_folder

BLOCK = 1 << 16  # samples read back at once
RAW = "estimates.raw"
CLEAN = 93.0  # dB between stems and the noise of their depth: 90, and their correlation
DEFAULT = Output()


class StemFiles:
    """Stems that are written block by block: all stems of a track, or none.

    What is appended, *raw* signals, as many as stems by default, need not be the stems:
    :meth:`write` makes those of it. Their peak and level are known only at the end.
    Until then the raw samples lie in one file in a hidden folder beside the track's, as
    32-bit floats, which is deleted when the ``with`` block ends. Older stems of the
    same origin are replaced.

    Raises:
        OSError: the stems could not be written, or another process writes them; files
            are in the way that are no stems of the origin.
    """

    def __init__(
        self,
        place: Place,
        names: Sequence[str],
        sample_rate: int,
        output: Output = DEFAULT,
        origin: Path | None = None,
        raw: int = 0,
        recipe: str = "",
    ) -> None:
        self.place, self.names, self.origin = place, list(names), origin
        self.sample_rate, self.output = sample_rate, output.of_depth(16)
        self.rate = FORMATS[output.kind].rate(sample_rate)  # of the files
        self.raw, self.width, self.frames = raw or len(self.names), 1, 0
        self.comment, self.scratch = mark(origin, recipe), contextlib.ExitStack()

    def __enter__(self) -> "StemFiles":
        if not self.place.is_free(self.names, self.origin):
            raise FileExistsError(
                f"{self.place} holds files with names of the stems that were not made "
                f"of {self.origin or 'this track'}: give another folder with -o"
            )
        with self._disk():
            target = self.place.folder / self.place.track
            self.part = self.scratch.enter_context(scratch_folder(target))
        return self

    def __exit__(self, *_: object) -> None:
        self.scratch.close()

    def append(self, block: np.ndarray) -> None:
        """Append ``(time, raw, width)``."""
        self.width, self.frames = block.shape[-1], self.frames + len(block)
        with self._disk(), (self.part / RAW).open("ab") as file:
            file.write(np.ascontiguousarray(block, np.float32).data)

    def write(
        self, stems: Callable[[np.ndarray], np.ndarray] = lambda block: block
    ) -> str:
        """Write the stems to files, all side by side.

        By default nothing is clipped. Where a stem exceeds full scale, all stems of the
        track become 32-bit float (WAV), or are turned down by one common gain. WAV of
        24 bits becomes float where rounding would be less than 90 dB below the track.

        ``stems`` makes ``(time, stems, channels)`` of raw ``(time, raw, width)``, block
        by block of the whole track, twice. Returned is what the files are, in words.

        Raises:
            OverflowError: a sample of a stem is no finite float.
        """
        peaks, power = self._measure(self._blocks(stems))
        gains, note = self._fitted(peaks, power)
        with self._disk():
            blocks = (gains * block for block in self._blocks(stems))
            if self.output.clip_mode == "clamp":
                blocks = (block.clip(-0.99, 0.99) for block in blocks)
            made = self._write(blocks)
            old = [path for path in self.place.all_paths(self.names) if path.is_file()]
            move_all(made, old)
        return note

    def _fitted(self, peaks: np.ndarray, power: float) -> tuple[np.ndarray, str]:
        """The gain of each stem ``(stems, 1)``, and what the files are, in words."""
        output, peak = self.output, float(peaks.max())
        kind, depth, common = output.kind, output.depth, output.clip_mode == "common"
        note = f"{depth} bit" if depth else f"{kind}, {output.bitrate} kb/s"
        note = "32-bit float" if depth == FLOAT else note
        gains, floats = np.ones(len(peaks)), ""
        noise = len(self.names) * 4.0**-depth / 3  # (2 / 2**depth)**2 / 12
        clean = 10 * math.log10(power / noise) if power else math.inf
        if kind == "wav" and common and depth < FLOAT and peak > 1:
            floats = f"a stem peaks at {peak:.2f}"
        elif kind == "wav" and depth == 24 and clean < CLEAN:
            floats = f"so quiet, 24 bits would keep {clean - 3:.0f} dB"
        elif common and depth < FLOAT and peak > 1:
            gains /= peak
            level = -20 * math.log10(peak)
            note += f", all stems {level:.2f} dB: one peaked at {peak:.2f}"
        if output.clip_mode == "rescale":
            gains /= np.maximum(1.01 * peaks, 1)
        if floats:
            self.output = dataclasses.replace(output, depth=FLOAT)
            note = f"32-bit float: {floats}"
        if self.rate != self.sample_rate:
            note += f", {self.rate} Hz"
        return gains.astype(np.float32)[:, None], note

    def _measure(self, blocks: Iterator[np.ndarray]) -> tuple[np.ndarray, float]:
        """The peak of each stem, and the mean of the sum of their squares."""
        peaks, power, count = np.zeros(len(self.names)), 0.0, 0
        for block in blocks:
            high = np.abs(block).max((0, 2))
            if not np.isfinite(high).all():
                name = self.names[int(np.argmin(np.isfinite(high)))]
                raise OverflowError(
                    f"the stem {name!r} has samples beyond 32-bit floats: turn the "
                    "recording down first"
                )
            peaks = np.maximum(peaks, high)
            power += float(np.square(block, dtype=np.float64).sum())
            count += block[:, 0].size
        return peaks, power / max(count, 1)

    def _blocks(
        self, stems: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[np.ndarray]:
        shape = -1, self.raw, self.width
        with (self.part / RAW).open("rb") as file:
            while len(wave := np.fromfile(file, "f4", BLOCK * self.raw * self.width)):
                yield stems(wave.reshape(shape))

    def _write(self, blocks: Iterator[np.ndarray]) -> dict[Path, Path]:
        """Write all files side by side; return where each shall go."""
        first, kind = next(blocks), self.output.kind
        # The sizes in a WAV header have 32 bits.
        size = self.frames * first.shape[-1] * self.output.depth // 8
        large = kind == "wav" and size > 2**32 - 2**12
        form = self.output, self.rate, first.shape[-1], self.comment, large
        blocks = itertools.chain([first], blocks)
        blocks = resample_blocks(blocks, self.sample_rate, self.rate)
        files = {}
        for number, name in enumerate(self.names):
            files[self.part / f"{number}.{kind}"] = self.place.path(name, kind)
        with contextlib.ExitStack() as stack:
            opened = (encoder(path, *form) for path in files)
            writers = [stack.enter_context(each) for each in opened]
            pool = stack.enter_context(futures.ThreadPoolExecutor(len(writers)))
            for block in blocks:
                each = (block[:, number] for number in range(len(writers)))
                collections.deque(pool.map(lambda w, wave: w(wave), writers, each), 0)
        (self.part / RAW).unlink()
        frames = max(scale_frames(self.frames, self.sample_rate, self.rate), 1)
        for part, path in files.items():
            with contextlib.suppress(DataError):
                if open_part(part).frames == frames:
                    continue
            raise OSError(f"{path}: only a part was stored")
        return files

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        import soundfile

        try:
            yield
        except (OSError, AssertionError, soundfile.LibsndfileError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "cannot write"
            if isinstance(error, BlockingIOError | FileExistsError | IsADirectoryError):
                raise OSError(f"{self.place}: no stem is written: {error}") from error
            # libsndfile has no word for a full disk, so the free space is told, too.
            free = shutil.disk_usage(self.place.folder).free
            raise OSError(
                f"{self.place}: the stems could not be written ({reason}; "
                f"{free / 1e6:.1f} MB free there): make room or give another folder "
                "with -o"
            ) from error
