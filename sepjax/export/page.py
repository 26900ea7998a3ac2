"""A page that separates in the browser, with the runtime that it needs beside it."""

import tarfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from sepjax.download import cache_folder, fetch_package
from sepjax.storage import write_atomically, write_json

RUNTIME = "onnxruntime-web-1.30.0.tgz"
RUNTIME_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""What the page needs of the package."""
OWN = ("index.html", "page.css", "page.js", "worker.js")


def runtime_files(
    runtime: Path | None, say: Callable[[str], object]
) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that a page needs.

    Args:
        runtime: the package as npm packs it, or a folder with its files; fetched with
            npm by default, once.
        say: told that it is fetched.

    Raises:
        OSError: the runtime cannot be fetched, or its files are not there.
    """
    if runtime is None:
        runtime = cache_folder("packages") / RUNTIME
        if not runtime.exists():
            say(f"fetching {RUNTIME} with npm")
            fetch_package(runtime, sha256_prefix=RUNTIME_SHA256)
    return {name: _part(runtime, name) for name in FILES}


def write_page(folder: Path, facts: dict[str, Any], files: dict[str, bytes]) -> None:
    """Write the page beside its ``model.onnx``.

    Args:
        folder: of the page.
        facts: of the model, and of its program, as in the manifest.
        files: of :func:`runtime_files`.
    """
    style = resources.files("sepjax.report.html") / "page.css"
    own = {name: asset(name) for name in OWN} | {"base.css": style.read_bytes()}
    for name, content in (own | files).items():
        write_atomically(folder / name, content)
    write_json(folder / "model.json", facts)


def asset(name: str) -> bytes:
    """Return a file of the page as the package has it."""
    return (resources.files("sepjax.export") / "web" / name).read_bytes()


def _part(runtime: Path, name: str) -> bytes:
    """Return a file of a package, or of a folder that it was unpacked into."""
    missing = f"{runtime} has no {name}: give onnxruntime-web as `npm pack` makes it"
    if runtime.is_dir():
        places = [*runtime.rglob(name)]
        if not places:
            raise FileNotFoundError(missing)
        return places[0].read_bytes()
    try:
        with tarfile.open(runtime) as archive:
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None
            return file.read()
    except (tarfile.TarError, KeyError) as error:
        raise FileNotFoundError(missing) from error
