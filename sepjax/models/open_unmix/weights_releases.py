"""Importers of the Open-Unmix models that its authors have released, by their names."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from sepjax.models.importers import IMPORTERS, UNKNOWN, Imported, notice, pick
from sepjax.models.open_unmix.releases import FACTS
from sepjax.models.open_unmix.weights_folder import (
    SEPARATOR,
    Transform,
    check_names,
    file_of,
    folder_of,
    import_targets,
    read_separator_file,
)
from sepjax.models.releases import RELEASES, Release, fetch_files
from sepjax.registry import nearest
from sepjax.storage import sha256


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
    """Import a released model, by its name, from its files.

    With ``download`` what the folder lacks is fetched into it. All else is as in
    :func:`~sepjax.models.open_unmix.weights_folder.import_folder`.

    Raises:
        FileNotFoundError: a target has no file; the message says where it is published.
        DownloadError: it could not be fetched.
        ValueError: a file is damaged, or not what its name says, or of another model.
        KeyError: an array is missing.
    """
    release = RELEASES[name]
    targets = sources or release.sources
    for target in targets:
        if target not in release.sources:
            known = nearest(target, release.sources)
            raise ValueError(f"{name} has no target '{target}': {known}")
    files = _files(name, targets, paths, download)
    check_names(files.values(), verify)
    published = _published(name, release, files)
    options = dict(iterations=iterations, softmask=softmask, residual=residual)
    transform = Transform(release.sample_rate, **release.model)
    sizes = {name: transform._asdict()}
    rates = pick(sizes[name], "sample_rate", "hop")
    if separator := read_separator_file(folder_of(paths)):
        sizes[SEPARATOR] = separator._asdict()
    licence = release.licence
    licence = licence if published or notice(licence) else UNKNOWN + "MIT"
    facts = dict(url=release.place, published=published, licence=licence)
    facts["options"] = options
    return import_targets(name, files, options | rates, sizes, facts)


for _name in FACTS:
    IMPORTERS.register(_name)(functools.partial(import_release, _name))


def _files(
    name: str, targets: Sequence[str], paths: Sequence[Path], download: bool
) -> dict[str, Path]:
    """The file of each target, fetched into the folder if it is to be."""
    if download and (len(paths) != 1 or paths[0].is_file()):
        raise ValueError("a download needs one folder, where the files will be")
    release, folder = RELEASES[name], folder_of(paths)
    names = dict(zip(release.sources, release.files))
    missing = [names[n] for n in targets if not file_of(paths, n, names[n])]
    addresses = "\n".join(f"  {release.place}/files/{file}" for file in missing)
    by_hand = (
        f"Put these files into {folder}, from wherever there is internet:\n{addresses}"
        f"\nand then: sepjax import-weights {name} {folder} -o FOLDER"
    )
    if missing and not download:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}. --download fetches what is missing. "
            f"{by_hand}"
        )
    lacking = {file: release.files[file] for file in missing}
    fetch_files(lacking, f"{release.place}/files", folder, by_hand)
    return {target: file_of(paths, target, names[target]) for target in targets}


def _published(name: str, release: Release, files: Mapping[str, Path]) -> bool:
    """Whether all files are those that were published; tell which are not."""
    prefixes = dict(zip(release.sources, release.files.values()))
    others = [
        f"{path.name} (published: {prefixes[target]}...)"
        for target, path in files.items()
        if not sha256(path).startswith(prefixes[target])
    ]
    if others:
        text = f"not the published files of {name}: {', '.join(others)}"
        warnings.warn(text, stacklevel=2)
    return not others
