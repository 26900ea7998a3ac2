"""Ratings of several listeners: read, checked against the key, screened and merged."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.workers import reason
from sepjax.evaluation.results import FLAG, NUMBER, TEXT, Kind, between, require
from sepjax.storage import read_json

KEY, RATINGS = "sepjax listening key", "sepjax listening ratings"
"""What files of a test say they are."""
REFERENCE = "reference"  # the condition, beside systems and anchors
SCORE = Kind("a rating from 0 to 100", between(0, 100))
RATINGS_TREE = {
    **{"kind!": TEXT, "test!": TEXT, "listener!": TEXT},
    **{"mushra!": {...: {...: SCORE}}, "abx!": {...: {"x!": TEXT, "answer!": TEXT}}},
}
ITEM = {"song!": TEXT, "class!": TEXT, "rank!": TEXT, "start!": NUMBER}
KEY_TREE = {
    **{"kind!": TEXT, "test!": TEXT, "systems!": {...: TEXT}, "anchors!": [TEXT]},
    **{"mushra!": FLAG, "items!": {...: ITEM | {"clips!": {...: TEXT}}}},
    "abx!": {...: {"clips!": {...: TEXT}}},
}
GOOD, SHARE, MANY = 90, 0.15, 0.25
"""A rating, a share of items, and one of listeners (BS.1534-3, 4.1.2)."""


def read_key(path: Path) -> dict[str, Any]:
    """Read the key of a test.

    Raises:
        OSError, ValueError: it is missing, damaged, or no key.
    """
    key = read_json(path, dict)
    require(key, KEY_TREE, path)
    if key["kind"] != KEY:
        raise ValueError(f"{path}: is no key of a listening test: give its key.json")
    known = {REFERENCE, *key["systems"], *key["anchors"]}
    if not all({*item["clips"].values()} <= known for item in key["items"].values()):
        text = "items have clips of other conditions than systems and anchors"
        raise ValueError(f"{path}: {text}: restore it as it was written")
    return key


def read_ratings(
    paths: Sequence[Path], key: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Read the files of listeners; return the whole ones, and why others are not.

    A file is left out where it is damaged, of another test, not finished, or of a
    listener whose ratings were read before.

    Returns:
        Trees of ratings, with their ``file``; and ``name`` and ``error`` of the rest.
    """
    whole: list[dict[str, Any]] = []
    left_out = []
    for path in paths:
        try:
            tree = read_json(path, dict)
            require(tree, RATINGS_TREE, path)
            _require_answers(tree, key)
            own = tree["listener"].strip().casefold()
            for other in whole:
                if other["listener"].strip().casefold() == own:
                    raise ValueError(
                        f"{tree['listener']!r} has rated in {other['file']}, which "
                        "counts: two listeners of one name need two names"
                    )
            whole.append(tree | {"file": str(path)})
        except (OSError, ValueError) as error:
            text = reason(error).removeprefix(f"{path}: ")
            left_out.append({"name": str(path), "error": text})
    return whole, left_out


def _require_answers(tree: Mapping[str, Any], key: Mapping[str, Any]) -> None:
    if tree["kind"] != RATINGS or tree["test"] != key["test"]:
        raise ValueError("these are no ratings of this test: find the key of theirs")
    items = key["items"] if key["mushra"] else {}
    wanted = {number: {*item["clips"]} for number, item in items.items()}
    known = {number: {*clips} for number, clips in tree["mushra"].items()}
    if wanted != known or {*tree["abx"]} != {*key["abx"]}:
        raise ValueError(
            "trials are missing or strange: the listener has to finish the page"
        )
    for number, answer in tree["abx"].items():
        if not {answer["x"], answer["answer"]} <= {*key["abx"][number]["clips"]}:
            raise ValueError(f"trial {number}: the answer is none of its signals")


SUMMARY = ("mean", "low", "high", "median", "lower_quartile", "upper_quartile")


def summarize(ratings: np.ndarray) -> tuple[float, ...]:
    r"""Return the numbers of :data:`SUMMARY` for one condition.

    The mean is over listeners, of their means over items, with the ends of its 95 %
    confidence interval; they are NaN for a single listener:

    .. math:: \bar u \pm t_{0.975, N - 1} \frac{s}{\sqrt N}

    with the deviation :math:`s` of the means of :math:`N` listeners. Median and
    quartiles are of all ratings, linearly interpolated.

    Args:
        ratings: (listeners, items).

    Example:
        >>> ratings = np.array([[40, 60], [50, 70], [60, 80]])
        >>> print(*(round(number, 2) for number in summarize(ratings)))
        60.0 35.16 84.84 60.0 52.5 67.5

    Reference:
        ITU-R BS.1534-3, 10.3; Student's t, as listeners are few.
    """
    from scipy.stats import t

    means, number = ratings.mean(1), len(ratings)
    mean, half = float(means.mean()), math.nan
    if number > 1:
        spread = float(means.std(ddof=1)) / math.sqrt(number)
        half = float(t.ppf(0.975, number - 1)) * spread
    lower, median, upper = np.percentile(ratings, (25, 50, 75)).tolist()
    return mean, mean - half, mean + half, median, lower, upper


def screen(reference: np.ndarray, middle: np.ndarray | None = None) -> list[str]:
    """Return for every listener why the ratings do not count; empty: they do.

    A listener is excluded who rates the hidden reference below 90, or the mid anchor
    above 90, in more than 15 % of the items. Items whose mid anchor more than a quarter
    of the listeners rate above 90 exclude nobody.

    Args:
        reference: ratings (listeners, items) of the hidden reference.
        middle: those of the mid anchor, if there is one.

    Example:
        >>> screen(np.array([[100, 95], [100, 80]]))
        ['', 'hidden reference below 90 in 1 of 2 items']

    Reference:
        ITU-R BS.1534-3, 4.1.2.
    """
    low = reference < GOOD
    high = np.zeros_like(low) if middle is None else middle > GOOD
    high = high & (high.mean(0) <= MANY)
    reasons = []
    for below, above in zip(low, high):
        parts = [
            f"{text} in {marks.sum()} of {len(marks)} items"
            for text, marks in (
                (f"hidden reference below {GOOD}", below),
                (f"mid anchor above {GOOD}", above),
            )
            if marks.mean() > SHARE
        ]
        reasons.append(" and ".join(parts))
    return reasons


def merge(
    key: Mapping[str, Any], ratings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Merge the ratings of listeners, as ``listening.json`` stores them.

    Each condition has the :func:`summarize` of listeners who pass :func:`screen`. ABX
    answers of all listeners count, since they are right or wrong: beside each pair is
    the probability that guessing gives as many right answers or more.

    Args:
        key: of :func:`read_key`.
        ratings: of :func:`read_ratings`.

    Raises:
        ValueError: there are no ratings.
    """
    if not ratings:
        raise ValueError("no file of ratings could be used: nothing to merge")
    listeners = [{"listener": r["listener"], "file": r["file"]} for r in ratings]
    results: dict[str, Any] = {"test": key["test"], "listeners": listeners}
    if key["mushra"]:
        results |= _merge_mushra(key, ratings, listeners)
    return results | {"abx": _merge_abx(key, ratings)}


def _merge_mushra(
    key: Mapping[str, Any],
    ratings: Sequence[Mapping[str, Any]],
    listeners: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    names = [REFERENCE, *key["systems"], *key["anchors"]]
    scores = np.zeros((len(ratings), len(key["items"]), len(names)))
    for row, one in zip(scores, ratings):
        for cells, (number, item) in zip(row, key["items"].items()):
            for clip, name in item["clips"].items():
                cells[names.index(name)] = one["mushra"][number][clip]
    middle = scores[..., -1] if len(key["anchors"]) > 1 else None
    for one, row, text in zip(listeners, scores, screen(scores[..., 0], middle)):
        one |= {"excluded": text, "mushra": dict(zip(names, row.mean(0).tolist()))}
    kept = scores[[not one["excluded"] for one in listeners]]
    if not len(kept):
        return {"conditions": {}, "items": []}
    conditions = {
        name: dict(zip(SUMMARY, summarize(kept[..., place])))
        for place, name in enumerate(names)
    }
    items = [
        {name: item[name] for name in ("song", "class", "start", "rank")}
        | {"mean": dict(zip(names, kept[:, place].mean(0).tolist()))}
        for place, item in enumerate(key["items"].values())
    ]
    return {"conditions": conditions, "items": items}


def _merge_abx(
    key: Mapping[str, Any], ratings: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Right answers of each pair of systems: of all listeners, and of each."""
    right: dict[tuple[str, ...], dict[str, list[bool]]] = {}
    for one in ratings:
        for number, answer in one["abx"].items():
            pair = tuple(key["abx"][number]["clips"].values())
            own = right.setdefault(pair, {}).setdefault(one["listener"], [])
            own.append(answer["x"] == answer["answer"])
    results = []
    for pair, own in right.items():
        listeners = {name: _binomial(each) for name, each in own.items()}
        whole = _binomial([*itertools.chain.from_iterable(own.values())])
        results.append({"pair": [*pair], **whole, "listeners": listeners})
    return results


def _binomial(right: Sequence[bool]) -> dict[str, Any]:
    from scipy.stats import binomtest

    test = binomtest(sum(right), len(right), 0.5, alternative="greater")
    return {"right": sum(right), "trials": len(right), "p": float(test.pvalue)}
