"""pfnet-research/meta-tasnet: stages of generated separators.

Each stage has the names of the source with the prefix ``stages.<i>.``. A generated
layer has a ``bottleneck`` and, for what it generates, a linear layer whose outputs are
the parameters in row-major order, (out, in / groups, taps) for a convolution and all
gains before all biases for a norm.
"""

import math
import re
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import StateReader, source_names, stacks_of, state_of
from sepjax.models.importers import MUSDB, Package, pick, state_dict_importer
from sepjax.models.meta_tasnet.config import MetaTasNetConfig

SLOPES = {"input": 1, "bottleneck": 2, "skip": 3, "mask": 4}
TAPS = 3  # of the depthwise convolution, where only the product is known
Layers = dict[str, tuple[str, tuple[int, ...]]]
"""Our names of layers -> theirs, and shapes of kernels, or of gains."""
# Terms that no file tells: the published one and others' own look alike.
LICENCE = (
    "of the published weights, trained on MUSDB18: see the project's README; of "
    "others: ask whoever trained them; of the code: MIT"
)


def _read(content: Any) -> Package:
    """The dictionary that the trainer saves, with all of its arguments, or less."""
    state, arguments = state_of(content), content.get("args")
    if not isinstance(arguments, dict):
        return Package(state, licence=LICENCE)
    options = pick(arguments, "layers", "kernel", stride="W")
    stages = arguments.get("stages_num", 1)
    rate = arguments.get("sampling_rate")  # of the first stage; it doubles
    if isinstance(stages, int) and 0 < stages < 9 and isinstance(rate, int):
        options["sample_rate"] = rate * 2 ** (stages - 1)
    names = ("N", "L", "B", "H", "layers", "stack", "filters", "independent_params")
    fields = dict(mels="num_mels", stages="stages_num")
    if not arguments.get("independent_params", False):
        fields |= dict(embedding="E_1", generator_bottleneck="E_2")
    sizes = pick(arguments, *names, "residual_bias", **fields)
    return Package(state, options, sizes, LICENCE)


@state_dict_importer(
    "meta_tasnet",
    source="https://github.com/pfnet-research/meta-tasnet",
    licence="MIT",
    read=_read,
)
def meta_tasnet(
    state: StateReader,
    *,
    layers: int,
    stride: int = 0,
    kernel: int = TAPS,
    sample_rate: int = 0,
    sources: tuple[str, ...] = (),
) -> tuple[Config, dict]:
    """pfnet-research/meta-tasnet, generated or with independent parameters.

    ``layers`` are blocks per stack, ``stride`` is of the first stage's encoder (0: its
    kernel's length), ``kernel`` counts the taps of depthwise convolutions,
    ``sample_rate`` is of the last stage (0: 8 kHz for the first one, doubling). Four
    ``sources`` are drums, bass, other, vocals if they have no names.
    """
    stages = state.count(r"stages\.(\d+)\.")
    first = state.take("stages.0.encoder.filters.0.weight", -1, 1, -1)
    bottleneck = state.take("stages.0.encoder.bottleneck.0.weight", -1, -1, 1)
    latent, inputs, _ = bottleneck.shape
    count, sizes = _sizes(state, latent, kernel)
    filters = state.count(r"stages\.0\.encoder\.filters\.(\d+)\.")
    blocks = state.count(r"stages\.0\.mask\.tcn\.(\d+)\.")
    length, mels = first.shape[-1], inputs - filters * len(first)
    sizes |= dict(N=latent, L=length, W=stride or length, filters=filters, mels=mels)
    sizes |= dict(layers=layers, stack=stacks_of(blocks, layers), kernel=kernel)
    model = MetaTasNetConfig(stages=stages, **sizes)
    usual = MUSDB if count == len(MUSDB) else ()
    names = source_names(sources or usual, count)
    rate = sample_rate or 8000 * 2 ** (stages - 1)
    config = Config(model=model, data=DataConfig(sources=names, sample_rate=rate))
    state.ignore(r"stages\.\d+\.encoder\.spectrogram\.window")

    params = {f"stages_{i}": _stage(state, config, i) for i in range(stages)}
    # An unknown array of the masking network, such as a bias, would change its masks.
    if rest := sorted(n for n in state.rest if re.match(r"stages\.\d+\.mask\.", n)):
        raise ValueError(f"the masking network has no place for {', '.join(rest[:3])}")
    return config, params


def _sizes(state: StateReader, latent: int, taps: int) -> tuple[int, dict]:
    """Number of instruments, and fields of the masking network."""
    mask, block = "stages.0.mask.", "stages.0.mask.tcn.0."
    name = "stages.0.instrument_embedding.weight"
    if name not in state:
        gains = state.take(f"{mask}norm_1.group_norm.weight", -1)
        output = state.take(f"{mask}mask_output.conv.weight", -1, -1, 1)
        residual = state.take(f"{block}res_out.conv.weight", -1, -1, 1)
        fields = dict(B=output.shape[1], H=residual.shape[1], independent_params=True)
        bias = f"{block}res_out.conv.bias" in state
        return len(gains) // latent, fields | {"residual_bias": bias}
    embedding = state.take(name, -1, -1)
    bottleneck = state.take(f"{mask}in_conv.bottleneck.weight", -1, embedding.shape[1])
    return len(embedding), dict(
        B=len(state.take(f"{mask}in_conv.kernel.bias", -1)) // latent,
        H=len(state.take(f"{block}dconv1d.kernel.bias", -1)) // taps,
        residual_bias=f"{block}res_out.bias.weight" in state,
        embedding=embedding.shape[1],
        generator_bottleneck=len(bottleneck),
    )


def _stage(state: StateReader, config: Config, index: int) -> dict:
    """Parameters of a stage, whose latent and kernels are twice those before it."""
    prefix, factor, sizes = f"stages.{index}.", 2**index, config.model
    latent, length, layers = sizes.N * factor, sizes.L * factor, range(sizes.filters)

    def bank(name: str, filters: int, layer: int) -> dict:
        name, shape = f"{prefix}{name}.filters.{layer}.weight", (filters, 1)
        return {"kernel": state.take(name, *shape, length << layer)[:, 0].T}

    def dense(name: str, width: int, inputs: int) -> dict:
        weight = state.take(f"{prefix}{name}.weight", width, inputs, 1)
        return {"kernel": weight[..., 0].T}

    names = dict(mean="mean", std="std", bias="affine_bias", scale="affine_scale")
    rate = config.data.sample_rate // 2 ** (sizes.stages - 1)  # of the first stage
    bins = 512 * max(rate // 8000, 1) * factor + 1
    place, mel = "encoder.spectrogram", "encoder.spectrogram.mel_transform"
    branch: dict = {
        ours: state.take(f"{prefix}{place}.{theirs}", 1, bins, 1).reshape(bins)
        for ours, theirs in names.items()
    }
    bias = {"bias": state.take(f"{prefix}{mel}.bias", sizes.mels)}
    branch["mel"] = dense(mel, sizes.mels, bins) | bias
    inputs = sizes.filters * (latent // 4) + sizes.mels
    encoder = {f"convolutions_{l}": bank("encoder", latent // 4, l) for l in layers}
    encoder["filterbanks_0"] = branch
    encoder["bottleneck_1"] = dense("encoder.bottleneck.0", latent, inputs)
    encoder["bottleneck_2"] = dense("encoder.bottleneck.2", latent, latent)
    widths = [latent >> (layer + 1) for layer in layers]
    decoder = {f"banks_{l}": bank("decoder", widths[l], l) for l in layers}
    # A transposed convolution has its inputs first, as a dense kernel of ours.
    kernel = dense("decoder.bottleneck.0", latent, sum(widths))["kernel"].T
    decoder["bottleneck"] = {"kernel": kernel}
    heard = latent + (latent // 2 if index else 0)
    separator = _separator(state, config, prefix, latent, heard)
    return {"encoder": encoder, "decoder": decoder, "separator": separator}


def _separator(
    state: StateReader, config: Config, prefix: str, latent: int, inputs: int
) -> dict:
    sizes, own = config.model, f"{prefix}mask."
    wide, hidden, blocks = sizes.B, sizes.H, sizes.layers * sizes.stack
    ends = {
        "input_norm": ("norm_1", (inputs,)),
        "input": ("in_conv", (wide, inputs, 1)),
        "bottleneck_norm": ("norm_2", (wide,)),
        "skip_norm": ("norm_3", (wide,)),
        "mask": ("mask_output", (latent, wide, 1)),
        "mask_norm": ("norm_4", (latent,)),
    }
    block = {
        "input": ("conv1d", (hidden, wide, 1)),
        "norm_1": ("norm_1", (hidden,)),
        "depthwise": ("dconv1d", (hidden, 1, sizes.kernel)),
        "norm_2": ("norm_2", (hidden,)),
        "residual": ("res_out", (wide, hidden, 1)),
        "skip": ("skip_out", (wide, hidden, 1)),
    }
    read = _independent if sizes.independent_params else _generated
    trees = [read(state, config, f"{own}tcn.{i}.", block) for i in range(blocks)]
    separator = {
        "ends": read(state, config, own, ends),
        "blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *trees),
        "slopes": _slopes(state, own, blocks),
    }
    if not sizes.independent_params:
        name = f"{prefix}instrument_embedding.weight"
        rows = state.take(name, len(config.data.sources), sizes.embedding)
        separator["embedding"] = dict(zip(config.data.sources, rows))
    return separator


def _slopes(state: StateReader, own: str, blocks: int) -> dict:
    def slope(place: str, number: int) -> np.ndarray:
        return state.take(f"{own}{place}prelu_{number}.weight", 1).reshape(())

    slopes = {name: slope("", number) for name, number in SLOPES.items()}
    for k in (1, 2):
        inner = [slope(f"tcn.{block}.", k) for block in range(blocks)]
        slopes[f"prelu_{k}"] = np.stack(inner)
    return slopes


def _generated(state: StateReader, config: Config, prefix: str, layers: Layers) -> dict:
    """The generator of layers, as :func:`sepjax.functional.generation` holds it."""
    size, described = config.model.generator_bottleneck, config.model.embedding
    params: dict = {"bottleneck": {}, "kernel": {}, "bias": {}}
    for layer, (name, shape) in layers.items():
        name = prefix + name
        params["bottleneck"][layer] = {
            "kernel": state.take(f"{name}.bottleneck.weight", size, described).T,
            "bias": state.take(f"{name}.bottleneck.bias", size),
        }
        part, count = f"{name}.kernel", math.prod(shape)
        if len(shape) == 1:
            part, count = f"{name}.affine", 2 * count
        kernel = _layer(state.take(f"{part}.weight", count, size).T, shape)
        offset = _layer(state.take(f"{part}.bias", count), shape)
        if config.model.residual_bias and layer in ("residual", "skip"):
            kernel["bias"] = state.take(f"{name}.bias.weight", shape[0], size).T
            offset["bias"] = state.take(f"{name}.bias.bias", shape[0])
        params["kernel"][layer], params["bias"][layer] = kernel, offset
    return params


def _layer(flat: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Parameters of a layer from numbers in the source's order, along the last axis."""
    if len(shape) == 1:
        gain, bias = np.split(flat, 2, axis=-1)
        return {"gain": gain, "bias": bias}
    kernel = flat.reshape(*flat.shape[:-1], *shape)
    # A depthwise kernel has one input, a 1x1 kernel has one tap: either goes.
    kernel = kernel[..., 0, :] if shape[1] == 1 else kernel[..., 0]
    return {"kernel": np.swapaxes(kernel, -1, -2)}


def _independent(
    state: StateReader, config: Config, prefix: str, layers: Layers
) -> dict:
    """Grouped layers of the source, one group (of norms, eight) per instrument."""
    count, params = len(config.data.sources), {}

    def take(name: str, width: int, *rest: int) -> np.ndarray:
        return state.take(prefix + name, count * width, *rest).reshape(count, -1)

    for layer, (name, shape) in layers.items():
        if len(shape) == 1:
            gain, bias = (f"{name}.group_norm.{part}" for part in ("weight", "bias"))
            params[layer] = {"gain": take(gain, *shape), "bias": take(bias, *shape)}
            continue
        params[layer] = _layer(take(f"{name}.conv.weight", *shape), shape)
        if config.model.residual_bias and layer in ("residual", "skip"):
            params[layer]["bias"] = take(f"{name}.conv.bias", shape[0])
    return {"independent": params}
