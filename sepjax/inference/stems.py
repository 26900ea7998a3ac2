"""Stems as files: all of a track or none, and nothing clipped."""

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sepjax.storage import move

BLOCK = 1 << 16  # samples read back at once


class StemFiles:
    """Stems that are written block by block: all stems of a track, or none.

    The stems' peak is known only at the end. Until then their samples lie in
    ``<folder>.part``, as 32-bit floats without a header, which is deleted when the
    ``with`` block ends. Without :meth:`write` no stem is left either.

    Args:
        folder: of the track, created where needed; older stems in it are replaced.
        sources: their names.
        sample_rate: Hz.
        kind: "wav" (16 bit), "flac" (16 bit) or "float32" (WAV).

    Raises:
        OSError: the stems could not be written, for instance to a full disk.
    """

    def __init__(
        self, folder: Path, sources: Sequence[str], sample_rate: int, kind: str
    ) -> None:
        self.folder, self.sources = folder, list(sources)
        self.sample_rate, self.kind = sample_rate, kind
        self.part = folder.with_name(folder.name + ".part")
        self.channels = 1

    def __enter__(self) -> "StemFiles":
        with self._disk():
            shutil.rmtree(self.part, ignore_errors=True)
            self.part.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.part, ignore_errors=True)

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
        that they still sum to the mixture up to that gain.

        Args:
            stem: makes the samples ``(time, channels)`` of a stem, given some that were
                appended, and which source they are of.

        Returns:
            A note on what was done about the level, or an empty string.
        """
        with self._disk():
            peak = max(
                float(abs(block).max())
                for number in range(len(self.sources))
                for block in self._blocks(number, stem)
            )
            note, gain, kind = "", 1.0, self.kind
            if peak > 1 and kind == "wav":
                kind, note = "float32", f" (32-bit float: a stem peaks at {peak:.2f})"
            elif peak > 1 and kind == "flac":
                gain, level = 1 / peak, -20 * math.log10(peak)
                note = f" (all stems {level:.2f} dB: one peaked at {peak:.2f})"
            for number, source in enumerate(self.sources):
                blocks = (gain * block for block in self._blocks(number, stem))
                size = self._raw(source).stat().st_size
                _write(self.part / source, blocks, self.sample_rate, kind, size)
                self._raw(source).unlink()
            self._name_files()
        return note

    def _blocks(self, number: int, stem: Callable[[Any, int], Any]) -> Iterator[Any]:
        import numpy as np

        with self._raw(self.sources[number]).open("rb") as file:
            while len(wave := np.fromfile(file, np.float32, BLOCK * self.channels)):
                yield stem(wave.reshape(-1, self.channels), number)

    def _name_files(self) -> None:
        for file in self.part.iterdir():
            other = {".wav": ".flac", ".flac": ".wav"}[file.suffix]
            (self.folder / file.name).with_suffix(other).unlink(missing_ok=True)
            move(file, self.folder / file.name)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        import soundfile

        try:
            yield
        except (OSError, AssertionError, soundfile.LibsndfileError) as error:
            # libsndfile has no word for a full disk, so the free space is told, too.
            free = shutil.disk_usage(self.folder.parent).free
            reason = getattr(error, "strerror", None) or str(error) or "cannot write"
            raise OSError(
                f"{self.folder}: the stems could not be written ({reason}; "
                f"{free / 1e6:.1f} MB free there): make room or give another folder "
                "with -o"
            ) from error

    def _raw(self, source: str) -> Path:
        return self.part / f"{source}.raw"


def _write(
    path: Path, blocks: Iterator[Any], sample_rate: int, kind: str, size: int
) -> None:
    """Write a file of blocks; size: bytes they have at most as 32-bit floats."""
    import soundfile

    from data_pipelines.audio.int16 import to_int16

    if kind == "float32":
        # The sizes in a WAV header have 32 bits; RF64 is its successor.
        container, subtype, suffix = "WAV", "FLOAT", "wav"
    else:
        container, subtype, suffix = kind.upper(), "PCM_16", kind
    if container == "WAV" and size * (1 if subtype == "FLOAT" else 0.5) > 2**32 - 2**12:
        container = "RF64"
    path, done = path.with_name(f"{path.name}.{suffix}"), 0
    first = next(blocks)
    options = dict(format=container, subtype=subtype)
    with soundfile.SoundFile(path, "w", sample_rate, first.shape[-1], **options) as out:
        block: Any = first
        while block is not None:
            out.write(block if kind == "float32" else to_int16(block)[0])
            done, block = done + len(block), next(blocks, None)
    if soundfile.info(path).frames != done:
        raise OSError(f"{path}: only a part was stored")
