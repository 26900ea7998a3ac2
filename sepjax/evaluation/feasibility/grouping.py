"""From songs to a set: medians, overlaps, and which classes to merge."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sepjax.evaluation.averages import mean, median

MARK = 6.0  # dB of SI-SDR that an oracle should reach before training is worth while
REFERENCE = "adaptive"  # the procedure whose scores decide
METRICS = ("si_sdr", "sdr")

Groups = tuple[tuple[str, ...], ...]


def summarize(
    songs: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    mark: float = MARK,
    draws: Mapping[str, Sequence[str]] = {},
) -> dict[str, Any]:
    """Summarize a set by the numbers of its songs, those of ``measure_song``.

    What is said of a class, and its scores, are those of its songs in ``draws``, by
    name; of all songs by default. All else is said of all songs.

    Returns:
        ``classes``: name -> songs in which it sounds, those of them that are
        ``scored`` if these are fewer, activity, level (median over the songs in which
        it sounds) and whether it reaches the mark; ``scores``: procedure -> name ->
        medians over songs; ``clipped``: procedure -> sums; ``overlap``: the mean over
        songs in which both sound, and the pairs by size.
    """
    procedures = list(songs[0]["scores"])
    # A class that no song has keeps all songs, in which it is silent.
    drawn = {name: [s for s in songs if s["name"] in draws[name]] for name in draws}
    own = {name: drawn.get(name) or songs for name in classes}
    rows = {(p, n): [s["scores"][p] for s in own[n]] for p in procedures for n in own}
    scores: dict[str, Any] = {
        p: {n: median_scores(rows[p, n])[n] for n in own} for p in procedures
    }
    matrices = np.array([song["overlap"] for song in songs], float)
    matrix = np.apply_along_axis(mean, 0, matrices)
    known = {name: _class(own[name], name) for name in classes}
    for name in classes:
        known[name]["reaches_mark"] = reaches(scores[REFERENCE][name], mark)
        levels = (row[name]["si_sdr"] for row in rows[REFERENCE, name])
        scored = sum(not math.isnan(level) for level in levels)
        known[name] |= {"scored": scored} if scored < known[name]["songs"] else {}
    return {
        "classes": known,
        "scores": scores,
        "clipped": {name: _clipped(songs, name) for name in procedures},
        "overlap": {"matrix": matrix.tolist(), "pairs": _pairs(matrix, classes)},
    }


def median_scores(songs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians over the songs in which a class sounds.

    Example:
        >>> songs = [{"bass": {"si_sdr": x, "sdr": x + 1}} for x in (1.0, 2.0, 6.0)]
        >>> median_scores(songs)
        {'bass': {'si_sdr': 2.0, 'sdr': 3.0}}
    """
    return {
        name: {metric: median([s[name][metric] for s in songs]) for metric in METRICS}
        for name in songs[0]
    }


def reaches(scores: Mapping[str, float], mark: float) -> bool:
    """Whether a class scores the mark; one that never sounds does not."""
    return scores["si_sdr"] >= mark


def next_groups(
    groups: Groups,
    scores: Mapping[str, Mapping[str, float]],
    overlaps: Mapping[frozenset, float],
    mark: float = MARK,
) -> Groups | None:
    """Merge the group farthest below the mark with the group that masks it most.

    Groups that reach the mark are never merged with each other, so as many classes as
    possible stay apart. The overlap of two groups is the mean over their pairs of
    classes (average linkage).

    Args:
        groups: of names of classes.
        scores: :func:`group_name` -> metric -> dB.
        overlaps: pair of classes -> overlap.
        mark: dB of SI-SDR.

    Returns:
        One group less; None if all reach the mark, or only two are left.

    Example:
        >>> groups = (("bass",), ("drums",), ("shaker",))
        >>> scores = {g[0]: {"si_sdr": s} for g, s in zip(groups, (9.0, 8.0, 1.0))}
        >>> pairs = [("bass", "drums"), ("bass", "shaker"), ("drums", "shaker")]
        >>> overlaps = dict(zip(map(frozenset, pairs), (0.5, 0.1, 0.4)))
        >>> next_groups(groups, scores, overlaps)
        (('bass',), ('drums', 'shaker'))
    """
    below = [g for g in groups if scores[group_name(g)]["si_sdr"] < mark]  # not NaN
    if not below or len(groups) <= 2:
        return None
    worst = min(below, key=lambda group: scores[group_name(group)]["si_sdr"])
    others = [group for group in groups if group != worst]
    partner = max(others, key=lambda group: group_overlap(group, worst, overlaps))
    merged = tuple(sorted(worst + partner))
    return tuple(sorted([*(g for g in others if g != partner), merged]))


def group_overlap(
    one: tuple[str, ...], other: tuple[str, ...], overlaps: Mapping[frozenset, float]
) -> float:
    """Mean overlap of the classes of two groups; 0 for pairs that never meet."""
    values = [overlaps.get(frozenset(p), 0.0) for p in itertools.product(one, other)]
    return math.fsum(values) / len(values)


def group_name(group: Sequence[str]) -> str:
    """Name a group, such as ``drums+shaker``."""
    return "+".join(group)


def _class(songs: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    rows = [song["classes"][name] for song in songs]
    heard = [row["level"] for row in rows if row["seconds"]]
    return {
        "songs": len(heard),
        "activity": sum(r["seconds"] for r in rows) / sum(s["seconds"] for s in songs),
        "level": median(heard),
    }


def _clipped(songs: Sequence[Mapping[str, Any]], procedure: str) -> dict[str, Any]:
    rows = [song["clipped"][procedure] for song in songs]
    names = rows[0]["stems"]
    return {
        "mixture": sum(row["mixture"] for row in rows),
        "stems": {name: sum(row["stems"][name] for row in rows) for name in names},
        "songs": sum(row["mixture"] + sum(row["stems"].values()) > 0 for row in rows),
        "samples": sum(song["samples"] for song in songs),
    }


def _pairs(matrix: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    pairs = [
        {"classes": [classes[a], classes[b]], "overlap": float(matrix[a, b])}
        for a, b in itertools.combinations(range(len(classes)), 2)
        if not np.isnan(matrix[a, b])
    ]
    return sorted(pairs, key=lambda pair: -pair["overlap"])
