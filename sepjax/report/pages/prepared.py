"""What ``sepjax prepare`` made, for a terminal and as a page."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.evaluation.tables import aligned
from sepjax.report.html.document import head, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.pictures import decibels

SPLITS = ("train", "valid", "test")
Songs = Sequence[Mapping[str, Any]]


def split_table(header: Mapping[str, Any], songs: Songs) -> list[list[str]]:
    """Songs and length of each split, and how long each class is active in how many.

    Example:
        >>> song = {"split": "test", "frames": 36000, "rate": 10, "absent": []}
        >>> song |= {"active_seconds": {"bass": 1800.0}}
        >>> split_table({"classes": ["bass"]}, [song])
        [['split', 'songs', 'length', 'bass'], ['test', '1', '1.0 h', '30.0 min in 1']]
    """
    rows = [["split", "songs", "length", *header["classes"]]]
    for split in SPLITS:
        mine = [song for song in songs if song["split"] == split]
        if not mine:
            continue
        seconds = sum(song["frames"] / song["rate"] for song in mine)
        cells = []
        for name in header["classes"]:
            active = sum(song["active_seconds"][name] for song in mine)
            count = sum(name not in song["absent"] for song in mine)
            cells.append(f"{duration(active)} in {count}")
        rows.append([split, str(len(mine)), duration(seconds), *cells])
    return rows


def duration(seconds: float) -> str:
    """A length in the unit that suits it.

    Example:
        >>> duration(9.5), duration(150.0), duration(5400.0)
        ('9.5 s', '2.5 min', '1.5 h')
    """
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def format_prepared(header: Mapping[str, Any], songs: Songs) -> str:
    """The terminal's summary: splits, what was left out and why, warnings."""
    blocks = [aligned(split_table(header, songs))]
    dropped = Counter(_short(s["reason"]) for s in songs if s["split"] == "dropped")
    if dropped:
        lines = [f"  {count:5d}  {reason}" for reason, count in dropped.most_common(8)]
        blocks.append(f"dropped: {sum(dropped.values())} songs\n" + "\n".join(lines))
    clipped = _clipped(header, songs)
    if clipped:
        blocks.append("clipped samples: " + ", ".join(clipped))
    blocks += [f"FAILED {s['song']}: {s['reason']}" for s in songs if _failed(s)]
    warnings = [
        f"{song['recording']}: {text}"
        for song in _recordings(songs)
        for text in song["warnings"]
    ]
    blocks += [f"note: {text}" for text in warnings[:10]]
    return "\n\n".join(blocks)


def _recordings(songs: Songs) -> list[Mapping[str, Any]]:
    """One song of each recording that was read: what is counted there counts once."""
    read = {song["recording"]: song for song in songs if song["files"]}
    return list(read.values())


def _short(reason: str) -> str:
    """Reasons that differ in numbers only are counted together."""
    return reason.split(":")[0]


def _failed(song: Mapping[str, Any]) -> bool:
    return song["split"] == "failed"


def _clipped(header: Mapping[str, Any], songs: Songs) -> list[str]:
    count: dict[str, int] = defaultdict(int)
    for song in songs:
        if song["split"] in SPLITS:
            count["mixture"] += song["mixture_clipped"]
            for name, number in song["clipped"].items():
                count[name] += number
    for song in _recordings(songs):
        count["source files"] += song["files_clipped"]
    return [f"{name} {number}" for name, number in count.items() if number]


def write_page(header: Mapping[str, Any], songs: Songs, path: Path) -> Path:
    """Write the summary as one file that needs no other."""
    return write_document(render(header, songs), path)


def render(header: Mapping[str, Any], songs: Songs) -> Markup:
    """The whole page as one element."""
    mix, kept = header["mix"], [s for s in songs if s["split"] in SPLITS]
    rule = f"{mix['mode']} mixing, {header['rate'] / 1000:g} kHz, {header['subtype']}"
    told = ", ".join(f"{count} {name}" for name, count in header["counts"].items())
    top = element(
        "header",
        element("p", "sepjax \N{MIDDLE DOT} prepared songs", class_="kicker"),
        element("h1", header["name"]),
        element("p", element("b", f"{len(kept)} songs"), f": {told}", class_="verdict"),
        element("p", rule, class_="note"),
    )
    parts = [
        ("Splits", _table(split_table(header, songs))),
        ("Left out", _left_out(songs)),
        ("Levels and clipping", _levels(header, kept)),
        ("Every song", _every(header, kept)),
    ]
    sections = [
        element("section", element("h2", title), content)
        for title, content in parts
        if content
    ]
    return element(
        "html",
        head(f"{header['name']} \N{MIDDLE DOT} sepjax prepare"),
        element("body", top, element("main", sections)),
        lang="en",
    )


def _table(rows: Sequence[Sequence[Any]]) -> Markup:
    first, *rest = rows
    header = element("tr", [element("th", cell, scope="col") for cell in first])
    body = [
        element(
            "tr",
            element("th", name, scope="row"),
            [element("td", cell) for cell in cells],
        )
        for name, *cells in rest
    ]
    table = element("table", element("thead", header), element("tbody", body))
    return element("div", table, class_="wide", tabindex=0)


def _left_out(songs: Songs) -> Markup | None:
    rows = [
        [song["song"], song["split"], song["reason"]]
        for song in songs
        if song["split"] not in SPLITS
    ]
    return _table([["song", "", "why"], *rows]) if rows else None


def _levels(header: Mapping[str, Any], kept: Songs) -> Markup | None:
    """How far stems were turned down, and what was clipped all the same."""
    if not kept:
        return None
    rows: list[list[Any]] = [
        ["", "tracks", "songs turned down", "least factor", "clipped"]
    ]
    for name in header["classes"]:
        factors = [song["factors"][name] for song in kept if song["tracks"][name]]
        low = decibels(_level(min(factors, default=1.0)))
        tracks = sum(song["tracks"][name] for song in _recordings(kept))
        clipped = sum(song["clipped"][name] for song in kept)
        quieter = sum(factor < 1 for factor in factors)
        rows.append([name, tracks, quieter, f"{low} dB", f"{clipped:,}"])
    mixture = sum(song["mixture_clipped"] for song in kept)
    low = decibels(_level(min(song["mixture_factor"] for song in kept)))
    quieter = sum(song["mixture_factor"] < 1 for song in kept)
    rows.append(["mixture", "", quieter, f"{low} dB", f"{mixture:,}"])
    errors = [s["mixture_error"] for s in kept if s["mixture_error"] is not None]
    text = "Every mixture is the exact sum of its stems."
    if errors:
        worst = decibels(max(errors))
        text = f"Stems miss their mixture by {worst} dB of its energy at most."
    return join([_table(rows), element("p", text, class_="fine")])


def _level(factor: float) -> float:
    return 20 * math.log10(max(factor, 1e-10))


def _every(header: Mapping[str, Any], kept: Songs) -> Markup:
    rows: list[list[Any]] = [["song", "split", "seconds", *header["classes"]]]
    for song in kept:
        active = [
            "\N{EN DASH}" if name in song["absent"] else f"{seconds:.0f} s"
            for name, seconds in song["active_seconds"].items()
        ]
        seconds = f"{song['frames'] / song['rate']:.1f}"
        rows.append([song["song"], song["split"], seconds, *active])
    note = "Seconds in which a class is active; a dash where it is absent."
    return join([_table(rows), element("p", note, class_="fine")])
