"""Songs in memory, such as simulated concerts, as a folder of songs."""

from collections.abc import Iterable
from pathlib import Path

from data_pipelines.audio.canonical import open_wav
from data_pipelines.audio.int16 import packed, to_int16
from data_pipelines.collections.rules import MIXTURE, UNFIT
from data_pipelines.manifest import DataError, LoadedTrack
from sepjax.storage import atomic_folder


def write_songs(tracks: Iterable[LoadedTrack], folder: Path) -> Path:
    """Write ``folder/<song>/{mixture,<class>}.wav`` in 16 bits; return the folder.

    The dataset ``folder`` reads it, below a folder of a split; silence has files, too.

    Raises:
        DataError: the folder exists, or the name of a song cannot be that of a folder.
    """
    if folder.exists():
        raise DataError(f"{folder} exists: name another folder")
    with atomic_folder(folder) as part:
        for track in tracks:
            if UNFIT.search(track.name):
                raise DataError(f"song {track.name!r} cannot be the name of a folder")
            write_song(track, part / track.name)
    return folder


def write_song(track: LoadedTrack, folder: Path, *, mixture: bool = True) -> None:
    """Write ``folder/{mixture,<class>}.wav``, or the classes alone, all or nothing."""
    waves = {MIXTURE: track.mixture} if mixture else {}
    waves |= dict(zip(track.classes, track.references))
    with atomic_folder(folder) as part:
        for name, wave in waves.items():
            path, channels = part / f"{name}.wav", wave.shape[1]
            with open_wav(path, channels, track.sample_rate) as file:
                file.writeframes(packed(to_int16(wave)[0], 2))
