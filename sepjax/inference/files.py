"""Files of recordings to files of stems: names of folders, depth, notes."""

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_pipelines.audio.files import bit_depth, read_blocks
from data_pipelines.manifest import AudioFile
from data_pipelines.songs.layouts import MIXTURES
from sepjax.inference.chunks import Chunking
from sepjax.inference.stems import StemFiles, is_free
from sepjax.inference.stream import SeparationStream
from sepjax.models.contract import SeparationModel, Variables


def separate_file(
    model: SeparationModel,
    variables: Variables,
    file: AudioFile,
    folder: Path,
    path: Path,
    *,
    chunking: Chunking,
    kind: str = "wav",
    depth: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Write the stems of a file, all or none; return what they are, in words.

    Args:
        model: see :func:`sepjax.separate`.
        variables: its parameters.
        file: as :func:`data_pipelines.audio.files.probe` found it.
        folder: for the stems.
        path: of the recording, which ``file`` may be a copy of.
        chunking: how the track is cut, levelled and fitted.
        kind: "wav" or "flac".
        depth: bits of a sample, 16, 24, or 32 for float; 0: as the file.
        say: told what is being done, and what the model cannot hear of the file.

    Raises:
        OSError: the stems do not fit on the disk, or cannot be written.
        ValueError: the file cannot be read to its end.
    """
    channels = max(file.channels, model.audio_channels)
    depth = depth or bit_depth(file)
    depth = min(depth, 24) if kind == "flac" else depth
    # Until the last block is separated all stems are 32-bit floats; then one file
    # after the other is made of them.
    size = (4 * len(model.sources) + depth // 8) * file.frames * channels
    if size > (free := shutil.disk_usage(folder.parent).free):
        raise OSError(
            f"{path}: its stems take {size / 1e6:.1f} MB until they are finished, but "
            f"only {free / 1e6:.1f} MB are free in {folder.parent}"
        )
    _announce(model, file, path, say)
    stream = SeparationStream(
        model,
        variables,
        lambda: read_blocks(file),
        sample_rate=file.sample_rate,
        progress=True,
        chunking=chunking,
    )
    format = file.sample_rate, kind, depth
    with StemFiles(folder, model.sources, *format, path) as files:
        for block in stream:
            files.append(block)
        return files.write(stream.stem)


def _announce(
    model: SeparationModel, file: AudioFile, path: Path, say: Callable[[str], None]
) -> None:
    """Tell what the model cannot hear, and how long the file is."""
    if file.sample_rate > model.sample_rate:
        say(
            f"{path}: the model hears up to {model.sample_rate / 2000:g} kHz; what is "
            f"above, up to {file.sample_rate / 2000:g} kHz, is in no stem"
        )
    say(f"separating {path} ({file.frames / file.sample_rate:.1f} s)")


def free_folders(
    output: Path, files: Sequence[Path], sources: Sequence[str]
) -> Iterator[tuple[Path, Path]]:
    """Yield each file and the folder in ``output`` that its stems may have.

    It has the shortest of the file's names (:func:`names_of`) that no other file has,
    and under which there are no files that were made of something else.
    """
    taken: set[str] = set()
    for path, names in names_of(files).items():
        folders = (output / name for name in names if name.casefold() not in taken)
        folder = next(each for each in folders if is_free(each, sources, path))
        taken.add(folder.name.casefold())
        yield path, folder


def names_of(files: Sequence[Path]) -> dict[Path, Iterator[str]]:
    """Yield names for each file's stems, from the shortest that no other file has on.

    The first is the song's own name: of its folder, for a file called mixture. Each
    following one is a folder deeper.

    Example:
        >>> names = names_of([Path("/a/CD/01.wav"), Path("/b/CD/01.wav")])
        >>> [next(each) for each in names.values()]
        ['a - CD - 01', 'b - CD - 01']
        >>> names = names_of([Path("/a/1.wav"), Path("/a/1.flac"), Path("/b/mix.wav")])
        >>> [next(each) for each in names.values()]
        ['1.wav', '1.flac', 'b']
    """
    lists = {path: _names(path) for path in files}
    ranks = itertools.zip_longest(*lists.values())
    counts = [Counter(str(name).casefold() for name in rank) for rank in ranks]

    def own(names: list[str]) -> Iterator[str]:
        for name, count in zip(names, counts):
            if count[name.casefold()] == 1:
                yield name
        for number in itertools.count(2):
            yield _shortened(f"{names[-1]} ({number})")

    return {path: own(names) for path, names in lists.items()}


def _names(path: Path) -> list[str]:
    """The song's name, with its folders, and with what the file is called."""
    folders = [part for part in path.absolute().parts[1:-1] if part != ".."]
    named = path.stem.lower() in MIXTURES and folders
    stem = "stdin" if str(path) == "-" else path.stem
    own = stem if stem.strip(".") else "track"
    parts = folders if named else [*folders, own]
    names = [" - ".join(parts[-depth:]) for depth in range(1, len(parts) + 1)]
    more = f" - {path.name}" if named else path.suffix
    return [_shortened(name) for name in (*names, names[0] + more)]


def _shortened(name: str) -> str:
    """The end of a name that is too long for a file system."""
    while len(os.fsencode(name)) > 255:
        name = name[1:]
    return name
