"""The demo music shipped with the package: songs assembled from looping takes.

Eight sessions, each one key, tempo and progression of four bars; six classes of two or
three takes each (``takes/takes.json``; rendered by ``tools/build_demo.py``, licences in
``NOTICE``). A song is a session, for each class one of its takes or silence, the bar it
starts in, gains and pans: thousands of distinct, coherent songs whose mixture is
exactly the sum of their stems. Training songs are also played at other speeds, as a
tape would be: key and formants go with the tempo. Validation and test songs come from
sessions of their own, with instruments and a register of the voice that no training
song has.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_pipelines.manifest import SPLITS, AudioFile, Manifest, Stem, Track
from data_pipelines.registry import register
from sepjax.registry import nearest

CLASSES = ("vocals", "drums", "bass", "electric_guitar", "wind", "other")
SAMPLE_RATE = 16000
SONGS = {"train": 4096, "valid": 8, "test": 12}
SILENCE = 0.15  # probability that a class is absent
SECONDS = (24.0, 32.0)  # length of a song, a whole number of bars
GAIN = 3.0  # dB, either way
SPEEDS = (0, -2, 2)  # semitones by which the tape of a training song runs fast
HEADROOM = 0.4  # of every stem, so that mixtures stay below full scale
WIDTH = (0.15, 0.15, 0.1, 0.6, 0.6, 0.5)  # farthest pan of a class, 1: fully left
TAKES = Path(__file__).parent / "takes"
_OWN, _EACH = 6, 4  # random numbers of a song, and of each of its classes


@register("demo")
def build_manifest(
    root: str,
    sources: Sequence[str],
    *,
    songs: Mapping[str, int] = SONGS,
    seed: int = 0,
) -> Manifest:
    """Compose the songs of the demo, each a function of (seed, split, index) alone.

    Args:
        root: must be empty, the takes lie in the package.
        sources: classes to separate, some of :data:`CLASSES`; the others do not sound.
        songs: number of songs per split.
        seed: other seeds give other songs.

    Raises:
        ValueError: ``root`` is not empty, or a class or split is not known.

    Example:
        >>> manifest = build_manifest("", ("drums", "vocals"), songs={"test": 2})
        >>> [(track.name, track.group) for track in manifest.tracks]
        [('test-0000', 'session7'), ('test-0001', 'session7')]
    """
    if root:
        raise ValueError(
            f"data.root={root!r}: the demo music lies in the package and takes no"
            " folder; leave root empty, or set data.dataset='folder'"
        )
    for names, known in ((sources, CLASSES), (songs, SPLITS)):
        for name in names:
            if name not in known:
                raise ValueError(f"demo has no '{name}': {nearest(name, known)}")
    every = json.loads((TAKES / "takes.json").read_text())
    takes = [take for take in every if take["class"] in sources]
    tracks = [
        track
        for split in SPLITS
        for track in _songs(split, songs.get(split, 0), takes, tuple(sources), seed)
    ]
    # Takes at their own speed, then those for training at each other speed: a tape that
    # runs fast is one that was recorded at a higher rate than it was.
    files = tuple(
        AudioFile(take["path"], take["frames"], 1, _rate(semitones))
        for semitones in SPEEDS
        for take in (_trained(takes) if semitones else takes)
    )
    return Manifest(
        name="demo",
        root=str(TAKES),
        sample_rate=max(file.sample_rate for file in files),
        channels=2,
        classes=tuple(sources),
        files=files,
        tracks=tuple(tracks),
    )


def _rate(semitones: float) -> int:
    return round(SAMPLE_RATE * 2 ** (semitones / 12))


def _trained(takes: list[dict]) -> list[dict]:
    return [take for take in takes if take["split"] == "train"]


def _songs(
    split: str, count: int, takes: list[dict], sources: tuple[str, ...], seed: int
) -> list[Track]:
    """``count`` songs; the first ones do not depend on how many there are."""
    philox = np.random.Philox(key=[seed, SPLITS.index(split)])
    draws = np.random.Generator(philox).random((count, _OWN + _EACH * len(CLASSES)))
    # Columns of `each`: take, presence, gain and pan of every class.
    each = draws[:, _OWN:].reshape(count, len(CLASSES), _EACH)
    gains = _stereo_gains(each[..., 2], each[..., 3]).tolist()
    rows = zip(draws[:, :_OWN].tolist(), each.tolist(), gains)
    shelves = _shelves(split, takes)
    sessions = sorted(shelves)
    tracks = []
    for index, (own, of_class, gains_of_class) in enumerate(rows):
        session_draw, length_draw, bar_draw, drum_draw, wake_draw, speed = own
        speed = int(speed * len(SPEEDS)) if split == "train" else 0
        # takes.json lists the takes for training first.
        first_file = len(takes) + (speed - 1) * len(_trained(takes)) if speed else 0
        session = _pick(sessions, session_draw)
        shelf = shelves[session]
        frames, bars = takes[next(iter(shelf.values()))[0]]["frames"], 4
        present = [c for c in sources if of_class[CLASSES.index(c)][1] >= SILENCE]
        stems = {}
        for name in present or [_pick(sources, wake_draw)]:
            column = CLASSES.index(name)
            # Drums know no harmony: they may start in another bar than the others.
            bar = int(bars * (drum_draw if name == "drums" else bar_draw))
            file = first_file + _pick(shelf[name], of_class[column][0])
            start, pan = bar * frames // bars, tuple(gains_of_class[column])
            stems[name] = Stem(file, start, True, pan)
        length = _length(frames // bars, _rate(SPEEDS[speed]), length_draw)
        name = f"{split}-{index:04d}"
        tracks.append(Track(name, split, f"session{session}", length, stems))
    return tracks


def _pick(items: Sequence, draw: float):
    return items[int(draw * len(items))]


def _length(bar_frames: int, sample_rate: int, draw: float) -> int:
    """Frames of a song: a whole number of bars within :data:`SECONDS`."""
    shortest = math.ceil(SECONDS[0] * sample_rate / bar_frames)
    longest = math.floor(SECONDS[1] * sample_rate / bar_frames)
    return bar_frames * (shortest + int(draw * (longest - shortest + 1)))


def _shelves(split: str, takes: list[dict]) -> dict[int, dict[str, list[int]]]:
    """Session -> class -> indices of its takes, for the sessions of a split."""
    shelves: dict[int, dict[str, list[int]]] = {}
    for index, take in enumerate(takes):
        if take["split"] == split:
            shelf = shelves.setdefault(take["session"], {})
            shelf.setdefault(take["class"], []).append(index)
    return shelves


def _stereo_gains(gain_draw: np.ndarray, pan_draw: np.ndarray) -> np.ndarray:
    """Left and right gains of equal power; in the middle both are the plain gain."""
    gain = HEADROOM * 10 ** ((2 * gain_draw - 1) * GAIN / 20)
    angle = (1 + (2 * pan_draw - 1) * np.array(WIDTH)) * np.pi / 4
    stereo = np.sqrt(2) * gain[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return stereo.round(6)  # a figure that every platform prints alike
