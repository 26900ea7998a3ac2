"""``sepjax listen``: a blind listening test of separators, and ratings merged."""

import argparse
import sys
from pathlib import Path
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a test, and of merging."""
    parser.usage = (
        "sepjax listen A B ... [--references DIR] -o DIR [options]\n"
        "       sepjax listen --merge DIR/key.json RATINGS.json ... [-o DIR]"
    )
    add = parser.add_argument
    text = "folders of estimates, <song>/<class>.wav, or run folders with audio/; with "
    text += "--merge files of ratings"
    add("paths", type=Path, nargs="*", metavar="A", help=text)
    text = "the true stems; runs have their own"
    add("--references", type=Path, metavar="DIR", help=text)
    text = "folder for page/, which listeners get, and key.json, which they do not "
    text += "(listening); with --merge for listening.json and listening.html (merged/ "
    text += "beside the key)"
    add("-o", "--output", type=Path, metavar="DIR", help=text)
    text = "merge the ratings of the test that this key belongs to"
    add("--merge", type=Path, metavar="KEY", help=text)
    add = parser.add_argument_group("the test").add_argument
    add("--classes", default="", metavar="A,B", help="only these (all)")
    text = "of each class: lowest rank, median, highest, or more between (%(default)s)"
    add("--excerpts", type=int, default=3, metavar="N", help=text)
    text = "length of an excerpt (%(default)g)"
    add("--seconds", type=float, default=10.0, metavar="S", help=text)
    text = "ABX trials of each pair of systems; 0 for none (%(default)s)"
    add("--abx", type=int, default=12, metavar="N", help=text)
    add("--no-mushra", action="store_true", help="no ratings from 0 to 100")
    text = (
        "low-pass edges of the hidden anchors (3500,7000 as far as the rate has them)"
    )
    add("--anchors", type=hertz, metavar="HZ,HZ", help=text)
    text = "of the random numbers (drawn by chance; the key tells it)"
    add("--seed", type=int, metavar="N", help=text)


def listen(arguments: argparse.Namespace) -> int:
    """Write a test, or merge its ratings; return 1 if a file of ratings is no good."""
    if arguments.merge:
        return _merge(arguments.merge, arguments.paths, arguments.output)
    import secrets

    from sepjax.listening.items import choose, find_items
    from sepjax.listening.songs import name_systems, shared_songs
    from sepjax.listening.trials import plan_test, require_new, write_test
    from sepjax.report.html.numbers import count

    folder = arguments.output or Path("listening")
    systems, anchors = name_systems(arguments.paths), arguments.anchors
    if arguments.abx < 0 or (arguments.abx == 0 and arguments.no_mushra):
        raise ValueError(
            f"--abx {arguments.abx}: a test has ABX trials, or ratings, or both"
        )
    if arguments.excerpts < 1:
        text = f"--excerpts {arguments.excerpts}: one of each class is the least"
        raise ValueError(text)
    require_new(folder, systems)
    classes = [name.strip() for name in arguments.classes.split(",") if name.strip()]
    songs, remarks = shared_songs(systems, arguments.references, classes)
    found, more = find_items(songs, [*systems], arguments.seconds)
    items = choose(found, arguments.excerpts)
    for remark in (*remarks, *more):
        print(f"sepjax: note: {remark}", file=sys.stderr)
    anchors = _anchors(items, anchors) if not arguments.no_mushra else ()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    how = {"abx": arguments.abx, "mushra": not arguments.no_mushra, "seed": seed}
    key, tree = plan_test(items, systems, anchors, **how)
    write_test(folder, items, key, tree, anchors)
    print(count(len(items), "excerpt") + ", " + count(len(tree["trials"]), "trial"))
    print(f"for listeners: {folder / 'page' / 'index.html'}, with its folder")
    print(f"for you alone: {folder / 'key.json'}")
    return 0


def hertz(text: str) -> tuple[float, ...]:
    """Parse frequencies, ``3500,7000``, for argparse; return them in order."""
    return tuple(sorted({*map(float, text.split(","))}))


def _anchors(items: Any, anchors: tuple[float, ...] | None) -> tuple[float, ...]:
    from sepjax.listening.clips import ANCHORS, default_anchors

    rate = min(item.rate for item in items)
    if anchors is None and (anchors := default_anchors(rate)) != ANCHORS:
        edges = ", ".join(f"{edge:g}" for edge in anchors)
        text = f"audio of {rate} Hz has no room for all anchors of BS.1534-3"
        print(f"sepjax: note: {text}: low-pass {edges} Hz", file=sys.stderr)
    return anchors


def _merge(path: Path, files: list[Path], output: Path | None) -> int:
    from sepjax.listening.pages import abx_rows, rating_rows, write_results
    from sepjax.listening.ratings import merge, read_key, read_ratings
    from sepjax.registry import aligned

    if not files:
        raise ValueError(
            f"name files of ratings: sepjax listen --merge {path} FILE ..."
        )
    key = read_key(path)
    ratings, left_out = read_ratings(files, key)
    for one in left_out:
        print(f"sepjax: error: {one['name']}: {one['error']}", file=sys.stderr)
    results = merge(key, ratings)
    for one in results["listeners"]:
        if text := one.get("excluded"):
            text = f"{one['listener']} is excluded (BS.1534-3, 4.1.2): {text}"
            print(f"sepjax: note: {text}", file=sys.stderr)
    for rows in filter(None, (rating_rows(results), abx_rows(results["abx"]))):
        print(aligned(rows))
    files = write_results(output or path.parent / "merged", results, left_out)
    print("written:", *files)
    return 1 if left_out else 0
