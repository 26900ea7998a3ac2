"""Released models from the cache, where the first use of each puts it."""

import contextlib
import os
import shutil
import socket
import sys
import warnings
from pathlib import Path

from sepjax import __version__
from sepjax.models.importers import run_importer
from sepjax.models.releases import RELEASES, Release, released_place
from sepjax.storage import locked, sha256
from sepjax.weights.store import FACTS, MODEL, load_imported, read_facts, write_imported


def released_folder(name: str) -> Path:
    """Return the folder with the weights of a released model, and have it filled.

    At the first use the files are fetched, verified, converted and deleted; stderr says
    what comes from where. One process does so at a time, others wait for it.

    Raises:
        ValueError: there is no such model.
        OSError: it cannot be fetched; the message says how to do so by hand.

    Example:
        >>> released_folder("umxx")
        Traceback (most recent call last):
        ValueError: unknown released model 'umxx': did you mean 'umx' or ...
    """
    release, folder = RELEASES.find(name), released_place(name)
    damage = _damage(folder)
    if not damage:
        return folder
    if release.shipped:
        raise OSError(f"{folder} is part of sepjax and damaged ({damage}): reinstall")
    owner = f"process {os.getpid()} on {socket.gethostname()}, which fetches {name}"
    with contextlib.ExitStack() as stack:
        try:
            lock = locked(folder.parent, owner, "this one waits for it", wait=True)
            stack.enter_context(lock)
        except OSError as error:
            raise OSError(
                f"cannot write to {folder.parent} ({error.strerror}): set SEPJAX_CACHE "
                "to another folder"
            ) from error
        if damage := _damage(folder):  # another process may just have made it
            if os.path.lexists(folder):
                _say(f"{folder} is damaged ({damage}): it is made anew")
                plain = folder.is_dir() and not folder.is_symlink()
                (shutil.rmtree if plain else os.unlink)(folder)
            _fill(name, release, folder)
    return folder


def _damage(folder: Path) -> str:
    """Say why a folder has not the weights that were written, or nothing."""
    try:
        facts = read_facts(folder)
        if sha256(folder / MODEL) != facts.get("model_sha256"):
            return f"{MODEL} is not the file that {FACTS} describes"
        if facts.get("sepjax") != __version__:
            load_imported(folder)  # its parameters may have been others then
        return ""
    except (OSError, ValueError) as error:
        return str(error)


def _fill(name: str, release: Release, folder: Path) -> None:
    size = f"{release.download_bytes / 1e6:.0f} MB"
    _say(
        f"fetching {name} ({size}, licence {release.licence}) from "
        f"{release.place}; it stays in {folder}"
    )
    # What an interrupted transfer leaves there is the beginning of the next one.
    download = folder.with_name(f"{folder.name}.download")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            imported = run_importer(name, [download], {"download": "true"})
        except LookupError as error:  # an array is missing
            raise ValueError(f"{name}: {error.args[0]}") from error
    for warning in caught:
        _say(f"warning: {warning.message}")
    config, params, facts = imported
    write_imported(folder, config, params, facts)
    shutil.rmtree(download, ignore_errors=True)


def _say(text: str) -> None:
    print(f"sepjax: {text}", file=sys.stderr, flush=True)
