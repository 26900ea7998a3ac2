"""A test as files: the page that listeners get, and the key that stays here."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.listening.clips import LOUDNESS, encode, make_clips
from sepjax.listening.items import RANKED_BY, Item
from sepjax.listening.pages import listener_page
from sepjax.listening.ratings import KEY, REFERENCE
from sepjax.report.html.document import write_document
from sepjax.storage import atomic_folder, to_json, write_atomically, write_json

PAGE = "page"  # what is given away, beside key.json
LOW_PASS = "low-pass"  # begins the name of an anchor


def anchor_name(edge: float) -> str:
    """Return the name of an anchor among the conditions."""
    return f"{LOW_PASS} {edge:g} Hz"


def require_new(folder: Path, systems: Iterable[str]) -> None:
    """Create the folder of a test, before anything is read; check names of systems.

    Raises:
        OSError: it holds something, perhaps the key of another test, or cannot be made.
        ValueError: a system has the name of another condition.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        full = any(folder.iterdir())
    except OSError as error:
        text = f"{folder}: no test can be written there ({error.strerror or error})"
        raise OSError(f"{text}: give another folder with -o") from error
    if full:
        raise FileExistsError(
            f"{folder} is there already, and ratings are worth nothing without their "
            "key: give a new folder with -o"
        )
    for name in systems:
        if name == REFERENCE or name.startswith(LOW_PASS):
            text = f"system {name!r} is called as a condition"
            raise ValueError(f"{text}: rename its folder")


def plan_test(
    items: Sequence[Item],
    systems: Mapping[str, Path],
    anchors: Sequence[float],
    *,
    abx: int,
    mushra: bool,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw the numbers of a test: what its key knows, and what its page knows.

    Trials and clips have random numbers in the place of names, and no order that could
    tell. Each pair of systems has so many ABX trials, which take the excerpts in turn;
    each excerpt has one MUSHRA trial of all conditions.

    Args:
        items: excerpts.
        systems: name -> folder.
        anchors: edges in Hz.
        abx: trials of each pair; 0: none.
        mushra: have MUSHRA trials.
        seed: of the random numbers, together with all of this.

    Returns:
        Two trees for JSON, as ``docs/listen.md`` describes them.
    """
    low = [*map(anchor_name, anchors)] if mushra else []
    conditions = [REFERENCE, *systems, *low] if mushra else [*systems]
    facts = [_facts(item, systems) for item in items]
    # Another test has other numbers, of which browsers may keep answers.
    draw = random.Random(to_json([seed, conditions, facts, abx]))
    numbers = _opaque(draw)
    key: dict[str, Any] = {"kind": KEY, "test": next(numbers), "seed": seed}
    key["systems"] = {name: str(path) for name, path in systems.items()}
    key |= {"anchors": low, "loudness": LOUDNESS, "ranked_by": RANKED_BY}
    key |= {"mushra": mushra, "items": {}, "abx": {}}
    trials = []
    for each in facts:
        number, reference = next(numbers), next(numbers)
        clips = {next(numbers): name for name in conditions}
        key["items"][number] = each | {"clips": clips}
        if mushra:
            key["items"][number]["open_reference"] = reference
            trial = {"id": number, "item": number, "reference": reference}
            trials.append({"kind": "mushra", **trial, "clips": sorted(clips)})
    for names in itertools.combinations(systems, 2):
        pair, turn = next(numbers), draw.sample([*key["items"]], len(items))
        for place in range(abx):
            number, item_number = next(numbers), turn[place % len(turn)]
            clips = key["items"][item_number]["clips"]
            both = {clip: name for clip, name in clips.items() if name in names}
            key["abx"][number] = {"item": item_number, "clips": both}
            trial = {"id": number, "item": item_number, "pair": pair}
            trials.append({"kind": "abx", **trial, "clips": sorted(both)})
    trials.sort(key=lambda trial: trial["id"])  # as random as the numbers
    classes = {number: item["class"] for number, item in key["items"].items()}
    tree = {"test": key["test"], "classes": classes, "trials": trials}
    return key, tree | {"ranked_by": key["ranked_by"]}


def write_test(
    folder: Path,
    items: Sequence[Item],
    key: Mapping[str, Any],
    tree: Mapping[str, Any],
    anchors: Sequence[float],
) -> None:
    """Write ``page/index.html`` with its audio, and ``key.json`` beside the page.

    Args:
        folder: a new one.
        items: those of the plan.
        key: of :func:`plan_test`, and ...
        tree: ... what the page gets.
        anchors: edges in Hz.

    Raises:
        OSError: the folder cannot be written, or a file read again.
        ValueError: the clips of an excerpt cannot be made.
    """
    names = [REFERENCE, *key["systems"], *map(anchor_name, anchors)]
    with atomic_folder(folder) as part:
        for item, (number, facts) in zip(items, key["items"].items()):
            waves = make_clips(item.read(), item.rate, anchors if key["mushra"] else ())
            wanted = dict(facts["clips"])
            if key["mushra"]:
                wanted[facts["open_reference"]] = REFERENCE
            encoded = {
                clip: encode(waves[names.index(wanted[clip])], item.rate)
                for clip in sorted(wanted)
            }
            script = f'sepjaxClips("{number}", {to_json(encoded, indent=None)});\n'
            write_atomically(part / PAGE / "audio" / f"{number}.js", script)
        write_document(listener_page(tree), part / PAGE / "index.html")
        write_json(part / "key.json", key)


def _opaque(draw: random.Random) -> Iterator[str]:
    """Numbers in hexadecimal that tell nothing, each once."""
    used: set[str] = set()
    while True:
        number = f"{draw.randrange(16**8):08x}"
        if number not in used:
            used.add(number)
            yield number


def _facts(item: Item, systems: Mapping[str, Path]) -> dict[str, Any]:
    facts = {"song": item.song, "class": item.class_, "start": item.start}
    facts |= {"seconds": item.seconds, "sample_rate": item.rate, "rank": item.rank}
    return facts | {"si_sdr": dict(zip(systems, item.scores))}
