"""Fetching what is published of MUSDB18; addresses, sizes and hashes as published.

MUSDB18 is given away for education, not for commercial use; see ``docs/datasets.md``.
"""

from pathlib import Path
from typing import NamedTuple

from data_pipelines.fetch.archive import check_space, unpack
from data_pipelines.manifest import DataError
from sepjax.download import fetch
from sepjax.registry import nearest


class Published(NamedTuple):
    """An archive on the internet."""

    url: str
    page: str  # where people read about it
    size: int = 0  # bytes; 0: not known
    md5: str = ""  # empty: nobody has published one


ARCHIVES = {
    "musdb18": Published(
        "https://zenodo.org/records/1117372/files/musdb18.zip",
        "https://zenodo.org/records/1117372",
        4_684_228_845,
        "af06762477334799bfc5abf237648207",
    ),
    "musdb18_7s": Published(
        "https://github.com/sigsep/sigsep-mus-db/releases/download/v0.4.0/"
        "MUSDB18-7-STEMS.zip",
        "https://github.com/sigsep/sigsep-mus-db",
    ),
}
BY_HAND = {
    "musdb18hq": "musdb18hq.zip of https://zenodo.org/records/3338373",
    "moisesdb": "the archive that the page of its authors leads to, once its "
    "conditions are accepted",
    "medleydb": "both versions, on request, from https://medleydb.weebly.com",
}
"""Sets to fetch in a browser: they ask for an agreement, or have no known hash."""


def download(
    name: str, root: str | Path, *, unverified: bool = False, progress: bool = False
) -> Path:
    """Fetch a data set, unpack it and return its reader's folder; existing files stay.

    Args:
        name: "musdb18", or "musdb18_7s", the sample.
        root: the folder; the archive is kept in it, and may be deleted afterwards.
        unverified: take an archive whose hash nobody has published, as the sample's:
            that it is whole is seen from the checksums within it, and what the reader
            counts; not that nobody has changed it.
        progress: show it on stderr.

    Raises:
        DataError: nothing of this name can be fetched, the message says what to do by
            hand; or the disk is too small.
        DownloadError: the server cannot be reached, or has another file.
    """
    if name in BY_HAND:
        raise DataError(
            f"{name} is not fetched by itself: get {BY_HAND[name]}, unpack it, and "
            f"name its folder with --root"
        )
    if name not in ARCHIVES:
        raise DataError(f"{name} is not to be had here: {nearest(name, ARCHIVES)}")
    source, root = ARCHIVES[name], Path(root).expanduser()
    if not source.md5 and not unverified:
        raise DataError(
            f"{name}: no hash of {source.url} is published, so nothing tells whether "
            f"what arrives is what its authors gave away ({source.page}). If that does "
            "not matter to you, add -s unverified=true"
        )
    archive = root / source.url.rpartition("/")[2]
    root.mkdir(parents=True, exist_ok=True)
    if not archive.exists():
        check_space(root, 2 * source.size, name, "archive and songs")
    checks = {"md5": source.md5, "unverified": not source.md5}
    fetch(source.url, archive, **checks, progress=progress)
    return unpack(archive, root, progress=progress)
