"""The songs of ``sepjax prepare``, for a terminal and as a page."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sepjax.registry import aligned
from sepjax.report.html.document import Section, page, write_document
from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import GAP, count, decibels, duration
from sepjax.report.html.table import cell, table

SPLITS = ("train", "valid", "test")
Songs = Sequence[Mapping[str, Any]]


def split_table(header: Mapping[str, Any], songs: Songs) -> list[list[str]]:
    """Show songs and length of each split, and how long classes are active in how many.

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
        rows.append([split, str(len(mine)), duration(seconds)])
        for name in header["classes"]:
            active = sum(song["active_seconds"][name] for song in mine)
            sounding = sum(name not in song["absent"] for song in mine)
            rows[-1].append(f"{duration(active)} in {sounding}")
    return rows


def format_prepared(header: Mapping[str, Any], songs: Songs) -> str:
    """Write the terminal's summary: splits, dropped songs with reasons, warnings."""
    blocks = [aligned(split_table(header, songs))]
    # Reasons that differ in numbers only are counted together.
    reasons = (s["reason"] for s in songs if s["split"] == "dropped")
    dropped = Counter(reason.split(":")[0] for reason in reasons)
    if dropped:
        lines = [f"  {number:5d}  {why}" for why, number in dropped.most_common(8)]
        blocks.append(f"dropped: {sum(dropped.values())} songs\n" + "\n".join(lines))
    if clipped := _clipped(songs):
        blocks.append("clipped samples: " + ", ".join(clipped))
    failed = [song for song in songs if song["split"] == "failed"]
    blocks += [f"FAILED {song['song']}: {song['reason']}" for song in failed]
    recordings = _recordings(songs)
    notes = [f"note: {s['recording']}: {t}" for s in recordings for t in s["warnings"]]
    return "\n\n".join([*blocks, *notes[:10]])


def _recordings(songs: Songs) -> list[Mapping[str, Any]]:
    """One song of each recording that was read: what is counted there counts once."""
    read = {song["recording"]: song for song in songs if song["files"]}
    return list(read.values())


def _clipped(songs: Songs) -> list[str]:
    clipped: Counter[str] = Counter()
    for song in songs:
        if song["split"] in SPLITS:
            clipped.update({"mixture": song["mixture_clipped"], **song["clipped"]})
    clipped["source files"] = sum(s["files_clipped"] for s in _recordings(songs))
    return [f"{name} {number}" for name, number in clipped.items() if number]


def write_page(header: Mapping[str, Any], songs: Songs, path: Path) -> Path:
    """Write the summary as one file that needs no other."""
    mix, kept = header["mix"], [s for s in songs if s["split"] in SPLITS]
    rule = f"{mix['mode']} mixing, {header['rate'] / 1000:g} kHz, {header['subtype']}"
    counts = ", ".join(f"{number} {name}" for name, number in header["counts"].items())
    total = element("b", count(len(kept), "song"))
    verdict = element("p", total, f": {counts}", class_="verdict")
    lead, name = [verdict, element("p", rule, class_="note")], header["name"]
    names, *rows = split_table(header, songs)
    sections = [
        Section("Splits", table(names, rows)),
        Section("Left out", _left_out(songs)),
        Section("Levels and clipping", _levels(header, kept)),
        Section("Every song", _every(header, kept)),
    ]
    title = f"{name} \N{MIDDLE DOT} sepjax prepare"
    return write_document(
        page("prepared songs", name, lead, sections, title=title), path
    )


def _left_out(songs: Songs) -> Markup | None:
    rows = [
        [song["song"], song["split"], cell(song["reason"], class_="prose")]
        for song in songs
        if song["split"] not in SPLITS
    ]
    return table(["song", "", cell("why", class_="prose")], rows) if rows else None


def _levels(header: Mapping[str, Any], kept: Songs) -> Markup | None:
    """Factors by which stems were turned down, and samples that were clipped still."""
    if not kept:
        return None
    rows: list[list[Any]] = []
    for name in header["classes"]:
        factors = [song["factors"][name] for song in kept if song["tracks"][name]]
        tracks = sum(song["tracks"][name] for song in _recordings(kept))
        clipped = sum(song["clipped"][name] for song in kept)
        rows.append([name, tracks, *_turned_down(factors), f"{clipped:,}"])
    factors = [song["mixture_factor"] for song in kept]
    clipped = sum(song["mixture_clipped"] for song in kept)
    rows.append(["mixture", "", *_turned_down(factors), f"{clipped:,}"])
    errors = [s["mixture_error"] for s in kept if s["mixture_error"] is not None]
    text = "Every mixture is the exact sum of its stems."
    if errors:
        worst = decibels(max(errors))
        text = f"Stems miss their mixture by {worst} dB of its energy at most."
    names = ["", "tracks", "songs turned down", "least factor", "clipped"]
    return join([table(names, rows), element("p", text, class_="fine")])


def _turned_down(factors: Sequence[float]) -> tuple[int, str]:
    """The number of factors below one, and the least factor in decibels."""
    least = 20 * math.log10(max(min(factors, default=1.0), 1e-10))
    return sum(factor < 1 for factor in factors), f"{decibels(least)} dB"


def _every(header: Mapping[str, Any], kept: Songs) -> Markup:
    rows = []
    for song in kept:
        cells = [
            GAP if name in song["absent"] else f"{seconds:.0f} s"
            for name, seconds in song["active_seconds"].items()
        ]
        seconds = f"{song['frames'] / song['rate']:.1f}"
        rows.append([song["song"], song["split"], seconds, *cells])
    note = "Seconds in which a class is active; a dash where it is absent."
    names = ["song", "split", "seconds", *header["classes"]]
    return join([table(names, rows), element("p", note, class_="fine")])
