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
from sepjax.models.importers import Package, pick, state_dict_importer
from sepjax.models.meta_tasnet.config import MetaTasNetConfig

SOURCES = ("drums", "bass", "other", "vocals")
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

    Args:
        state: its arrays.
        layers: blocks per stack.
        stride: of the first stage's encoder, samples; 0: its kernel's length.
        kernel: taps of the depthwise convolutions.
        sample_rate: of the last stage, Hz; 0: 8 kHz for the first one, doubling.
        sources: names of the classes; drums, bass, other, vocals if there are four.
    """
    stages = state.count(r"stages\.(\d+)\.")
    first = state.take("stages.0.encoder.filters.0.weight", -1, 1, -1)
    bottleneck = state.take("stages.0.encoder.bottleneck.0.weight", -1, -1, 1)
    latent, inputs, _ = bottleneck.shape
    count, sizes = _sizes(state, latent, kernel)
    filters = state.count(r"stages\.0\.encoder\.filters\.(\d+)\.")
    blocks = state.count(r"stages\.0\.mask\.tcn\.(\d+)\.")
    model = MetaTasNetConfig(
        stages=stages,
        N=latent,
        L=first.shape[-1],
        W=stride or first.shape[-1],
        filters=filters,
        mels=inputs - filters * len(first),
        kernel=kernel,
        layers=layers,
        stack=stacks_of(blocks, layers),
        **sizes,
    )
    names = source_names(sources or SOURCES[: 4 if count == 4 else 0], count)
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
    prefix, factor = f"stages.{index}.", 2**index
    latent = config.model.N * factor
    context = latent // 2 if index else 0
    return {
        "encoder": _encoder(state, config, prefix, factor),
        "decoder": _decoder(state, config, prefix, factor),
        "separator": _separator(state, config, prefix, latent, latent + context),
    }


def _encoder(state: StateReader, config: Config, prefix: str, factor: int) -> dict:
    sizes, own = config.model, f"{prefix}encoder."
    latent, length = sizes.N * factor, sizes.L * factor
    rate = config.data.sample_rate // 2 ** (sizes.stages - 1)  # of the first stage
    bins = 512 * max(rate // 8000, 1) * factor + 1
    names = dict(mean="mean", std="std", bias="affine_bias", scale="affine_scale")
    branch: dict = {
        ours: state.take(f"{own}spectrogram.{theirs}", 1, bins, 1).reshape(bins)
        for ours, theirs in names.items()
    }
    mel = f"{own}spectrogram.mel_transform."
    branch["mel"] = _dense(state, f"{mel}weight", sizes.mels, bins)
    branch["mel"]["bias"] = state.take(f"{mel}bias", sizes.mels)
    inputs = sizes.filters * (latent // 4) + sizes.mels
    return {
        f"convolutions_{l}": _bank(state, f"{own}filters.{l}", latent // 4, length << l)
        for l in range(sizes.filters)
    } | {
        "filterbanks_0": branch,
        "bottleneck_1": _dense(state, f"{own}bottleneck.0.weight", latent, inputs),
        "bottleneck_2": _dense(state, f"{own}bottleneck.2.weight", latent, latent),
    }


def _decoder(state: StateReader, config: Config, prefix: str, factor: int) -> dict:
    latent, length = config.model.N * factor, config.model.L * factor
    own = f"{prefix}decoder."
    widths = [latent >> (layer + 1) for layer in range(config.model.filters)]
    # A transposed convolution has its inputs first, as a dense kernel of ours.
    kernel = state.take(f"{own}bottleneck.0.weight", latent, sum(widths), 1)[..., 0]
    return {"bottleneck": {"kernel": kernel}} | {
        f"banks_{l}": _bank(state, f"{own}filters.{l}", width, length << l)
        for l, width in enumerate(widths)
    }


def _dense(state: StateReader, name: str, width: int, inputs: int) -> dict:
    return {"kernel": state.take(name, width, inputs, 1)[..., 0].T}


def _bank(state: StateReader, name: str, filters: int, length: int) -> dict:
    return {"kernel": state.take(f"{name}.weight", filters, 1, length)[:, 0].T}


def _separator(
    state: StateReader, config: Config, prefix: str, latent: int, inputs: int
) -> dict:
    sizes, own = config.model, f"{prefix}mask."
    wide, hidden, blocks = sizes.B, sizes.H, sizes.layers * sizes.stack
    ends = {
        "input_norm": (f"{own}norm_1", (inputs,)),
        "input": (f"{own}in_conv", (wide, inputs, 1)),
        "bottleneck_norm": (f"{own}norm_2", (wide,)),
        "skip_norm": (f"{own}norm_3", (wide,)),
        "mask": (f"{own}mask_output", (latent, wide, 1)),
        "mask_norm": (f"{own}norm_4", (latent,)),
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
    trees = [
        read(
            state, config, {n: (f"{own}tcn.{i}.{t}", s) for n, (t, s) in block.items()}
        )
        for i in range(blocks)
    ]
    separator = {
        "ends": read(state, config, ends),
        "blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *trees),
        "slopes": _slopes(state, own, blocks),
    }
    if not sizes.independent_params:
        name = f"{prefix}instrument_embedding.weight"
        rows = state.take(name, len(config.data.sources), sizes.embedding)
        separator["embedding"] = dict(zip(config.data.sources, rows))
    return separator


def _slopes(state: StateReader, own: str, blocks: int) -> dict:
    ends = {
        name: state.take(f"{own}prelu_{number}.weight", 1).reshape(())
        for name, number in SLOPES.items()
    }
    inner = {
        f"prelu_{k}": np.concatenate(
            [state.take(f"{own}tcn.{i}.prelu_{k}.weight", 1) for i in range(blocks)]
        )
        for k in (1, 2)
    }
    return ends | inner


def _generated(state: StateReader, config: Config, layers: Layers) -> dict:
    """The generator of layers, as :func:`sepjax.functional.generation` holds it."""
    size, described = config.model.generator_bottleneck, config.model.embedding
    params: dict = {"bottleneck": {}, "kernel": {}, "bias": {}}
    for layer, (name, shape) in layers.items():
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


def _independent(state: StateReader, config: Config, layers: Layers) -> dict:
    """Grouped layers of the source, one group (of norms, eight) per instrument."""
    count, params = len(config.data.sources), {}

    def take(name: str, width: int, *rest: int) -> np.ndarray:
        return state.take(name, count * width, *rest).reshape(count, -1)

    for layer, (name, shape) in layers.items():
        if len(shape) == 1:
            parts = dict(gain="weight", bias="bias")
            params[layer] = {
                ours: take(f"{name}.group_norm.{theirs}", *shape)
                for ours, theirs in parts.items()
            }
            continue
        params[layer] = _layer(take(f"{name}.conv.weight", *shape), shape)
        if config.model.residual_bias and layer in ("residual", "skip"):
            params[layer]["bias"] = take(f"{name}.conv.bias", shape[0])
    return {"independent": params}
