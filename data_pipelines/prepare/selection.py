"""Which of the songs are kept, and in which split."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines.collections.collection import Collection, Recording
from data_pipelines.manifest import SPLITS
from data_pipelines.prepare.recording import song_names
from data_pipelines.prepare.splits import Candidate, assign_splits, draw

DROPPED, FAILED = "dropped", "failed"


def excluded(collection: Collection, recording: Recording) -> str:
    """Say why a recording need not be read; "" if it must be.

    Example:
        >>> from data_pipelines.collections.collection import Filters, Part
        >>> mine = Collection(("a", "b"), (), filters=Filters(require_classes="all"))
        >>> excluded(mine, Recording("x", (Part("x.wav", "a"),)))
        'has no track of b'
    """
    if recording.id in collection.filters.exclude:
        return "excluded by name"
    labels = {collection.class_of(part.label) for part in recording.tracks}
    missing = [name for name in collection.required if name not in labels]
    return f"has no track of {', '.join(missing)}" if missing else ""


def select(
    collection: Collection, songs: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the records with ``split``, and ``reason`` where that is "dropped".

    Dropped songs take part in the draw where filters apply after the split; failed
    songs always do, so that mending a song moves no other song.
    """
    reasons = {song["song"]: _reason(collection, song) for song in songs}
    before = collection.filters.apply == "before_split"
    drawn = [
        song
        for song in songs
        if song.get("failed") or not (before and reasons[song["song"]])
    ]
    splits = assign_splits(list(_candidates(collection, drawn)), collection.splits)
    kept: dict[str, list[str]] = defaultdict(list)
    for name in sorted(splits, key=lambda name: draw(collection.splits.seed, name)):
        split = splits[name]
        room = collection.splits.keep.get(split, -1)
        if not reasons[name] and 0 <= room <= len(kept[split]):
            reasons[name] = f"{split} is limited to {room} songs"
        if not reasons[name]:
            kept[split].append(name)
    placed = [
        song | {"split": splits.get(song["song"], DROPPED), "reason": ""}
        for song in songs
    ]
    for song in placed:
        if reason := reasons[song["song"]]:
            split = FAILED if song.pop("failed", False) else DROPPED
            song |= {"split": split, "reason": reason}
    return placed


def _candidates(
    collection: Collection, songs: Sequence[dict[str, Any]]
) -> Iterator[Candidate]:
    tag = collection.splits.stratify
    for song in songs:
        stratum = str(song["tags"].get(tag, "")) if tag else ""
        yield Candidate(song["song"], song["group"], song["declared"], stratum)


def _reason(collection: Collection, song: dict[str, Any]) -> str:
    """Why a song is not kept; "" if it is."""
    if song.get("reason"):
        return song["reason"]
    if {song["song"], *_aliases(song)} & set(collection.filters.exclude):
        return "excluded by name"
    need = collection.filters.min_active_seconds
    quiet = [
        name
        for name in collection.required
        if song["active_seconds"][name] < need or name in song["absent"]
    ]
    if quiet:
        times = ", ".join(f"{n} {song['active_seconds'][n]:g} s" for n in quiet)
        return f"not active for {need:g} s: {times}"
    return "" if song["files"].keys() - {"mixture"} else "silent"


def _aliases(song: dict[str, Any]) -> set[str]:
    """``id/interval``, as a collection calls a song."""
    recording = song["recording"]
    prefix = recording.replace("/", " - ") + " - "
    return {f"{recording}/{song['song'].removeprefix(prefix)}"}


def unread(recording: Recording, reason: str) -> list[dict[str, Any]]:
    """Return records of the songs that were not even read."""
    return [
        {
            "song": name,
            "recording": recording.id,
            "group": recording.group or recording.id,
            "declared": recording.split,
            "tags": dict(recording.tags),
            "files": {},
            "reason": reason,
        }
        for name in song_names(recording)
    ]


def order(song: dict[str, Any]) -> tuple[int, str]:
    """Key by which songs are listed: split, then name."""
    return (*SPLITS, DROPPED, FAILED).index(song["split"]), song["song"]
