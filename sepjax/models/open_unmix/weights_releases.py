"""Importers of the Open-Unmix models that its authors have released, by their names."""

import functools
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sepjax.download import DownloadError, fetch
from sepjax.models.importers import IMPORTERS, UNKNOWN, Imported, notice, pick
from sepjax.models.open_unmix.weights_folder import (
    ORDER,
    SEPARATOR,
    Transform,
    check_names,
    file_of,
    folder_of,
    import_targets,
    name_parts,
    read_separator_file,
)
from sepjax.models.releases import RELEASES as RELEASED
from sepjax.registry import nearest
from sepjax.storage import sha256


class Release(NamedTuple):
    """Files of a released model, and the facts that the files do not contain."""

    place: str
    """The record, below which ``files/<name>`` are."""
    files: Mapping[str, str]
    """Target -> name of its file, which ends in the beginning of its SHA-256."""
    transform: Transform = Transform()

    def url(self, target: str) -> str:
        """Address of a target's published file."""
        return f"{self.place}/files/{self.files[target]}"

    def prefix(self, target: str) -> str:
        """First digits of the SHA-256 of a target's file."""
        return name_parts(Path(self.files[target]))[1]


def _record(name: str) -> str:
    return f"https://{RELEASED[name].place}"


def _four(name: str, hashes: str) -> Release:
    files = {n: f"{n}-{prefix}.pth" for n, prefix in zip(ORDER, hashes.split())}
    return Release(_record(name), files)


# Names as open-unmix-pytorch 1.3 gives them in utils.py.
RELEASES = {
    "umx": _four("umx", "c8df74a5 5a48008b 646024d3 f8e132cc"),
    "umxhq": _four("umxhq", "b62c91ce 9619578f 8d85a5bd b52fbbf7"),
    "umxl": _four("umxl", "bccbd9aa 69e0ebd4 2ca1ce51 c8c5b3e6"),
    "umxse": Release(
        _record("umxse"),
        {"speech": "speech_f5e0d9f9.pth", "noise": "noise_04a6fc2d.pth"},
        transform=Transform(16000, 1024, 512, 1),
    ),
}


def import_release(
    name: str,
    paths: Sequence[Path],
    *,
    sources: tuple[str, ...] = (),
    iterations: int = -1,
    softmask: bool = False,
    residual: bool = False,
    download: bool = False,
    verify: bool = True,
) -> Imported:
    """Import a released model, a key of :data:`RELEASES`, from its files.

    With ``download`` what the folder lacks is fetched into it. All else is as in
    :func:`~sepjax.models.open_unmix.weights_folder.import_folder`.

    Raises:
        FileNotFoundError: a target has no file; the message says where it is published.
        DownloadError: it could not be fetched.
        ValueError: a file is damaged, or not what its name says, or of another model.
        KeyError: an array is missing.
    """
    release = RELEASES[name]
    targets = sources or tuple(release.files)
    for target in targets:
        if target not in release.files:
            known = nearest(target, release.files)
            raise ValueError(f"{name} has no target '{target}': {known}")
    files = _files(name, targets, paths, download)
    check_names(files.values(), verify)
    published = _published(name, release, files)
    options = dict(iterations=iterations, softmask=softmask, residual=residual)
    sizes = {name: release.transform._asdict()}
    rates = pick(sizes[name], "sample_rate", "hop")
    if separator := read_separator_file(folder_of(paths)):
        sizes[SEPARATOR] = separator._asdict()
    licence = RELEASED[name].licence
    licence = licence if published or notice(licence) else UNKNOWN + "MIT"
    facts = dict(url=release.place, published=published, licence=licence)
    facts["options"] = options
    return import_targets(name, files, options | rates, sizes, facts)


for _name in RELEASES:
    IMPORTERS.register(_name)(functools.partial(import_release, _name))


def _files(
    name: str, targets: Sequence[str], paths: Sequence[Path], download: bool
) -> dict[str, Path]:
    """The file of each target, fetched into the folder if it is to be."""
    if download and (len(paths) != 1 or paths[0].is_file()):
        raise ValueError("a download needs one folder, where the files will be")
    release, folder = RELEASES[name], folder_of(paths)
    names = {target: release.files[target] for target in targets}
    missing = [n for n in targets if not file_of(paths, n, names[n])]
    addresses = "\n".join(f"  {release.url(target)}" for target in missing)
    by_hand = (
        f"Put these files into {folder}, from wherever there is internet:\n{addresses}"
        f"\nand then: sepjax import-weights {name} {folder} -o FOLDER"
    )
    if missing and not download:
        raise FileNotFoundError(
            f"{folder} has no file of {', '.join(missing)}. --download fetches what is "
            f"missing. {by_hand}"
        )
    show = sys.stderr.isatty()
    for target in missing:
        path, prefix = folder / names[target], release.prefix(target)
        try:
            fetch(release.url(target), path, sha256_prefix=prefix, progress=show)
        except DownloadError as error:
            raise DownloadError(f"{error}\n{by_hand}") from error
    return {target: file_of(paths, target, names[target]) for target in targets}


def _published(name: str, release: Release, files: Mapping[str, Path]) -> bool:
    """Whether all files are those that were published; tell which are not."""
    others = [
        f"{path.name} (published: {release.prefix(target)}...)"
        for target, path in files.items()
        if not sha256(path).startswith(release.prefix(target))
    ]
    if others:
        text = f"not the published files of {name}: {', '.join(others)}"
        warnings.warn(text, stacklevel=2)
    return not others
