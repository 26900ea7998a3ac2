"""Unpacking a ZIP archive: nothing outside the folder, nothing half, nothing twice."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from data_pipelines.manifest import DataError
from sepjax.progress import bar
from sepjax.storage import atomic_file

LITTER = "__MACOSX"  # what macOS adds to archives
SPARE = 100 << 20  # bytes of a disk that are left free


def unpack(archive: str | Path, folder: str | Path, *, progress: bool = False) -> Path:
    """Unpack a ZIP file and return the folder; files of the right size stay.

    Raises:
        DataError: the archive is damaged or encrypted, or the disk too small; or an
            entry would lie outside the folder or is a link: then nothing is unpacked.

    Example:
        >>> import tempfile
        >>> base = Path(tempfile.mkdtemp())
        >>> with zipfile.ZipFile(base / "a.zip", "w") as file:
        ...     file.writestr("train/a.txt", "text")
        >>> (unpack(base / "a.zip", base / "b") / "train/a.txt").read_text()
        'text'
    """
    archive, folder = Path(archive), Path(folder)
    try:
        with zipfile.ZipFile(archive) as file:
            entries = _entries(file, archive)
            paths = {one: folder / one.filename for one in entries}
            todo = [
                one
                for one, path in paths.items()
                if not path.is_file() or path.stat().st_size != one.file_size
            ]
            check_space(folder, sum(one.file_size for one in todo), archive.name)
            for one in bar(todo, f"unpacking {archive.name}", show=progress):
                # It has its name once its checksum is right.
                with file.open(one) as source, atomic_file(paths[one]) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        text = f"damaged, or no ZIP archive ({error}): delete it and fetch it again"
        raise DataError(f"{archive}: {text}") from error
    return folder


def _entries(file: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, if all of them may be unpacked."""
    entries = [
        one
        for one in file.infolist()
        if not one.is_dir() and PurePosixPath(one.filename).parts[:1] != (LITTER,)
    ]
    problems = [f"{one.filename!r} {why}" for one in entries if (why := _danger(one))]
    if problems:
        raise DataError.of(f"{archive} is not unpacked", problems)
    return entries


def _danger(entry: zipfile.ZipInfo) -> str:
    path = PurePosixPath(entry.filename)
    windows = PureWindowsPath(entry.filename)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        return "would lie outside the folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    return "is encrypted" if entry.flag_bits & 1 else ""


def check_space(folder: Path, needed: int, what: str, kind: str = "files") -> None:
    """Raise a DataError if the disk of a folder cannot take so many bytes more."""
    place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise DataError(
            f"{what} needs {needed / 1e9:.1f} GB in {folder} for {kind}, of which "
            f"{free / 1e9:.1f} GB are free"
        )
