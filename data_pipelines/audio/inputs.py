"""Recordings in folders, in the order in which people count."""

import re
from pathlib import Path

from data_pipelines.audio.files import FOREIGN

MEDIA = frozenset(
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .au"
    " .caf .m4a .mp4 .m4b .m4v .mov .aac .wma .wmv .asf .mka .mkv .webm .weba .avi .ac3"
    " .eac3 .ape .wv .tta .tak .mpc .amr .3gp .flv .ts .mpg .mpeg .dsf .dff".split()
)
"""Extensions of sound and video."""


def media_files(folder: Path) -> list[Path]:
    """Return the files of sound and video in a folder and those within it.

    They are sorted by name, numbers as numbers. Hidden files and folders are passed
    over, those that systems leave behind, and links to folders.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("take 10.wav", "Take 9.mp3", "cover.jpg", "._take 9.mp3"):
        ...     (folder / name).touch()
        >>> [path.name for path in media_files(folder)]
        ['Take 9.mp3', 'take 10.wav']
    """
    paths = (p for p in folder.rglob("*") if p.suffix.lower() in MEDIA)
    files = {p: p.relative_to(folder).parts for p in paths if not p.is_dir()}
    foreign = {
        path
        for path, parts in files.items()
        if any(part[0] == "." or part in FOREIGN for part in parts)
    }
    return sorted(files.keys() - foreign, key=lambda p: [*map(_natural, files[p])])


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(each), "") if each.isdecimal() else (-1, each) for each in parts]
