"""Files of Hybrid Demucs: PyTorch's, safetensors, bags of them, and how they come."""

import re
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sepjax.foreign.restricted_pickle import as_fraction
from sepjax.foreign.safetensors_file import read_safetensors
from sepjax.foreign.state_dict import state_of
from sepjax.foreign.torch_file import read_torch_file
from sepjax.foreign.yaml_text import parse_yaml
from sepjax.models.releases import RELEASES, fetch_files
from sepjax.storage import parse_json, sha256

SUFFIXES = (".th", ".safetensors")
SEGMENTS = {"HTDemucs": 10, "HDemucs": 40}
"""Classes, and the seconds at once where a file does not say."""
LONGEST = 1 << 16  # bytes of a bag
POSITIONS = ("sources", "audio_channels", "channels", "channels_time", "growth")
DAMAGE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)


class Content(NamedTuple):
    """What is in a file of one network."""

    kind: str  # its class
    arguments: Mapping[str, Any]
    state: Mapping[str, np.ndarray]
    segment: Fraction  # seconds that it hears at once


class Bag(NamedTuple):
    """Files of networks, and weights of the sources of each network in turn."""

    files: tuple[Path, ...]
    weights: tuple[float, ...] = ()
    segment: float = 0.0  # seconds, instead of what files say


def read_bag(path: Path, released: str = "") -> Bag:
    """Find the networks of a path: a file, a ``.yaml`` of several, or a folder.

    Raises:
        ValueError: a folder has several models; a bag is damaged, or names a file that
            is not beside it.
    """
    if path.is_dir():
        release = RELEASES.get(released)
        files = tuple(path / name for name in (release.files if release else ()))
        if release and all(file.is_file() for file in files):
            return Bag(files, **release.model)
        models = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
        found = sorted(path.glob("*.yaml")) or models
        if len(found) != 1:
            names = ", ".join(each.name for each in found[:8]) or "none"
            raise ValueError(
                f"{path} must hold one model, or name one of them: {names}"
            )
        path = found[0]
    return _parse_bag(path) if path.suffix in (".yaml", ".yml") else Bag((path,))


def _parse_bag(path: Path) -> Bag:
    if path.stat().st_size > LONGEST:
        raise ValueError(f"{path}: it has more than {LONGEST} bytes: it is no bag")
    tree = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    try:
        if not isinstance(tree, dict) or not isinstance(tree.get("models"), list):
            raise ValueError("it has no list 'models'")
        names = [name for name in tree["models"] if re.fullmatch(r"[\w-]+", name)]
        if not names or len(names) != len(tree["models"]):
            raise ValueError("'models' must be signatures: names of files beside it")
        rows = tree.get("weights") or []
        if rows and len(rows) != len(names):
            raise ValueError(f"'weights' has {len(rows)} rows for {len(names)} models")
        weights = tuple(float(number) for row in rows for number in row)
        segment = float(tree.get("segment") or 0)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}: restore it from a copy") from error
    return Bag(tuple(_beside(path, name) for name in names), weights, segment)


def _beside(path: Path, signature: str) -> Path:
    files = [
        each
        for each in sorted(path.parent.glob(f"{signature}*"))
        if each.suffix in SUFFIXES and re.split("[-.]", each.name)[0] == signature
    ]
    if len(files) != 1:
        raise ValueError(
            f"{path} names {signature}, of which {len(files)} files are beside it: put "
            f"one {signature}-….th or {signature}.safetensors there"
        )
    return files[0]


def read_model_file(path: Path) -> Content:
    """Read a file of ``torch.save``, or of safetensors as demucs 4.1 writes them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, not of this family, or quantized by DiffQ.
    """
    if (match := re.fullmatch(r".+-([0-9a-f]{8})\.th", path.name)) is not None:
        if not (digest := sha256(path)).startswith(match[1]):
            raise ValueError(
                f"{path} is damaged or another file: its SHA-256 should begin with "
                f"{match[1]}, and begins with {digest[:8]}: fetch it again"
            )
    reader = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    try:
        content = reader(path)
        positional = dict(zip(POSITIONS, content["args"]))
        if len(content["args"]) > len(POSITIONS):
            raise ValueError(f"it has more than {len(POSITIONS)} unnamed arguments")
        arguments = positional | content["kwargs"]
        kind = content["klass"].rpartition(".")[2]
        if kind not in SEGMENTS:
            raise ValueError(f"it is a {kind}, not a {' or '.join(SEGMENTS)}")
        if "__quantized" in content["state"] or content.get("structure"):
            raise ValueError("it is quantized by DiffQ: take a model that is not")
        segment = arguments.get("segment", SEGMENTS[kind])
        if not isinstance(segment, int | float | Fraction) or not 0 < segment <= 3600:
            raise ValueError(f"its segment is {str(segment)[:40]} s")
    except DAMAGE as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} cannot be imported: {error}") from error
    return Content(kind, arguments, state_of(content["state"]), Fraction(segment))


def _read_torch(path: Path) -> dict[str, Any]:
    content = read_torch_file(path)
    if not isinstance(content, dict) or "klass" not in content:
        state = state_of(content)  # alone: arguments are the class's own
        kind = "HT" * any(name.startswith("crosstransformer.") for name in state)
        content = {"klass": f"{kind}Demucs" if kind else "HDemucs", "state": state}
    content = {"args": (), "kwargs": {}} | content
    if isinstance(content["klass"], tuple):
        content["klass"] = ".".join(content["klass"])
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    state, texts = read_safetensors(path)
    if "klass" not in texts:
        raise ValueError("its metadata names no class")
    arguments = parse_json(texts.get("kwargs", "{}"), dict, f"{path}: kwargs")
    for name, value in arguments.items():
        if isinstance(value, dict) and value.get("_type") == "fraction":
            arguments[name] = as_fraction(value["numerator"], value["denominator"])
    positional = parse_json(texts.get("args", "[]"), list, f"{path}: args")
    content = {"klass": texts["klass"], "args": positional, "kwargs": arguments}
    return content | {"state": state, "structure": texts.get("structure")}


def is_published(name: str, files: Sequence[Path]) -> bool:
    """Whether files are those of a released model; warn if they are not."""
    if (release := RELEASES.get(name)) is None:
        return False
    digests = list(release.files.values())
    found = [sha256(path)[: len(digests[0])] for path in files]
    if found != digests and name != "htdemucs":  # a name of the family as well
        text = f"{files[0].parent} has not the published files of {name}"
        warnings.warn(text, stacklevel=2)
    return found == digests


def fetch_release(name: str, folder: Path) -> Path:
    """Fetch the files of a released model that a folder lacks; return the folder.

    Raises:
        DownloadError: one cannot be had; the message says how to do so by hand.
    """
    release = RELEASES.find(name)
    folder.mkdir(parents=True, exist_ok=True)
    addresses = "\n".join(f"  {release.place}/{file}" for file in release.files)
    by_hand = (
        "Put these files into a folder, from wherever there is internet:\n"
        f"{addresses}\nand then: sepjax import-weights {name} FOLDER -o DIR"
    )
    fetch_files(release.files, release.place, folder, by_hand)
    return folder
