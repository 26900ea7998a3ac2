"""The demo music as somebody's recordings, to try the readers of tables on.

``python -m data_pipelines.readers.demo_takes FOLDER`` writes ``FOLDER/karaoke`` and
``FOLDER/concerts``, each with its tables, and prints what can be done with them.
"""

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.readers.karaoke import COLUMNS
from data_pipelines.readers.montreux import COLUMNS as CONCERT_COLUMNS
from data_pipelines.readers.montreux import CROWDS, INTERVAL_COLUMNS
from data_pipelines.songs.demo import CLASSES, SAMPLE_RATE, TAKES

SESSIONS = range(8)
NAMES = ("lead vocals", "drums", "bass guitar", "lead guitar", "alto sax", "piano")
INSTRUMENTS = dict(zip(CLASSES, NAMES))  # a reader finds the class again
GAINS = {"drums": (0.8, 0.5), "piano": (0.3, 0.6, 0.4)}  # of each channel on stage
PAUSE = 1.0  # seconds between the songs of a concert
INCOMPLETE = 5  # every song, and concert, of this number lacks an instrument


def write_karaoke(folder: str | Path, sessions: Iterable[int] = SESSIONS) -> Path:
    """Write songs as a file per instrument, and ``tracks.csv``; return the folder.

    Every fifth song has no wind, as ``all_instruments`` is a choice then. The genre is
    what the drums play; the years are invented.

    Example:
        >>> import tempfile
        >>> from data_pipelines.readers import read_dataset
        >>> folder = str(write_karaoke(tempfile.mkdtemp(), sessions=[6, 7]))
        >>> len(read_dataset("karaoke", folder, train=2, valid=1).recordings)
        4
    """
    folder, rows = Path(folder), []
    known = json.loads((TAKES / "takes.json").read_text())
    styles = {take["path"]: take["style"] for take in known}
    for number, (session, takes) in enumerate(_songs(sessions), start=1):
        song = f"Song {number:02}"
        (folder / song).mkdir(parents=True, exist_ok=True)
        for name, path in takes.items():
            if name == "wind" and number % INCOMPLETE == 0:
                continue
            file = f"{song}/{INSTRUMENTS[name]}.flac"
            shutil.copy(path, folder / file)
            tags = f"session {session}", styles[takes["drums"].name], 1960 + 9 * session
            rows.append((song, file, INSTRUMENTS[name], *tags))
    _write(folder / "tracks.csv", (*COLUMNS, "group", "genre", "year"), rows)
    return folder


def write_concerts(folder: str | Path, sessions: Iterable[int] = SESSIONS) -> Path:
    """Write concerts as a file per instrument, and two tables; return the folder.

    A concert has two or three songs, an instrument one, two or three channels. Every
    fifth concert is played without bass, and left out by the reader.
    """
    import soundfile

    folder, rows, cuts = Path(folder), [], []
    pause = np.zeros(round(PAUSE * SAMPLE_RATE))
    for number, session in enumerate(sessions, start=1):
        concert, songs = f"concert{number}", [takes for _, takes in _songs([session])]
        (folder / concert).mkdir(parents=True, exist_ok=True)
        tags = (CROWDS[number % len(CROWDS)], str(2010 + number), "demo")
        for name, instrument in INSTRUMENTS.items():
            if name == "bass" and number % INCOMPLETE == 0:
                continue
            file = f"{concert}/{instrument}.flac"
            takes = [soundfile.read(song[name])[0] for song in songs]
            wave = np.concatenate([part for take in takes for part in (take, pause)])
            wave = wave[:, None] * np.array(GAINS.get(instrument, (0.5,)))
            soundfile.write(folder / file, wave, SAMPLE_RATE)
            rows.append((concert, file, instrument, *tags))
        length = soundfile.info(songs[0]["vocals"]).duration
        for index in range(len(songs)):
            start = round(index * (length + PAUSE), 3)
            cuts.append((concert, f"song{index + 1}", start, round(start + length, 3)))
    _write(folder / "tracks.csv", (*CONCERT_COLUMNS, "year", "genre"), rows)
    _write(folder / "intervals.csv", INTERVAL_COLUMNS, cuts)
    return folder


def _songs(sessions: Iterable[int]) -> Iterator[tuple[int, dict[str, Path]]]:
    """Session, and a take of each class; every take is in one song."""
    takes = json.loads((TAKES / "takes.json").read_text())
    for session in sessions:
        shelf: dict[str, list[Path]] = {name: [] for name in CLASSES}
        for take in takes:
            if take["session"] == session:
                shelf[take["class"]].append(TAKES / take["path"])
        for paths in zip(*shelf.values()):
            yield session, dict(zip(CLASSES, paths))


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def main(arguments: Sequence[str]) -> None:
    """Write both into a folder, and say what can be done with them."""
    folder = Path(*arguments)
    karaoke = write_karaoke(folder / "karaoke", SESSIONS)
    concerts = write_concerts(folder / "concerts", SESSIONS)
    print(f"sepjax prepare karaoke --root {karaoke} -s train=12 -s valid=4 -o songs")
    print(f"sepjax prepare montreux --root {concerts} -o live")


if __name__ == "__main__":
    main(sys.argv[1:])
