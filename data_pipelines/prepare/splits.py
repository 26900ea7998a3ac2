"""Which song falls into which split: seeded, stratified, whole groups if wanted."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.collections.collection import SplitRules
from data_pipelines.manifest import SPLITS, DataError
from sepjax.storage import text_sha256


class Candidate(NamedTuple):
    """A song with the facts that decide its split."""

    name: str
    group: str = ""
    split: str = ""  # as declared; empty: to be drawn
    stratum: str = ""


def assign_splits(songs: Sequence[Candidate], rules: SplitRules) -> dict[str, str]:
    """Assign each song to a split.

    Declared splits stay, by group for the group's other songs as well. The others are
    dealt in the proportions of ``rules.counts``, within each stratum by largest
    remainders, so that the totals are exact as well; if one of the counts is -1, the
    others are numbers of songs and this one takes what is left. By group, the largest
    first, each into the split that lacks most. A song's place in the draw follows from
    the seed and its name alone, so that a song more or less moves no other but where a
    split's share ends.

    A split that should have songs and gets none causes a warning.

    Raises:
        DataError: fewer songs than are asked for, no counts where they are needed, or a
            group of two declared splits.

    Example:
        >>> rules = SplitRules(counts={"train": 2, "test": 1})
        >>> found = assign_splits([Candidate(name) for name in "abcdef"], rules)
        >>> sorted(found.values())
        ['test', 'test', 'train', 'train', 'train', 'train']
    """
    if rules.by == "group":
        songs = _inherit(songs)
    splits = {song.name: song.split for song in songs if song.split}
    undecided = [song for song in songs if not song.split]
    undecided.sort(key=lambda song: draw(rules.seed, song.name))
    if not undecided:
        return splits
    strata = defaultdict(list)
    for unit in _units(undecided, rules):
        strata[unit[0].stratum].append(unit)
    sizes = [sum(map(len, strata[name])) for name in sorted(strata)]
    quotas = apportion(sizes, _targets(len(undecided), rules.counts))
    room = dict.fromkeys(SPLITS, 0)
    for name, quota in zip(sorted(strata), quotas):
        # What a stratum of large groups could not divide, the next ones make up for.
        room = {split: room[split] + new for split, new in zip(SPLITS, quota)}
        splits |= _deal(strata[name], room)
    for split in (name for name, count in rules.counts.items() if count):
        if split not in splits.values():
            text = f"split {split} gets no song: there are too few, or groups too large"
            warnings.warn(text, stacklevel=2)
    return splits


def _inherit(songs: Sequence[Candidate]) -> list[Candidate]:
    """Songs of a group of which some declare their split get that one."""
    declared: dict[str, str] = {}
    for song in songs:
        group = song.group or song.name
        if song.split and song.split != declared.setdefault(group, song.split):
            raise DataError(
                f"group '{group}' is declared {declared[group]} and {song.split}: by "
                "group, all its songs are of one split"
            )
    return [
        song._replace(split=declared.get(song.group or song.name, "")) for song in songs
    ]


def draw(seed: int, name: str) -> str:
    """Return a name's key in the draw of a seed; sort by this key.

    Example:
        >>> draw(42, "a") == draw(42, "a"), draw(42, "a") == draw(43, "a")
        (True, False)
    """
    return text_sha256(f"{seed}\n{name}")


def apportion(sizes: Sequence[int], targets: Sequence[int]) -> list[list[int]]:
    """Divide each stratum among the splits: both totals are met exactly.

    Every stratum gets the integer part of its share of every target; what is left goes
    to the largest remainders whose stratum and split still want one.

    ``sizes`` are songs of each stratum, ``targets`` of each split, in sum as many.

    Example:
        >>> apportion([5, 3], [6, 2])
        [[4, 1], [2, 1]]
    """
    total = max(sum(sizes), 1)
    share = np.outer(sizes, targets) / total
    table = np.floor(share + 1e-9).astype(int)
    rows = np.asarray(sizes) - table.sum(1)
    columns = np.asarray(targets) - table.sum(0)
    rest = share - table
    while rows.sum() > 0:
        able = np.where((rows[:, None] > 0) & (columns > 0), rest, -np.inf)
        row, column = np.unravel_index(np.argmax(able), able.shape)
        table[row, column] += 1
        rest[row, column] -= 1
        rows[row] -= 1
        columns[column] -= 1
    return table.tolist()


def _targets(songs: int, counts: Mapping[str, int]) -> list[int]:
    """Songs of each split."""
    if not any(counts.values()):
        raise DataError("songs without a split, and splits.counts says nothing")
    shares = [counts.get(name, 0) for name in SPLITS]
    if -1 not in shares:
        return apportion_shares(songs, shares)
    fixed = sum(count for count in shares if count > 0)
    if fixed > songs:
        asked = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(
            f"splits.counts asks for {fixed} songs and the rest ({asked}), but only "
            f"{songs} are there: lower the counts, or leave out -1 to take shares"
        )
    return [songs - fixed if count == -1 else count for count in shares]


def apportion_shares(songs: int, shares: Sequence[int]) -> list[int]:
    """Songs in the proportions of the shares, by largest remainders.

    Example:
        >>> apportion_shares(156, [88, 16, 52]), apportion_shares(10, [88, 16, 52])
        ([88, 16, 52], [6, 1, 3])
    """
    exact = songs * np.asarray(shares) / sum(shares)
    whole = np.floor(exact).astype(int)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: songs - whole.sum()]] += 1
    return whole.tolist()


def _units(songs: Sequence[Candidate], rules: SplitRules) -> list[list[Candidate]]:
    """Units that are dealt as one: songs, or groups of them, of one stratum."""
    if rules.by == "song":
        return [[song] for song in songs]
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for song in songs:
        groups[song.group or song.name].append(song)
    units = []
    for name in sorted(groups, key=lambda name: draw(rules.seed, name)):
        most = Counter(song.stratum for song in groups[name]).most_common(1)[0][0]
        units.append([song._replace(stratum=most) for song in groups[name]])
    return sorted(units, key=len, reverse=True)


def _deal(units: Sequence[list[Candidate]], room: dict[str, int]) -> dict[str, str]:
    """Every unit into the split that lacks most; single songs fill them in order."""
    splits = {}
    for unit in units:
        split = max(SPLITS, key=room.__getitem__)
        if len(unit) == 1:
            split = next((name for name in SPLITS if room[name] > 0), SPLITS[0])
        room[split] -= len(unit)
        splits |= {song.name: split for song in unit}
    return splits
