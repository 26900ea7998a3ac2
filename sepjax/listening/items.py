"""Which excerpts listeners hear: where all systems sound, the worst to the best."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.doctor.loudness import LoudnessMeter
from sepjax.evaluation.excerpts import sounding_places
from sepjax.evaluation.whole_track import si_sdr
from sepjax.listening.songs import Reader, Song

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds of an excerpt: the least to be looped (BS.1534-3, 5.3), and no whole song."""
SAME = 10.0  # dB of SI-SDR between references of two runs; other music has -30 dB
RANKED_BY = "the mean SI-SDR of all systems over the excerpt"


class Item(NamedTuple):
    """An excerpt of one class of a song."""

    song: str
    class_: str
    start: float  # seconds into the song
    seconds: float
    rate: int  # Hz
    scores: tuple[float, ...]  # SI-SDR of every system over the excerpt, dB
    read: Callable[[], np.ndarray]  # (1 + systems, time, channels), the reference first
    rank: str = ""  # among all excerpts of the class


def loudness(wave: np.ndarray, rate: int) -> float:
    """Return the integrated loudness of a wave (time, channels), in LUFS.

    That of ITU-R BS.1770-4 by :class:`data_pipelines.doctor.loudness.LoudnessMeter`;
    -inf where nothing reaches -70 LUFS for 0.4 s.

    Example:
        >>> tone = 0.1 * np.sin(2 * np.pi * 997 / 48000 * np.arange(48000))
        >>> print(f"{loudness(tone[:, None], 48000):.1f}")
        -23.0
    """
    meter = LoudnessMeter(rate, wave.shape[1])
    meter.add(wave)
    return meter.loudness()


def find_items(
    songs: Mapping[Song, Sequence[Reader]], systems: Sequence[str], seconds: float
) -> tuple[list[Item], list[str]]:
    """Find the excerpt of every class of every song, and score the systems there.

    It is the piece of so many seconds in which reference and estimates have the highest
    mean level in dB (:func:`sepjax.evaluation.excerpts.sounding_places`).

    Args:
        songs: of :func:`sepjax.listening.songs.shared_songs`.
        systems: names, in the order of the readers.
        seconds: of an excerpt; a shorter song is heard whole.

    Returns:
        The items, and remarks on what is left out: references that are silent.

    Raises:
        ValueError: files that do not belong together, an estimate that is silent where
            its reference sounds, or nothing is left.
    """
    if not SHORTEST <= seconds <= LONGEST:
        text = f"--seconds {seconds:g}: excerpts have {SHORTEST:g} to {LONGEST:g} s"
        raise ValueError(text)
    items, remarks = [], []
    for (song, begin), readers in songs.items():
        rate, waves = _waves_of(song, readers, systems)
        for class_, wave in waves.items():
            length = min(round(seconds * rate), wave.shape[1])
            if length < SHORTEST * rate:
                raise ValueError(f"song {song!r} lasts less than {SHORTEST:g} s")
            ((place, _),) = sounding_places(wave, length, 1)
            piece = wave[:, place : place + length]
            if loudness(piece[0], rate) == -math.inf:
                remarks.append(f"song {song!r}: {class_} is silent: left out")
                continue
            _require_sound(song, class_, systems, piece[1:], rate)
            scores = si_sdr(np.broadcast_to(piece[:1], piece[1:].shape), piece[1:])
            cut = functools.partial(_cut, song, readers, systems, class_, place, length)
            facts = begin + place / rate, length / rate, rate, tuple(scores.tolist())
            items.append(Item(song, class_, *facts, cut))
    if not items:
        raise ValueError("no excerpt in which a class sounds: " + "; ".join(remarks))
    return items, remarks


def _cut(
    song: str,
    readers: Sequence[Reader],
    systems: Sequence[str],
    class_: str,
    place: int,
    length: int,
) -> np.ndarray:
    """Read a piece again: all pieces of a data set would not fit into memory."""
    return _waves_of(song, readers, systems)[1][class_][:, place : place + length]


def _waves_of(
    song: str, readers: Sequence[Reader], systems: Sequence[str]
) -> tuple[int, dict[str, np.ndarray]]:
    """Sample rate, and class -> reference and estimates of all systems, stacked."""
    stems, waves = [read() for read in readers], {}
    for class_, truth in stems[0].references.items():
        if not all(
            class_ in one.references and class_ in one.estimates for one in stems
        ):
            continue
        for name, one in zip(systems, stems):
            other, first = one.references[class_], systems[0]
            same = one.rate == stems[0].rate and truth.shape == other.shape
            if not same or one.estimates[class_].shape != truth.shape:
                raise ValueError(
                    f"song {song!r}, {class_}: {first} and {name} differ in length, "
                    "sample rate or channels: separate the same files with both"
                )
            if (other != truth).any() and not si_sdr(truth, other) > SAME:
                raise ValueError(
                    f"song {song!r}, {class_}: {first} and {name} have other "
                    "references: they separated different music under this name"
                )
        if truth.shape[1] > 2:
            raise ValueError(
                f"song {song!r}, {class_}: {truth.shape[1]} channels, and listeners "
                "have two ears: mix the files down to stereo"
            )
        waves[class_] = np.stack([truth, *(one.estimates[class_] for one in stems)])
    if not waves:
        raise ValueError(f"song {song!r}: the systems share no class: leave it out")
    return stems[0].rate, waves


def _require_sound(
    song: str, class_: str, systems: Sequence[str], pieces: np.ndarray, rate: int
) -> None:
    for name, piece in zip(systems, pieces):
        if loudness(piece, rate) == -math.inf:
            raise ValueError(
                f"song {song!r}, {class_}: the estimate of {name} is silent where its "
                "reference sounds, and cannot be brought to its loudness: leave the "
                "song, the class (--classes) or the system out"
            )


def choose(items: Sequence[Item], count: int) -> list[Item]:
    """Choose excerpts of every class: of the lowest rank, the highest, and between.

    They are ranked by :data:`RANKED_BY`, and ranks evenly spread: of three the second
    is the median; of one, it alone.

    Args:
        items: of any classes.
        count: excerpts of each class, at least 1; all where there are no more.

    Example:
        >>> facts = "bass", 0.0, 9.0, 8000
        >>> songs = [Item(s, *facts, (float(s), 0.0), None) for s in "52341"]
        >>> [(item.song, item.rank) for item in choose(songs, 3)]
        [('1', 'lowest of 5'), ('3', 'median of 5'), ('5', 'highest of 5')]
    """
    chosen = []
    for class_ in dict.fromkeys(item.class_ for item in items):
        own = [item for item in items if item.class_ == class_]
        own.sort(key=lambda item: float(np.mean(item.scores)))
        last = len(own) - 1
        ranks = np.linspace(0, last, min(count, len(own))) if count > 1 else [last / 2]
        words = {last // 2: "median", last: "highest", 0: "lowest" if last else "only"}
        for rank in np.unique(np.floor(np.add(ranks, 1e-9)).astype(int)).tolist():
            text = f"{words.get(rank, f'number {rank + 1}')} of {len(own)}"
            chosen.append(own[rank]._replace(rank=text))
    return chosen
