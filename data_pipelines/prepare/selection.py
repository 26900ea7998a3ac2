"""Which of the songs are kept, and in which split."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from data_pipelines.collections.collection import Collection, Recording
from data_pipelines.manifest import SPLITS
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
    rules = collection.splits
    reasons = {song["song"]: _reason(collection, song) for song in songs}
    before = collection.filters.apply == "before_split"
    candidates = []
    for song in songs:
        if song.get("failed") or not (before and reasons[song["song"]]):
            facts = song["song"], song["group"], song["declared"]
            stratum = str(song["tags"].get(rules.stratify, ""))
            candidates.append(Candidate(*facts, stratum if rules.stratify else ""))
    splits = assign_splits(candidates, rules)
    kept: Counter[str] = Counter()
    for name in sorted(splits, key=lambda name: draw(rules.seed, name)):
        split = splits[name]
        room = rules.keep.get(split, -1)
        if not reasons[name] and 0 <= room <= kept[split]:
            reasons[name] = f"{split} is limited to {room} songs"
        if not reasons[name]:
            kept[split] += 1
    placed = []
    for song in songs:
        reason, facts = reasons[song["song"]], dict(song)
        dropped = FAILED if facts.pop("failed", False) else DROPPED
        split = dropped if reason else splits[song["song"]]
        placed.append(facts | {"split": split, "reason": reason})
    return placed


def _reason(collection: Collection, song: dict[str, Any]) -> str:
    """Why a song is not kept; "" if it is."""
    if song.get("reason"):
        return song["reason"]
    interval = song["song"].removeprefix(song["recording"].replace("/", " - ") + " - ")
    names = {song["song"], f"{song['recording']}/{interval}"}
    if names & set(collection.filters.exclude):
        return "excluded by name"
    need, active = collection.filters.min_active_seconds, song["active_seconds"]
    quiet = [
        f"{name} {active[name]:g} s"
        for name in collection.required
        if active[name] < need or name in song["absent"]
    ]
    if quiet:
        return f"not active for {need:g} s: {', '.join(quiet)}"
    return "" if song["files"].keys() - {"mixture"} else "silent"


def order(song: dict[str, Any]) -> tuple[int, str]:
    """Key by which songs are listed: split, then name."""
    return (*SPLITS, DROPPED, FAILED).index(song["split"]), song["song"]
