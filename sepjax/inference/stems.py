"""Stems as files: all of a track or none, and nothing clipped."""

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sepjax.storage import move_all, scratch_folder, text_sha256

BLOCK = 1 << 16  # samples read back at once
SUFFIXES = (".wav", ".flac")
FLOAT = 32
"""The depth in bits that means floats."""
CLEAN = 93.0  # dB between stems and the noise of their depth: 90, and their correlation


class StemFiles:
    """Stems that are written block by block: all stems of a track, or none.

    The stems' peak and level are known only at the end. Until then their samples lie in
    a hidden folder beside ``folder``, as 32-bit floats without a header, which is
    deleted when the ``with`` block ends. Without :meth:`write` no stem is left either.

    Args:
        folder: of the track, created where needed; its older stems of the same origin
            are replaced.
        sources: their names.
        sample_rate: Hz.
        kind: "wav" or "flac".
        depth: bits of a sample, 16, 24 or :data:`FLOAT` (WAV only).
        origin: file that the stems are of; see :func:`is_free`.

    Raises:
        OSError: the stems could not be written, for instance to a full disk; another
            process writes them; files are in the way that are no stems of the origin.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[str],
        sample_rate: int,
        kind: str = "wav",
        depth: int = 16,
        origin: Path | None = None,
    ) -> None:
        self.folder, self.sources, self.origin = folder, list(sources), origin
        self.sample_rate, self.kind, self.depth = sample_rate, kind, depth
        self.channels, self.scratch = 1, contextlib.ExitStack()

    def __enter__(self) -> "StemFiles":
        if not is_free(self.folder, self.sources, self.origin):
            raise FileExistsError(
                f"{self.folder} holds files with names of the stems that were not made "
                f"of {self.origin or 'this track'}: give another folder with -o"
            )
        with self._disk():
            self.part = self.scratch.enter_context(scratch_folder(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self.scratch.close()

    def append(self, block: Any) -> None:
        """Append ``(time, sources, channels)``."""
        import numpy as np

        self.channels = block.shape[-1]
        with self._disk():
            for source, wave in zip(self.sources, np.moveaxis(block, 1, 0)):
                with self._raw(source).open("ab") as file:
                    file.write(np.ascontiguousarray(wave, np.float32).data)

    def write(self, stem: Callable[[Any, int], Any] = lambda block, _: block) -> str:
        """Write the appended samples to files.

        Nothing is clipped. Where a stem exceeds full scale, all stems of the track
        become 32-bit float ("wav"), or are turned down by one common gain ("flac"), so
        that they still sum to the mixture up to that gain. WAV of 24 bits becomes float
        where the track is so quiet that rounding would be less than 90 dB below it.

        Args:
            stem: makes the samples ``(time, channels)`` of a stem, given some that were
                appended, and which source they are of.

        Returns:
            What the files are, in words.

        Raises:
            OverflowError: a sample of a stem is no finite float.
        """
        peak, power = self._measure(stem)
        note, gain = f"{self.depth} bit", 1.0
        noise = len(self.sources) * 4.0**-self.depth / 3  # (2 / 2**depth)**2 / 12
        if self.kind == "wav" and self.depth < FLOAT and peak > 1:
            self.depth, note = FLOAT, f"32-bit float: a stem peaks at {peak:.2f}"
        elif self.kind == "wav" and self.depth == 24 and 0 < power:
            if (clean := 10 * math.log10(power / noise)) < CLEAN:
                self.depth = FLOAT
                note = f"32-bit float: so quiet, 24 bits would keep {clean - 3:.0f} dB"
        elif peak > 1 and self.kind == "flac":
            gain, level = 1 / peak, -20 * math.log10(peak)
            note += f", all stems {level:.2f} dB: one peaked at {peak:.2f}"
        elif self.depth == FLOAT:
            note = "32-bit float"
        with self._disk():
            made = []
            for number, source in enumerate(self.sources):
                blocks = (gain * block for block in self._blocks(number, stem))
                made.append(self._write(self.part / f"{source}.{self.kind}", blocks))
                self._raw(source).unlink()
            targets = _targets(self.folder, self.sources)
            move_all(made, self.folder, [path for path in targets if path.is_file()])
        return note

    def _measure(self, stem: Callable[[Any, int], Any]) -> tuple[float, float]:
        """The peak of all stems, and the mean of the sum of their squares."""
        import numpy as np

        peak, power, count = 0.0, 0.0, 1
        for number, source in enumerate(self.sources):
            count = 0
            for block in self._blocks(number, stem):
                if not np.isfinite(block).all():
                    raise OverflowError(
                        f"the stem {source!r} has samples beyond 32-bit floats: turn "
                        "the recording down first"
                    )
                peak = max(peak, float(np.abs(block).max()))
                power += float(np.square(block, dtype=np.float64).sum())
                count += block.size
        return peak, power / max(count, 1)

    def _blocks(self, number: int, stem: Callable[[Any, int], Any]) -> Iterator[Any]:
        import numpy as np

        with self._raw(self.sources[number]).open("rb") as file:
            while len(wave := np.fromfile(file, np.float32, BLOCK * self.channels)):
                yield stem(wave.reshape(-1, self.channels), number)

    def _write(self, path: Path, blocks: Iterator[Any]) -> Path:
        """Write a file of blocks, with its origin in its comment."""
        import soundfile

        first, done = next(blocks), 0
        size = self._raw(path.stem).stat().st_size * self.depth // 32
        # The sizes in a WAV header have 32 bits; RF64 is its successor.
        large = self.kind == "wav" and size > 2**32 - 2**12
        container = "RF64" if large else self.kind.upper()
        subtype = "FLOAT" if self.depth == FLOAT else f"PCM_{self.depth}"
        channels, options = first.shape[-1], dict(format=container, subtype=subtype)
        with soundfile.SoundFile(
            os.fsencode(path), "w", self.sample_rate, channels, **options
        ) as out:
            out.software, out.comment = "sepjax", _mark(self.origin)
            block: Any = first
            while block is not None:
                out.write(_rounded(block, self.depth))
                done, block = done + len(block), next(blocks, None)
        if soundfile.info(os.fsencode(path)).frames != done:
            raise OSError(f"{path}: only a part was stored")
        return path

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        import soundfile

        try:
            yield
        except (OSError, AssertionError, soundfile.LibsndfileError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "cannot write"
            if isinstance(error, BlockingIOError | FileExistsError | IsADirectoryError):
                raise OSError(f"{self.folder}: no stem is written: {error}") from error
            # libsndfile has no word for a full disk, so the free space is told, too.
            free = shutil.disk_usage(self.folder.parent).free
            raise OSError(
                f"{self.folder}: the stems could not be written ({reason}; "
                f"{free / 1e6:.1f} MB free there): make room or give another folder "
                "with -o"
            ) from error

    def _raw(self, source: str) -> Path:
        return self.part / f"{source}.raw"


def is_free(folder: Path, sources: Sequence[str], origin: Path | None) -> bool:
    """Whether stems of a file can be written to a folder without harm to others.

    Files of their names there must be stems that sepjax has made of the same file,
    which says a digest of its path in the comment of each stem.
    """
    import soundfile

    if os.path.lexists(folder) and not folder.is_dir():
        return False
    for path in _targets(folder, sources):
        if not os.path.lexists(path):
            continue
        if path.is_symlink() or not path.is_file():  # a pipe would wait for a writer
            return False
        try:
            with soundfile.SoundFile(os.fsencode(path)) as file:
                known = file.software, file.comment
        except (OSError, soundfile.LibsndfileError):
            return False
        if not known[0].startswith("sepjax") or known[1] != _mark(origin):
            return False
    return True


def _targets(folder: Path, sources: Sequence[str]) -> list[Path]:
    """Files that stems may have; a format of theirs makes way for the other one."""
    return [folder / f"{source}{end}" for source in sources for end in SUFFIXES]


def _mark(origin: Path | None) -> str:
    text = "" if origin is None else text_sha256(ascii(str(origin.absolute())))[:16]
    return f"separated from {text or 'samples'}"


def _rounded(block: Any, depth: int) -> Any:
    """Samples as libsndfile takes them for a depth, left-aligned in 32 bits at 24."""
    from data_pipelines.audio.int16 import quantize, to_int16

    if depth == FLOAT:
        return block
    return to_int16(block)[0] if depth == 16 else quantize(block, depth) << 8
