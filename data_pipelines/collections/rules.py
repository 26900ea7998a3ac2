"""Checks of a collection: all that can be seen without opening audio."""

import os
import re
from collections import Counter
from collections.abc import Iterator

from data_pipelines.collections.collection import (
    VERSION,
    Collection,
    Part,
    Recording,
    song_names,
)
from data_pipelines.collections.mixing import BETA, GUARDS, PROCEDURES
from data_pipelines.manifest import SPLITS, DataError
from data_pipelines.songs.layouts import name_key
from sepjax.registry import name_problems, nearest

CHANNELS = ("keep", "mean", "left", "right")
MIXTURE = "mixture"
UNFIT = re.compile(r"^\.|^\s*$|[\x00-\x1f\x7f\ud800-\udfff\\/]")
SURROGATE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")  # of no byte in a path
LONGEST = 255  # bytes of a name, on most disks
FASTEST = 768_000  # Hz, of converters
LOUDEST = 200.0  # dB by which a track may be turned up or down


def check_collection(collection: Collection, where: str = "") -> Collection:
    """Return the collection itself, if it is sound.

    Raises:
        DataError: every problem that can be seen without opening audio.
    """
    problems = [*_choices(collection), *_class_problems(collection)]
    problems += [*_split_problems(collection), *_name_problems(collection)]
    for recording in collection.recordings:
        place = f"recording '{recording.id}'"
        problems += [f"{place}: {p}" for p in _track_problems(collection, recording)]
        problems += [f"{place}: {p}" for p in _interval_problems(recording)]
    if problems:
        raise DataError.of(where or f"collection '{collection.name}'", problems)
    return collection


def _choices(collection: Collection) -> Iterator[str]:
    """Words that are none of the known ones, and numbers without meaning."""
    mix, out, filters = collection.mix, collection.output, collection.filters
    known = [
        ("mix.mode", mix.mode, PROCEDURES),
        ("mix.beta", mix.beta, BETA),
        ("mix.guard", mix.guard, GUARDS),
        ("mix.dtype", mix.dtype, ("int16", "float32")),
        ("output.layout", out.layout, ("musdb",)),
        ("output.subtype", out.subtype, ("PCM_16", "PCM_24")),
        ("output.channels", out.channels, (0, 1, 2)),
        ("filters.apply", filters.apply, ("before_split", "after_split")),
        ("splits.by", collection.splits.by, ("song", "group")),
        ("version", collection.version, (VERSION,)),
    ]
    for where, value, choices in known:
        if value not in choices:
            yield f"{where}={value!r} must be one of {', '.join(map(str, choices))}"
    if not 0 < out.rate <= FASTEST:
        yield f"output.rate={out.rate} must be above zero and at most {FASTEST} (Hz)"
    if mix.dtype == "int16" and out.subtype != "PCM_16":
        yield f"output.subtype={out.subtype} needs mix.dtype=float32: int16 has 16 bits"
    wanted = filters.require_classes
    if wanted != "all" and not (
        isinstance(wanted, tuple | list) and all(isinstance(one, str) for one in wanted)
    ):
        yield f"filters.require_classes={wanted!r} must be 'all' or a list of classes"
    if mix.mode != "summing" and any(one.mixture for one in collection.recordings):
        yield (
            f"mix.mode={mix.mode} changes the stems, but a distributed mixture stays "
            "as it is: use mode: summing, or leave the mixtures out"
        )


def _class_problems(collection: Collection) -> Iterator[str]:
    classes = collection.classes
    if not classes:
        yield "classes: none are named"
    for problem in name_problems(classes):
        yield f"classes: {problem}"
    if MIXTURE in map(str.casefold, classes):
        yield f"classes: '{MIXTURE}' is the name of another file"
    names = set(collection.label_map.values()) | {collection.default_class} - {""}
    if isinstance(collection.filters.require_classes, tuple | list):
        names |= set(map(str, collection.required))
    for name in sorted(names - set(classes)):
        yield f"class '{name}' is not in classes: {nearest(name, classes)}"


def _split_problems(collection: Collection) -> Iterator[str]:
    rules = collection.splits
    for name in (*rules.counts, *rules.keep):
        if name not in SPLITS:
            yield f"splits: '{name}' must be one of {', '.join(SPLITS)}"
    counts = [*rules.counts.values()]
    if counts.count(-1) > 1:
        yield "splits.counts: only one split can take all others (-1)"
    if min(counts, default=0) < -1 or min(rules.keep.values(), default=0) < -1:
        yield "splits: a number of songs is 0 or more, or -1 for all others"
    if counts and not any(counts):
        yield "splits.counts: every number is 0"
    bare = [one.id for one in collection.recordings if not one.split]
    if bare and not rules.counts:
        yield f"recording '{bare[0]}' has no split, and splits.counts says nothing"


def _name_problems(collection: Collection) -> Iterator[str]:
    """Ids that come twice; tags and songs that rules speak of, but no recording has."""
    ids, tag = Counter(r.id for r in collection.recordings), collection.splits.stratify
    tags = {name for recording in collection.recordings for name in recording.tags}
    names = set(ids)
    for recording in collection.recordings:
        names |= {f"{recording.id}/{song.name}" for song in recording.intervals}
    if tag and ids and tag not in tags:
        hint = nearest(tag, tags)
        yield f"splits.stratify: no recording has the tag '{tag}': {hint}"
    for name in collection.filters.exclude if ids else ():
        if name not in names:
            yield f"filters.exclude: no recording '{name}': {nearest(name, names)}"
    yield from (f"{n} recordings have the id '{i}'" for i, n in ids.items() if n > 1)
    yield from _folder_problems(collection)


def _folder_problems(collection: Collection) -> Iterator[str]:
    """Songs whose names cannot be those of folders, or are the same."""
    seen: dict[str, str] = {}
    recordings = {recording.id: recording for recording in collection.recordings}
    for recording in recordings.values():
        for name in song_names(recording):
            if UNFIT.search(name) or len(os.fsencode(name)) > LONGEST:
                yield (
                    f"recording {recording.id[:120]!a}: {name[:120]!a} cannot be the "
                    f"name of a folder: at most {LONGEST} bytes of UTF-8, no point "
                    "first, no backslash or control character"
                )
            key, text = name_key(name), f"'{recording.id} ({name})'"
            if (first := seen.setdefault(key, text)) is not text:
                yield f"{text} and {first} both become '{name}'"


def _track_problems(collection: Collection, recording: Recording) -> Iterator[str]:
    if not recording.id.strip(" /"):
        yield "the id must be usable as the name of a folder"
    if recording.split and recording.split not in SPLITS:
        yield f"split '{recording.split}' must be one of {', '.join(SPLITS)}"
    if not recording.tracks:
        yield "no tracks"
    for part in recording.tracks:
        if not collection.class_of(part.label):
            known = {*collection.label_map, *collection.classes}
            yield (
                f"{part.path}: label '{part.label}' is in no class; add it to "
                f"label_map, or set default_class ({nearest(part.label, known)})"
            )
    for part in (*recording.tracks, *filter(None, [recording.mixture])):
        yield from (f"{part.path}: {problem}" for problem in _part_problems(part))


def _part_problems(part: Part) -> Iterator[str]:
    if "\0" in part.path or SURROGATE.search(part.path):
        yield "no file can have this path"
    if part.channels not in CHANNELS:
        yield f"channels '{part.channels}': {', '.join(CHANNELS)}"
    if part.start < 0 or part.stream < 0:
        yield "start and stream cannot be negative"
    if abs(part.gain_db) > LOUDEST:
        yield f"gain_db={part.gain_db:g} is beyond {LOUDEST:g} dB"


def _interval_problems(recording: Recording) -> Iterator[str]:
    stop, names = 0.0, set()
    for each in sorted(recording.intervals, key=lambda one: one.start):
        if each.name in names or not each.name.strip() or "/" in each.name:
            yield f"interval '{each.name}': names are needed once each, without '/'"
        if each.start < stop or (each.end is not None and each.end <= each.start):
            yield f"interval '{each.name}' overlaps the one before it, or is empty"
        stop = float("inf") if each.end is None else each.end
        names.add(each.name)
