"""State dicts of SCNet, of its authors and of the training toolkit, as a model."""

import functools
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.config.rules import validate
from sepjax.foreign.state_dict import StateReader, read_lstm, source_names
from sepjax.models.importers import state_dict_importer
from sepjax.models.roformer.weights import Tree, stack
from sepjax.models.scnet.config import ScnetConfig
from sepjax.models.scnet.model import AXES, network_parts

PATHS = "separation_net.dp_modules"
LEAVES = {"kernel": "weight", "gain": "weight"}
BRANCH = {"norm1": "0", "conv": "1", "depthwise": "3", "norm2": "4", "output": "6"}


@state_dict_importer(
    "scnet",
    source="https://github.com/starrytong/SCNet",
    licence="MIT",
    separate={"normalize": False, "rescale": False},
)
def scnet(
    state: StateReader,
    *,
    standardize: bool,
    n_fft: int = 4096,
    hop: int = 1024,
    shares: tuple[str, ...] = ("0.175", "0.392", "0.433"),
    sources: tuple[str, ...] = (),
    sample_rate: int = 44100,
) -> tuple[Config, dict]:
    """Import SCNet; sizes are read from arrays, other fields are options.

    Args:
        state: its arrays.
        standardize: as the authors' code does since 24 September 2024, and that of the
            training toolkit does not.
        n_fft: samples of a frame.
        hop: samples between frames.
        shares: of the bins, for each band.
        sources: names of the stems in their order.
        sample_rate: Hz.
    """
    sizes = _sizes(state) | dict(shares=tuple(map(float, shares)))
    form = dict(n_fft=n_fft, hop=hop, standardize=standardize)
    config = Config(model=ScnetConfig(**sizes, **form))
    model, last = config.model, len(sizes["channels"]) - 1
    outputs = len(state.take(f"decoder.{last}.1.convtrs.0.bias", -1))
    names = source_names(sources, outputs // max(2 * model.audio_channels, 1))
    config.data = DataConfig(sources=names, sample_rate=sample_rate)
    validate(config)
    return config, _parameters(state, model, len(names))


def _sizes(state: StateReader) -> dict[str, Any]:
    """Fields that arrays show."""
    layers = range(state.count(r"encoder\.(\d+)\.") or 1)
    joins = [state.take(f"encoder.{n}.globalconv.bias", -1) for n in layers]
    bands = range(state.count(r"encoder\.0\.SDlayer\.convs\.(\d+)\.") or 1)
    weights = [f"encoder.0.SDlayer.convs.{band}.weight" for band in bands]
    shapes = [state.take(weight, -1, -1, -1, 1).shape for weight in weights]
    place, counted = "encoder.0.conv_modules.0.layers.0.", r"encoder\.0\.conv_modules\."
    width, hidden, _ = state.take(f"{place}6.weight", -1, -1, 1).shape
    states = state.take(f"{PATHS}.0.lstm_layers.0.weight_hh_l0", -1, -1)
    return {
        "audio_channels": shapes[0][1] // 2,
        "channels": tuple(map(len, joins)),
        "kernels": tuple(shape[2] for shape in shapes),
        "depths": tuple(state.count(rf"{counted}{b}\.layers\.(\d+)\.") for b in bands),
        "compress": width // hidden,
        "branch_kernel": state.take(f"{place}1.weight", -1, -1, -1).shape[2],
        "dual_paths": state.count(r"separation_net\.dp_modules\.(\d+)\."),
        "expand": states.shape[1] // len(joins[-1]),
    }


def _parameters(state: StateReader, model: ScnetConfig, sources: int) -> Tree:
    """All arrays; decoders are counted from the inside in the source."""
    key, count, params = jax.eval_shape(jax.random.key, 0), len(model.channels), Tree()
    parts, bands = network_parts(model, sources), range(len(model.kernels))
    drawn = {name: jax.eval_shape(draw, key) for name, draw in parts.items()}
    one = functools.partial(
        jax.tree.map, lambda leaf: leaf.update(shape=leaf.shape[1:])
    )
    encoder = {f"band_{b}": f"SDlayer.convs.{b}" for b in bands}
    decoder = {f"band_{b}": f"1.convtrs.{b}" for b in bands} | {"mix": "0.conv"}
    branches = [f"{b}.layers.{m}" for b in bands for m in range(model.depths[b])]
    for n in range(count):
        part, place = drawn[f"encoder_{n}"], f"encoder.{n}."
        form = one(part["residuals"]), BRANCH
        rows = [_read(state, f"{place}conv_modules.{b}.", *form) for b in branches]
        own = _read(state, place, part, encoder | {"join": "globalconv"})
        params[f"encoder_{n}"] = own | {"residuals": stack(rows)}
        place, part = f"decoder.{count - 1 - n}.", drawn[f"decoder_{n}"]
        params[f"decoder_{n}"] = _read(state, place, part, decoder)
    pair, pairs = one(drawn["pairs"]), range(0, model.dual_paths, 2)
    params["pairs"] = stack([_pair(state, n, pair) for n in pairs])
    return params


def _pair(state: StateReader, first: int, shapes: Tree) -> Tree:
    pair = {name: dict[str, Any]() for name in shapes}
    for n, (name, path) in enumerate(shapes.items(), first):
        for k, axis in enumerate(AXES):
            part, place = path[axis], f"{PATHS}.{n}."
            names = {each: f"{each}_layers.{k}" for each in ("norm", "linear")}
            form = dict(inputs=part["norm"]["gain"].shape[0])
            form["hidden"] = part["linear"]["kernel"].shape[0] // 2
            recurrent = read_lstm(state, f"{place}lstm_layers.{k}.", 0, **form)
            pair[name][axis] = _read(state, place, part, names) | {"lstm": recurrent}
    return pair


def _read(state: StateReader, place: str, shapes: Tree, names: dict[str, str]) -> Tree:
    """Layers, each of a kernel or gain and a bias; ``names`` are ours -> theirs."""
    return {
        ours: {
            leaf: _array(state, f"{place}{theirs}.{LEAVES.get(leaf, leaf)}", each.shape)
            for leaf, each in shapes[ours].items()
        }
        for ours, theirs in names.items()
    }


def _array(state: StateReader, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array with channels last, and without the axes of a single tap."""
    array = state.take(key, *(-1,) * np.ndim(state.arrays.get(key, 0)))
    transposed = "convtrs" in key and array.ndim > 1
    turned = (array.swapaxes(0, 1) if transposed else array).T
    if [size for size in turned.shape if size > 1] != [n for n in shape if n > 1]:
        raise ValueError(
            f"'{key}' has shape {array.shape}, which does not give the {shape} that "
            "follows from other arrays"
        )
    return turned.reshape(shape)
