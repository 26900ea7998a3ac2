"""Released models from the cache, where the first use of each puts it."""

import contextlib
import itertools
import os
import shutil
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from sepjax import __version__
from sepjax.models.importers import run_importer
from sepjax.models.releases import RELEASES, Release, released_place
from sepjax.storage import locked, sha256
from sepjax.weights.files import load_safetensors
from sepjax.weights.store import (
    FACTS,
    MODEL,
    load_imported,
    read_facts,
    write_imported,
)


def released_folder(name: str) -> Path:
    """Return the folder with the weights of a released model, and have it filled.

    At the first use the files are fetched, verified, converted and deleted; stderr says
    what comes from where. One process does so at a time, others wait for it.

    Args:
        name: a key of :data:`~sepjax.models.releases.RELEASES`.

    Raises:
        ValueError: there is no such model.
        OSError: it cannot be fetched; the message says how to do so by hand.

    Example:
        >>> released_folder("umxx")
        Traceback (most recent call last):
        ValueError: unknown released model 'umxx': did you mean 'umx' or ...
    """
    release, folder = RELEASES.find(name), released_place(name)
    if _is_whole(folder):
        return folder
    if release.base:
        released_folder(release.base)
    with _turn(folder.parent, name):
        if not _is_whole(folder):  # nor has another process just made it
            _fill(name, release, folder)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a folder has weights as they were written; damage is told."""
    if not folder.is_dir():
        return False
    try:
        facts = read_facts(folder)
        if sha256(folder / MODEL) != facts.get("model_sha256"):
            raise ValueError(f"{MODEL} is not the file that {FACTS} describes")
        if facts.get("sepjax") != __version__:
            load_imported(folder)  # its parameters may have been others then
        return True
    except (OSError, ValueError) as error:
        _say(f"{folder} is damaged ({error}): it is made anew")
        return False


def _fill(name: str, release: Release, folder: Path) -> None:
    if release.base:
        base = released_place(release.base)
        config, params = load_safetensors(base / MODEL)
        for field, value in release.changes.items():
            setattr(config.model, field, value)
        facts = read_facts(base) | {"family": name}
        facts["options"] = facts["options"] | dict(release.changes)
        return write_imported(folder, config, params, facts)
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


@contextlib.contextmanager
def _turn(folder: Path, name: str) -> Iterator[None]:
    """Fill the cache as the only process; wait for another one."""
    owner = f"process {os.getpid()} on {socket.gethostname()}, which fetches {name}"
    with contextlib.ExitStack() as stack:
        for attempt in itertools.count():
            try:
                stack.enter_context(locked(folder, owner, "this one waits for it"))
                break
            except BlockingIOError as error:
                if not attempt:
                    _say(str(error))
                time.sleep(0.2)
            except OSError as error:
                raise OSError(
                    f"cannot write to {folder} ({error.strerror}): set SEPJAX_CACHE to "
                    "another folder"
                ) from error
        yield


def _say(text: str) -> None:
    print(f"sepjax: {text}", file=sys.stderr, flush=True)
