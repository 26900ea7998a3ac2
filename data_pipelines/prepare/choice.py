"""Which recordings of a collection are wanted, by their tags, and how these spread."""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.collections.collection import Collection, Recording
from data_pipelines.manifest import SPLITS, DataError
from data_pipelines.prepare.selection import excluded
from data_pipelines.prepare.splits import draw
from data_pipelines.songs.prepared import MIXTURE, read_prepared
from sepjax.registry import nearest

MOST = 16  # values of a tag in a table
Survey = dict[str, list[tuple[str, int, int]]]


def tag_values(tags: Mapping[str, Any], tag: str) -> tuple[str, str]:
    """Return a tag's value as text: as songs are counted by it, and as it stands.

    Capitals and outer spaces make no difference. Songs are counted by decades of a tag
    with "year" in its name, by the first entry of a list, and without the tag as none.

    Example:
        >>> tag_values({"year": 1994}, "year"), tag_values({}, "genre")
        (('1990s', '1994'), ('none', 'none'))
    """
    value = tags.get(tag)
    value = next(iter(value), None) if isinstance(value, list | tuple) else value
    text = " ".join(str(value).split()).casefold()[:80] or "none"
    is_year = "year" in tag.casefold() and re.match(r"\d{4}(?!\d)", text)
    return f"{text[:3]}0s" if is_year else text, text


def combination(tags: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """Return the values of several tags by which songs are counted."""
    return tuple(tag_values(tags, name)[0] for name in names)


def chosen(collection: Collection) -> Collection:
    """Return a collection of the recordings that ``filters`` choose by their tags.

    ``where`` keeps some values of tags. ``songs`` of these are drawn, which are not
    excluded and have the required classes: each combination of the values to
    ``balance`` gives one, then each a second one, as far as it has any; first those of
    which single values are rare among the drawn. Seed and names decide the rest.

    Raises:
        DataError: no recording has a tag or value, or too few are left.
    """
    rules, pool = collection.filters, collection.recordings
    known = {tag for one in pool for tag in one.tags}
    problems = [
        f"no recording has the tag '{tag}': {nearest(tag, known)}"
        for tag in dict.fromkeys((*rules.where, *rules.balance))
        if tag not in known
    ]
    for tag, value in {} if problems else rules.where.items():
        own = {one.id: {*tag_values(one.tags, tag)} for one in collection.recordings}
        values = value if isinstance(value, tuple) else (value,)
        wanted = {tag_values({tag: one}, tag)[1] for one in values}
        for name in sorted(wanted.difference(*own.values())):
            hint = nearest(name, set().union(*own.values()))
            problems.append(f"no recording has {tag} '{name}': {hint}")
        pool = tuple(one for one in pool if wanted & own[one.id])
    if not problems and (rules.songs or rules.balance):
        pool = _in_order(collection, pool)
        if not 1 <= rules.songs <= len(pool):
            problems.append(f"songs={rules.songs} to draw must be 1 to {len(pool)}")
    if problems:
        raise DataError.of(f"filters of '{collection.name}'", problems)
    return dataclasses.replace(collection, recordings=pool[: rules.songs or None])


def _in_order(
    collection: Collection, pool: Sequence[Recording]
) -> tuple[Recording, ...]:
    """Recordings that can be drawn, in the order in which they are."""
    rules, seed = collection.filters, collection.splits.seed
    groups: dict[tuple[str, ...], list[Recording]] = {}
    for one in sorted(pool, key=lambda one: draw(seed, one.id)):
        if not excluded(collection, one):
            groups.setdefault(combination(one.tags, rules.balance), []).append(one)
    given: Counter[Any] = Counter()
    order = []

    def rarest(values: tuple[str, ...]) -> tuple[int, int, str]:
        alone = sum(given[cell] for cell in enumerate(values))
        return given[values], alone, draw(seed, ", ".join(values))

    while groups:
        values = min(groups, key=rarest)
        order.append(groups[values].pop(0))
        given.update([values, *enumerate(values)])
        groups = {key: rest for key, rest in groups.items() if rest}
    return tuple(order)


def survey(source: Collection | Path) -> Survey:
    """Count songs by tag, by the combinations of tags to balance, and by class.

    Args:
        source: a collection: its recordings, and those that are chosen and not known to
            lack a required class. Or a prepared folder: its songs, and those in a
            split; a song that was not read has no class.

    Returns:
        Tag, or "class" -> (value, all, chosen); years in order, else most first. Beyond
        16 values the others are summed.
    """
    balance: tuple[str, ...] = ()
    if isinstance(source, Path):
        rows = [
            (song["tags"], {*song["files"]} - {MIXTURE}, song["split"] in SPLITS)
            for song in read_prepared(source)[1]
        ]
    else:
        kept = {r.id for r in chosen(source).recordings if not excluded(source, r)}
        rows = [
            (one.tags, {source.class_of(t.label) for t in one.tracks}, one.id in kept)
            for one in source.recordings
        ]
        balance = source.filters.balance
    groups = [(name,) for name in sorted({tag for tags, *_ in rows for tag in tags})]
    groups += [balance] * (len(balance) > 1)
    every: dict[str, Counter[str]] = {}
    some: dict[str, Counter[str]] = {}
    for tags, classes, is_kept in rows:
        cells = {" and ".join(g): [", ".join(combination(tags, g))] for g in groups}
        for name, values in (cells | {"class": classes}).items():
            every.setdefault(name, Counter()).update(values)
            some.setdefault(name, Counter()).update(values if is_kept else ())
    result: Survey = {}
    for name, counts in every.items():
        by_year = "year" in name and (name,) in groups
        order = sorted((0 if by_year else -n, value) for value, n in counts.items())
        table = [(value, counts[value], some[name][value]) for _, value in order]
        if rest := table[MOST:]:
            sums = (sum(row[column] for row in rest) for column in (1, 2))
            table[MOST:] = [(f"{len(rest)} others", *sums)]
        result |= {name: table} if table else {}
    if not result:
        raise DataError("no song has a tag or a class: there is nothing to count")
    return result
