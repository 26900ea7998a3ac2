"""Importer of RoFormers: what arrays tell is read from them, the rest from YAML.

Public checkpoints have the form of ZFTurbo/Music-Source-Separation-Training; that of
lucidrains/BS-RoFormer 1.2 is read as well, where it has one residual stream.
"""

import re
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import StateReader, source_names
from sepjax.models.importers import state_dict_importer
from sepjax.models.roformer.config import KINDS, RoformerConfig
from sepjax.models.roformer.weights_files import read_files

MIXES = {"first": "to_value_residual_mix", "crossed": "learned_value_residual_mix.0"}
Tree = dict[str, Any]


@state_dict_importer(
    "roformer",
    source="https://github.com/ZFTurbo/Music-Source-Separation-Training",
    licence="MIT",
    files=read_files,
    separate={"normalize": False, "rescale": False},
)
def roformer(
    state: StateReader,
    *,
    hop: int,
    n_fft: int = 0,
    window: int = 0,
    heard: tuple[str, ...] = (),
    audio_channels: int = 2,
    sources: tuple[str, ...] = (),
    sample_rate: int = 44100,
    zero_dc: str = "auto",
    skip: bool = False,
) -> tuple[Config, dict]:
    """Import a RoFormer; whether it has mel bands, its arrays tell.

    Args:
        state: its arrays.
        hop: samples between frames.
        n_fft: samples of a frame; 0: as many as the bands fill, or 2048 of mel bands.
        window: samples of the window; 0: ``n_fft``.
        heard: first bin and the one after the last; none: all of them.
        audio_channels: 1 or 2.
        sources: names of the stems in their order; one more is what the stems leave.
        sample_rate: Hz; mel bands depend on it.
        zero_dc: "true", "false", or "auto": as the code does by default.
        skip: whether blocks hear the sum of all before them.
    """
    if any(".static_alpha" in name for name in state.arrays):
        raise ValueError(
            "it has several residual streams (hyper-connections): only models of "
            "num_residual_streams=1 can be imported"
        )
    width, sizes, split = _split(state)
    newer = state.has("layers.0.0.layers.0.0.branch.")
    if zero_dc not in (known := {"auto": not newer, "true": True, "false": False}):
        raise ValueError(f"zero_dc={zero_dc!r} must be one of {', '.join(known)}")
    given = {n for n, key in MIXES.items() for name in state.arrays if key in name}
    values = next(iter(given), "own")
    masks, stems = _masks(state, width, sizes)
    params = {"split": split, "masks": masks, **_transformers(state, width, values)}
    form = dict(hop=hop, window=window, audio_channels=audio_channels, skip=skip)
    form |= dict(zero_dc=known[zero_dc], values=values) | _sizes(params, width)
    if "final_norm.gamma" in state:
        params["norm"] = state.take("final_norm.gamma", width)
        form |= dict(norms="network", **_bands(sizes, audio_channels, n_fft, heard))
    else:
        form |= dict(n_fft=n_fft or 2048, mel_bands=len(sizes))
    difference = len(sources) == stems + 1
    data = DataConfig(
        sources=source_names(sources, stems + difference), sample_rate=sample_rate
    )
    config = Config(model=RoformerConfig(**form, difference=difference), data=data)
    _check_bands(config, sizes)
    return config, {"network": params}


def _split(state: StateReader) -> tuple[int, list[int], Tree]:
    """Channels, numbers of each band, and the parameters of the first layers."""
    place, parts = "band_split.to_features", []
    for band in range(state.count(r"band_split\.to_features\.(\d+)\.")):
        weight = state.take(f"{place}.{band}.1.weight", -1, -1)
        bias = state.take(f"{place}.{band}.1.bias", len(weight))
        gain = state.take(f"{place}.{band}.0.gamma", weight.shape[1])
        parts.append((gain, weight.T, bias))
    if len({rows.shape[1] for _, rows, _ in parts}) != 1:
        raise ValueError(
            f"it has no {place}, or bands of other channels: is it of another family?"
        )
    gains, rows, biases = zip(*parts)
    split = {"gain": np.concatenate(gains), "rows": np.concatenate(rows)}
    sizes = [len(gain) for gain in gains]
    return rows[0].shape[1], sizes, split | {"bias": np.stack(biases)}


def _masks(state: StateReader, width: int, sizes: list[int]) -> tuple[Tree, int]:
    """Parameters of the masks' networks, and how many sources have them."""
    stems = state.count(r"mask_estimators\.(\d+)\.")
    layers = state.count(r"mask_estimators\.0\.to_freqs\.0\.0\.(\d+)\.") // 2
    first = "mask_estimators.0.to_freqs.0.0.0.weight"
    hidden = [len(state.take(first, -1, width))] * layers if layers else []

    def layer(stem: int, band: int, index: int, outputs: int, inputs: int) -> Tree:
        place = f"mask_estimators.{stem}.to_freqs.{band}.0.{2 * index}"
        weight = state.take(f"{place}.weight", outputs, inputs)
        return {"kernel": weight.T, "bias": state.take(f"{place}.bias", outputs)}

    def source(stem: int) -> Tree:
        tree, rows, biases = {}, [], []
        widths = [width, *hidden]
        for index, form in enumerate(zip(hidden, widths)):
            bands = [layer(stem, band, index, *form) for band in range(len(sizes))]
            tree[f"hidden_{index}"] = stack(bands)
        for band, size in enumerate(sizes):
            last = layer(stem, band, layers, 2 * size, widths[-1])
            rows.append(last["kernel"].T.reshape(2, size, -1).swapaxes(0, 1))
            biases.append(last["bias"].reshape(2, size).T)
        output = {"rows": np.concatenate(rows), "bias": np.concatenate(biases)}
        return tree | {"output": output}

    return stack([source(stem) for stem in range(stems)]), stems


def _transformers(state: StateReader, width: int, values: str) -> Tree:
    """Parameters of all blocks, and of what mixes values with those of the first."""
    blocks = state.count(r"layers\.(\d+)\.")
    if (parts := state.count(r"layers\.0\.(\d+)\.")) not in (2, 3):
        raise ValueError(f"a block has {parts} transformers, not 2 or 3")
    kinds = KINDS[-parts:]
    params: Tree = {"blocks": {}} | ({"mix": {}} if values != "own" else {})
    for part, kind in enumerate(kinds):
        places = [f"layers.{block}.{part}." for block in range(blocks)]
        params["blocks"][kind] = stack([_transformer(state, p, width) for p in places])
        if values != "own":
            name = f"branch.{MIXES[values]}"
            layers = [_places(state, place) for place in places[1:]]
            mixes = [[_dense(state, f"{n}0.{name}", width) for n in p] for p in layers]
            params["mix"][kind] = stack([stack(mix) for mix in mixes])
    return params


def _places(state: StateReader, place: str) -> list[str]:
    count = state.count(rf"{re.escape(place)}layers\.(\d+)\.")
    return [f"{place}layers.{layer}." for layer in range(count)]


def _transformer(state: StateReader, place: str, width: int) -> Tree:
    layers = []
    for layer in _places(state, place):
        branch = "branch." if state.has(f"{layer}0.branch.") else ""
        wide = f"{layer}1.{branch}net"
        inner = _dense(state, f"{wide}.1", width)
        feed = {"gain": state.take(f"{wide}.0.gamma", width), "inner": inner}
        feed["outer"] = _dense(state, f"{wide}.4", len(inner["bias"]), width)
        heads = _attention(state, f"{layer}0.{branch}", width)
        layers.append({"attention": heads, "feed_forward": feed})
    norm = f"{place}norm.gamma"
    own = {"norm": state.take(norm, width)} if norm in state else {}
    return stack(layers) | own


def _attention(state: StateReader, place: str, width: int) -> Tree:
    """Parameters of attention; pairs that turn are made halves of a head."""
    tree: Tree = {"gain": state.take(f"{place}norm.gamma", width)}
    linear = f"{place}temperature" in state
    if linear:
        tree["temperature"] = state.take(f"{place}temperature", -1, 1, 1).ravel()
        heads = len(tree["temperature"])
    else:
        tree["gates"] = _dense(state, f"{place}to_gates", width)
        heads = len(tree["gates"]["bias"])
    name = f"{place}to_qkv.0.weight" if linear else f"{place}to_qkv.weight"
    weight = state.take(name, -1, width)
    if len(weight) % (6 * heads):
        raise ValueError(f"'{name}' has {len(weight)} rows for {heads} heads")
    kernel = weight.T.reshape(width, 3, heads, -1)
    if not linear:
        _check_turns(state, f"{place}rotary_embed.freqs", kernel.shape[-1])
        turned = [kernel[:, :2, :, 0::2], kernel[:, :2, :, 1::2]]
        kernel = np.concatenate([np.concatenate(turned, -1), kernel[:, 2:]], 1)
    tree["qkv"] = {"kernel": kernel.reshape(width, -1)}
    output = state.take(f"{place}to_out.{int(linear)}.weight", width, len(weight) // 3)
    return tree | {"output": {"kernel": output.T}}


def _check_turns(state: StateReader, name: str, channels: int) -> None:
    """Refuse other frequencies than ours; those of 16 bits are rounded."""
    if name in state:
        found, narrow = state.take(name, channels // 2), state.arrays[name].itemsize < 4
        ours = 10000.0 ** (-2 * np.arange(channels // 2) / channels)
        if not np.allclose(found, ours, rtol=1e-2 if narrow else 1e-4, atol=1e-7):
            raise ValueError(f"'{name}' has other frequencies than 10000^(-2i/d)")


def _dense(state: StateReader, place: str, inputs: int, outputs: int = -1) -> Tree:
    weight = state.take(f"{place}.weight", outputs, inputs)
    bias = state.take(f"{place}.bias", len(weight))
    return {"kernel": weight.T, "bias": bias}


def stack(trees: list[Tree]) -> Tree:
    """Stack trees of arrays along a new first axis.

    Raises:
        ValueError: there is none, or their sizes differ.

    Example:
        >>> stack([{"bias": np.zeros(3)}] * 2)["bias"].shape
        (2, 3)
    """
    try:
        return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"layers that belong together are none, or of other sizes: {error}"
        ) from error


def _sizes(params: Tree, width: int) -> dict[str, Any]:
    """Fields of the configuration that arrays show."""
    time = params["blocks"]["time"]["attention"]
    blocks, layers, inner, _ = time["output"]["kernel"].shape
    heads = time["gates"]["bias"].shape[-1]
    sizes = dict(blocks=blocks, heads=heads, head_channels=inner // heads)
    sizes["time_layers"] = layers
    for kind in {"linear", "frequency"} & set(params["blocks"]):
        gain = params["blocks"][kind]["attention"]["gain"]
        sizes[f"{kind}_layers"] = gain.shape[1]
    if "hidden_0" in params["masks"]:
        hidden = params["masks"]["hidden_0"]["bias"].shape[-1]
        sizes["mask_expansion"] = hidden // width
    return sizes | dict(channels=width, mask_layers=len(params["masks"]))


def _bands(
    sizes: list[int], channels: int, n_fft: int, heard: tuple[str, ...]
) -> dict[str, Any]:
    """Bins of bands that lie side by side, and the frame that has them."""
    if channels not in (1, 2):
        raise ValueError(f"audio_channels={channels} must be 1 or 2")
    bands = tuple(size // (2 * channels) for size in sizes)
    n_fft = n_fft or 2 * sum(bands) - 2
    return dict(n_fft=n_fft, bands=bands, heard=tuple(map(int, heard)))


def _check_bands(config: Config, sizes: list[int]) -> None:
    """Refuse bands of other sizes than the configuration has."""
    model, rate = config.model, config.data.sample_rate
    if problem := next(iter(model.problems(config)), ""):
        raise ValueError(problem)
    ours = [2 * model.audio_channels * len(bins) for bins in model.band_bins(rate)]
    if ours != sizes:
        raise ValueError(
            f"its bands have {sizes[:4]} ... numbers, {sum(sizes)} in all, but those "
            f"of audio_channels={model.audio_channels}, n_fft={model.n_fft} and "
            f"sample_rate={rate} have {ours[:4]} ..., {sum(ours)}: give what is right "
            "with --option"
        )
