"""The dataset ``prepared``: what ``sepjax prepare`` wrote, known without reading audio.

``prepared.jsonl`` says all that a manifest needs: lengths, hashes, absent classes, and
by how much the stems miss the mixture.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.audio.files import probe
from data_pipelines.collections.rules import MIXTURE, UNFIT
from data_pipelines.manifest import SPLITS, AudioFile, DataError, Manifest, Stem, Track
from data_pipelines.registry import register
from sepjax.registry import name_problems, nearest
from sepjax.storage import parse_json

PREPARED = "prepared.jsonl"
HEADER = {"kind": str, "classes": list, "rate": int}
SONG = {"kind": str, "song": str, "split": str, "group": str}
SONG |= {"files": dict, "tags": dict}
AUDIO = {"frames": int, "channels": int, "rate": int}
FILE = {"bytes": int, "sha256": str}


def read_prepared(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the header of ``prepared.jsonl``, and its songs, also those without audio.

    Raises:
        DataError: it is not there, or damaged.
    """
    path = Path(folder).expanduser() / PREPARED
    try:
        lines = path.read_text(encoding="utf-8").strip("\n").split("\n")
        header, *songs = (
            parse_json(line, dict, f"line {number}")
            for number, line in enumerate(lines, start=1)
        )
        if problem := next(_problems(header, songs), ""):
            raise ValueError(problem)
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror or error}; `sepjax prepare COLLECTION -o "
            f"{folder}` writes it when all is done"
        ) from error
    except ValueError as error:
        text = f"{path}: damaged ({error}); prepare the folder again"
        raise DataError(text) from error
    return header, songs


def _problems(header: Any, songs: Sequence[Any]) -> Iterator[str]:
    """What a program would stumble over; names of folders and files are names."""
    if not _fits(header, HEADER) or header["kind"] != "collection":
        yield "the first line is no header"
        return
    yield from name_problems(header["classes"])
    for number, song in enumerate(songs, start=2):
        where = f"line {number}"
        if not _fits(song, SONG) or song["kind"] != "song":
            yield f"{where} is no song"
        elif UNFIT.search(song["song"]):
            yield f"{where}: {song['song']!a} is no name of a folder"
        elif song["split"] in SPLITS and not _is_whole(song, header["classes"]):
            yield f"{where}: its files, or their size, are not told"


def _fits(tree: Any, fields: Mapping[str, type]) -> bool:
    return isinstance(tree, dict) and all(
        type(tree.get(name)) is kind for name, kind in fields.items()
    )


def _is_whole(song: Mapping[str, Any], classes: Sequence[str]) -> bool:
    """Whether the files of a song are told, and as large as they must be."""
    error = song.get("mixture_error", "")
    return (
        _fits(song, AUDIO)
        and min(song["frames"], song["channels"], song["rate"]) > 0
        and (error is None or (type(error) is float and math.isfinite(error)))
        and MIXTURE in song["files"]
        and all(
            name in (MIXTURE, *classes)
            and _fits(file, FILE)
            and file["bytes"] >= 2 * song["frames"] * song["channels"]
            for name, file in song["files"].items()
        )
    )


@register("prepared")
def build_manifest(root: str, sources: Sequence[str]) -> Manifest:
    """Index a prepared folder.

    A song's mixture file is its mixture if all classes that sound in it are among the
    sources; else the sum of the classes that are. Songs without any of the sources are
    left out, with a warning.

    Raises:
        DataError: nothing was prepared there, a class is not in it, or files have
            another size than they had.
    """
    if not root:
        raise DataError("dataset 'prepared' needs a folder: set config.data.root")
    header, songs = read_prepared(root)
    base, classes = Path(root).expanduser(), header["classes"]
    unknown = [name for name in sources if name not in classes]
    if unknown:
        problems = [f"class '{name}': {nearest(name, classes)}" for name in unknown]
        raise DataError.of(f"{base / PREPARED}", problems)
    files: list[AudioFile] = []
    tracks, problems = [], []
    written = (base / PREPARED).stat().st_mtime_ns
    for song in (song for song in songs if song["split"] in SPLITS):
        try:
            tracks.append(_track(base, song, sources, files, written))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError.of(f"prepared songs in {base}", problems)
    if silent := [track.name for track in tracks if not track.stems]:
        warnings.warn(
            f"{base}: {len(silent)} songs have none of {', '.join(sources)} and are "
            f"left out: {', '.join(silent[:5])}",
            stacklevel=2,
        )
    return Manifest(
        name="prepared",
        root=str(base),
        sample_rate=header["rate"],
        channels=max((file.channels for file in files), default=1),
        classes=tuple(sources),
        files=tuple(files),
        tracks=tuple(track for track in tracks if track.stems),
    )


def _track(
    base: Path,
    song: dict[str, Any],
    sources: Sequence[str],
    files: list[AudioFile],
    written: int,
) -> Track:
    folder = Path(song["split"], song["song"])
    sounding = [name for name in song["files"] if name != MIXTURE]
    names = [name for name in sounding if name in sources]
    whole = len(names) == len(sounding)
    stems, offset = {}, None
    for name in (*names, *([MIXTURE] if whole else [])):
        file, path = song["files"][name], folder / f"{name}.wav"
        try:
            status = (base / path).stat()
        except OSError as error:
            raise DataError(f"{base / path}: {error.strerror or error}") from error
        if status.st_size != file["bytes"]:
            raise DataError(
                f"{base / path}: {status.st_size} bytes, {file['bytes']} were written; "
                "delete the song's folder and prepare again"
            )
        if offset is None:  # the files of a song have one form
            offset = probe(str(base / path)).data_offset
        shape = song["frames"], song["channels"], song["rate"]
        # What was edited since is another song: its own bytes say which. So is an older
        # take in its place, which has kept its date, but not that of the change.
        changed = max(status.st_mtime_ns, status.st_ctime_ns) > written
        digest = "" if changed else file["sha256"]
        files.append(AudioFile(str(path), *shape, offset, digest))
        stems[name] = Stem(len(files) - 1)
    mixture, error = stems.pop(MIXTURE, None), song["mixture_error"]
    error = -math.inf if error is None or not whole else error
    facts = (song[key] for key in ("song", "split", "group", "frames"))
    return Track(*facts, stems, mixture, error)
