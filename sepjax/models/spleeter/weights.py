"""Importer of Spleeter: deezer/spleeter, checkpoints of TensorFlow.

Each instrument has a U-Net; arrays of all instruments lie along a leading axis.
"""

import functools
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import BATCH_STATS, StateReader, source_names
from sepjax.foreign.tensorflow_checkpoint import checkpoint_tensors
from sepjax.models.importers import (
    IMPORTERS,
    UNKNOWN,
    Imported,
    from_state_dict,
    make_facts,
)
from sepjax.models.releases import RELEASES
from sepjax.models.spleeter.config import SpleeterConfig
from sepjax.models.spleeter.releases import INDEX, PREFIX
from sepjax.models.spleeter.weights_files import fetch_release, read_checkpoint_files
from sepjax.registry import nearest
from sepjax.storage import sha256

SOURCE = "https://github.com/deezer/spleeter"
LAYERS = 6  # of an encoder, and of a decoder
NORM = {"gain": "gamma", "bias": "beta"}
STATISTICS = {"mean": "moving_mean", "var": "moving_variance"}
"""Ours -> those of Keras."""


def spleeter(
    state: StateReader,
    *,
    name: str = "",
    sources: tuple[str, ...] = (),
    padded: bool = True,
    bins: int = 0,
) -> tuple[Config, dict]:
    """Import the networks of all instruments; options as :func:`import_checkpoint`."""
    count, odd = divmod(state.count(r"conv2d_(\d+)/kernel"), LAYERS + 1)
    if odd or not count:
        raise ValueError(
            f"its {LAYERS + 1} convolutions for each instrument are not there: is it "
            "of another family?"
        )
    name = name or f"{count}stems"
    if (release := RELEASES.get(PREFIX + name)) is None:
        known = [each.removeprefix(PREFIX) for each in RELEASES if PREFIX in each]
        raise ValueError(
            f"there is no {name!r}: give the one whose configuration it has with "
            f"--option name=...: {nearest(name, known)}"
        )
    names = source_names(sources or release.sources, count)
    networks = [_network(state, number) for number in range(count)]
    channels, *filters = networks[0][1]
    if wrong := [sizes for _, sizes in networks if sizes != networks[0][1]]:
        raise ValueError(
            f"channels of instruments differ: {networks[0][1]}, {wrong[0]}"
        )
    state.ignore(r"global_step|beta[12]_power|.*/Adam(_1)?|batch_normalization.*")
    fields = dict(release.model) | ({"bins": bins} if bins else {})
    form = dict(audio_channels=channels, filters=tuple(filters), padded=padded)
    model = SpleeterConfig(**form, **fields)
    data = DataConfig(sources=names, sample_rate=44100)
    trees = [tree for tree, _ in networks]
    return Config(model=model, data=data), jax.tree.map(lambda *a: np.stack(a), *trees)


def _network(state: StateReader, number: int) -> tuple[dict[str, Any], list[int]]:
    """Arrays of an instrument, and its channels: of the input, of each layer."""
    tree: dict[str, Any] = {BATCH_STATS: {}}
    first, norms = (LAYERS + 1) * number, 2 * LAYERS * number

    def convolution(layer: str, theirs: str, *shape: int) -> np.ndarray:
        kernel = state.take(f"{theirs}/kernel", *shape)
        if "transpose" in theirs:  # (5, 5, out, in)
            kernel = kernel.transpose(3, 0, 1, 2)
        bias = state.take(f"{theirs}/bias", kernel.shape[-1])
        tree[layer] = {"kernel": kernel, "bias": bias}
        return kernel

    def norm(layer: str, index: int, width: int) -> None:
        place = _numbered("batch_normalization", norms + index)
        for part, names in ((tree, NORM), (tree[BATCH_STATS], STATISTICS)):
            arrays = {n: state.take(f"{place}/{m}", width) for n, m in names.items()}
            part[layer] = arrays

    theirs = _numbered("conv2d", first)
    sizes = [state.take(f"{theirs}/kernel", 5, 5, -1, -1).shape[2]]
    for n in range(1, LAYERS + 1):
        theirs = _numbered("conv2d", first + n - 1)
        kernel = convolution(f"encoder_{n}", theirs, 5, 5, sizes[-1], -1)
        sizes.append(kernel.shape[3])
        if n < LAYERS:  # nothing uses the last one
            norm(f"encoder_norm_{n}", n - 1, sizes[-1])
    inputs = sizes[-1]
    for n, width in enumerate([*sizes[-2:0:-1], 1], 1):
        theirs = _numbered("conv2d_transpose", LAYERS * number + n - 1)
        convolution(f"decoder_{n}", theirs, 5, 5, width, inputs)
        norm(f"decoder_norm_{n}", LAYERS + n - 1, width)
        inputs = 2 * width  # with what skips
    theirs = _numbered("conv2d", first + LAYERS)
    convolution("head", theirs, 4, 4, 1, sizes[0])
    return tree, sizes


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def import_checkpoint(
    released: str,
    paths: Sequence[Path],
    *,
    name: str = "",
    sources: tuple[str, ...] = (),
    padded: bool = True,
    bins: int = 0,
    download: bool = False,
) -> Imported:
    """Import a checkpoint: a released model, or one that was trained further.

    Args:
        released: its name, as ``2stems`` or ``2stems-16kHz``; else empty.
        paths: one, as :func:`~.weights_files.read_checkpoint_files` reads it.
        name: the released model whose configuration it has; by default that of as many
            instruments.
        sources: names of the instruments, in their order.
        padded: a window of zeros goes before a song, as in the package since 1.5.4.
        bins: that the networks hear, a multiple of 64; 0: as the name says.
        download: fetch the released model into the folder.

    Raises:
        OSError: a file cannot be read, or fetched: the message tells what to fetch by
            hand.
        ValueError: a file is damaged, or has not the arrays of such a model.
        KeyError: an array is missing.
    """
    name = name or released
    if len(paths) != 1:
        raise ValueError(f"{len(paths)} files are given, but this family has one")
    path = fetch_release(name, paths[0]) if download else paths[0]
    files = read_checkpoint_files(path)
    options = dict(name=name, sources=sources, padded=padded, bins=bins)
    arrays = checkpoint_tensors(files, str(path))
    config, params = from_state_dict(arrays, family="spleeter", **options)
    name = name or f"{len(config.data.sources)}stems"
    digests = {n: hashlib.sha256(files[n]).hexdigest() for n in sorted(files)}
    published = _is_published(path, name, digests)
    facts = make_facts(
        *(PREFIX + name if published else "spleeter", []),
        source=SOURCE,
        licence="MIT, code and weights" if published else UNKNOWN + "MIT",
        files=[{"name": n, "sha256": digest} for n, digest in digests.items()],
        published=published,
        options={"padded": padded, "bins": config.model.bins},
        separate={"normalize": False, "rescale": False},
    )
    return Imported(config, params, facts)


def _is_published(path: Path, name: str, digests: Mapping[str, str]) -> bool:
    """Whether files are those of a released model; warn if they are not."""
    files = RELEASES[PREFIX + name].files
    whole = path.is_file() and sha256(path) in files.values()
    known = whole or digests.items() <= files.items()
    if not known:
        text = f"{path} has not the published files of {name}"
        if INDEX not in files:
            text += ", or nothing tells: of those the archive's hash alone is known"
        warnings.warn(text, stacklevel=2)
    return known


for _name in ("spleeter", *(each for each in RELEASES if PREFIX in each)):
    _importer = functools.partial(import_checkpoint, _name.partition(":")[2])
    IMPORTERS.register(_name)(_importer)
IMPORTERS["spleeter"].convert = spleeter
