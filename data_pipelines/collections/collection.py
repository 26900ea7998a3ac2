"""A collection: the recordings one has, and how songs with stems are made of them.

``docs/prepare.md`` explains every field; ``sepjax prepare`` makes the songs.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sepjax.storage import text_sha256

VERSION = 1


@dataclass(frozen=True)
class Part:
    """A file of audio within a recording."""

    path: str  # relative to the collection's root, or absolute
    label: str = ""  # what plays, in the words of whoever recorded it
    channels: str = "keep"  # keep | mean | left | right
    gain_db: float = 0.0
    start: float = 0.0  # seconds of the recording at which the file begins
    stream: int = 0  # which audio stream of a container, as MUSDB18's .stem.mp4


@dataclass(frozen=True)
class Interval:
    """A song within a recording."""

    name: str
    start: float = 0.0  # seconds
    end: float | None = None  # seconds; to the end


@dataclass(frozen=True)
class Recording:
    """Tracks that were recorded together: a song, or a concert of several."""

    id: str  # unique; the name of the song, or of the songs' folder
    tracks: tuple[Part, ...]
    group: str = ""  # artist, album, concert; itself where empty
    split: str = ""  # train | valid | test; empty: the collection's splits say
    tags: Mapping[str, Any] = field(default_factory=dict)
    sample_rate: int = 0  # Hz, declared: files must have it; 0: whatever they have
    mixture: Part | None = None  # a distributed mixture; computed where there is none
    intervals: tuple[Interval, ...] = ()  # all of it where there are none


@dataclass(frozen=True)
class MixRules:
    """How tracks become the stems of classes and their mixture (``mixing.py``)."""

    mode: str = "adaptive"  # summing | averaging | scaling | adaptive
    beta: str = "when_needed"  # scaling, adaptive: when_needed | always | never
    guard: str = "total"  # adaptive: peak of the mixture, or of all stems as well
    dtype: str = "int16"  # what is summed: int16 | float32


@dataclass(frozen=True)
class Filters:
    """The conditions that a song must meet to be kept."""

    require_classes: Any = ()  # "all", or a list of classes that must be active
    min_active_seconds: float = 5.0  # what counts as active, in all
    active_dbfs: float = -60.0  # peak of a tenth of a second that counts as active
    exclude: tuple[str, ...] = ()  # ids, or id/name of intervals
    apply: str = "before_split"  # before_split | after_split
    where: Mapping[str, Any] = field(default_factory=dict)  # tag -> value, or values
    songs: int = 0  # recordings to draw of those; 0: all
    balance: tuple[str, ...] = ()  # tags over whose values they are drawn evenly


@dataclass(frozen=True)
class SplitRules:
    """How songs without a split of their own are split."""

    seed: int = 42
    by: str = "song"  # song | group: groups are never divided
    stratify: str = ""  # a tag whose values every split gets its share of
    counts: Mapping[str, int] = field(default_factory=dict)  # songs; -1: all others
    keep: Mapping[str, int] = field(default_factory=dict)  # of what is left after all


@dataclass(frozen=True)
class Output:
    """Format of the files that are written."""

    layout: str = "musdb"  # <split>/<song>/{mixture,<class>}.wav
    rate: int = 44100  # Hz
    subtype: str = "PCM_16"  # PCM_16 | PCM_24
    channels: int = 0  # of every file; 0: as the widest track of the song


@dataclass(frozen=True)
class Collection:
    """Recordings, the classes they are sorted into, and the rules of preparation."""

    classes: tuple[str, ...]
    recordings: tuple[Recording, ...]
    name: str = "collection"
    version: int = VERSION
    root: str = "."  # what paths are relative to; read: relative to the file itself
    label_map: Mapping[str, str] = field(default_factory=dict)  # label -> class
    default_class: str = ""  # of labels that are in no map; empty: an error
    mix: MixRules = MixRules()
    filters: Filters = Filters()
    splits: SplitRules = SplitRules()
    output: Output = Output()

    def class_of(self, label: str) -> str:
        """Return the class of a label, "" for a label without a class.

        Example:
            >>> found = Collection(("wind",), (), label_map={"brass": "wind"})
            >>> found.class_of("brass"), found.class_of("wind"), found.class_of("oboe")
            ('wind', 'wind', '')
        """
        own = label if label in self.classes else self.default_class
        return self.label_map.get(label, own)

    @property
    def required(self) -> tuple[str, ...]:
        """Classes without which a song is dropped."""
        wanted = self.filters.require_classes
        return self.classes if wanted == "all" else tuple(wanted)

    def path(self, part: Part) -> Path:
        """The path of a file."""
        return Path(self.root, part.path).expanduser()

    def digest(self) -> str:
        """SHA-256 of everything but the place of the files."""
        tree = to_tree(self) | {"root": ""}
        return text_sha256(json.dumps(tree, sort_keys=True))


def song_names(recording: Recording) -> list[str]:
    """Name the songs of a recording, as their folders are called.

    Example:
        >>> song_names(Recording("tour/night", (), intervals=(Interval("one"),)))
        ['tour - night - one']
    """
    whole = recording.id.replace("/", " - ")
    names = [f"{whole} - {interval.name}" for interval in recording.intervals]
    return names or [whole]


def to_tree(value: Any) -> Any:
    """Return plain lists and dictionaries, without fields at their defaults.

    Example:
        >>> to_tree(Part("a.wav", "vocals", start=1.5))
        {'path': 'a.wav', 'label': 'vocals', 'start': 1.5}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        tree = {}
        for field_ in dataclasses.fields(value):
            each, default = getattr(value, field_.name), field_.default
            if field_.default_factory is not dataclasses.MISSING:
                default = field_.default_factory()
            if field_.name == "version" or each != default:
                tree[field_.name] = to_tree(each)
        return tree
    if isinstance(value, Mapping):
        return {key: to_tree(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [to_tree(each) for each in value]
    return value
