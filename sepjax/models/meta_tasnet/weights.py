"""pfnet-research/meta-tasnet: stages of generated separators.

Each stage has the names of the source with the prefix ``stages.<i>.``. A generated
layer has a ``bottleneck`` and, for what it generates, a linear layer whose outputs are
the parameters in row-major order, (out, in / groups, taps) for a convolution and all
gains before all biases for a norm.
"""

import re

import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import StateReader, source_names
from sepjax.models.meta_tasnet.config import MetaTasNetConfig
from sepjax.models.state_dicts import FAMILIES

SOURCES = ("drums", "bass", "other", "vocals")
ENDS = {
    "input_norm": "norm_1",
    "input": "in_conv",
    "bottleneck_norm": "norm_2",
    "skip_norm": "norm_3",
    "mask": "mask_output",
    "mask_norm": "norm_4",
}
BLOCK = {
    "input": "conv1d",
    "norm_1": "norm_1",
    "depthwise": "dconv1d",
    "norm_2": "norm_2",
    "residual": "res_out",
    "skip": "skip_out",
}
SLOPES = {"input": 1, "bottleneck": 2, "skip": 3, "mask": 4}
TAPS = 3  # of the depthwise convolution, where only the product is known


@FAMILIES.register("meta_tasnet")
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
    latent, inputs = _ends_of_bottleneck(state, 0)
    generated = "stages.0.instrument_embedding.weight" in state
    shape = _sizes(state, generated, latent, kernel)
    if generated:
        embedding = state.take("stages.0.instrument_embedding.weight", -1, -1)
        count = len(embedding)
        first_bottleneck = state.take(
            "stages.0.mask.in_conv.bottleneck.weight", -1, embedding.shape[1]
        )
        shape |= dict(
            embedding=embedding.shape[1], generator_bottleneck=len(first_bottleneck)
        )
    else:
        count = len(state.take("stages.0.mask.norm_1.group_norm.weight", -1)) // latent
    filters = state.count(r"stages\.0\.encoder\.filters\.(\d+)\.")
    blocks = state.count(r"stages\.0\.mask\.tcn\.(\d+)\.")
    if layers < 1 or blocks % layers:
        raise ValueError(
            f"layers={layers}: the {blocks} blocks do not divide into stacks"
        )
    model = MetaTasNetConfig(
        stages=stages,
        N=latent,
        L=first.shape[-1],
        W=stride or first.shape[-1],
        filters=filters,
        mels=inputs - filters * len(first),
        kernel=kernel,
        layers=layers,
        stack=blocks // layers,
        independent_params=not generated,
        **shape,
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


def _ends_of_bottleneck(state: StateReader, stage: int) -> tuple[int, int]:
    return state.take(f"stages.{stage}.encoder.bottleneck.0.weight", -1, -1, 1).shape[
        :2
    ]


def _sizes(state: StateReader, generated: bool, latent: int, taps: int) -> dict:
    """Widths of the masking network, and whether its outputs have biases."""
    mask = "stages.0.mask."
    if generated:
        weights = len(state.take(f"{mask}in_conv.kernel.bias", -1))
        hidden = len(state.take(f"{mask}tcn.0.dconv1d.kernel.bias", -1)) // taps
        bias = f"{mask}tcn.0.res_out.bias.weight" in state
        return dict(B=weights // latent, H=hidden, residual_bias=bias)
    bottleneck = state.take(f"{mask}mask_output.conv.weight", -1, -1, 1).shape[1]
    hidden = state.take(f"{mask}tcn.0.res_out.conv.weight", -1, -1, 1).shape[1]
    bias = f"{mask}tcn.0.res_out.conv.bias" in state
    return dict(B=bottleneck, H=hidden, residual_bias=bias)


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
    latent, length = config.model.N * factor, config.model.L * factor
    bins = 512 * max(
        config.data.sample_rate // (8000 * 2 ** (config.model.stages - 1)), 1
    )
    bins = bins * factor + 1
    width = latent // 4
    own = f"{prefix}encoder."
    spectrogram = f"{own}spectrogram."
    names = dict(mean="mean", std="std", bias="affine_bias", scale="affine_scale")
    branch = {
        ours: state.take(spectrogram + theirs, 1, bins, 1).reshape(bins)
        for ours, theirs in names.items()
    }
    mel = f"{spectrogram}mel_transform."
    branch["mel"] = {
        "kernel": state.take(f"{mel}weight", config.model.mels, bins, 1)[..., 0].T,
        "bias": state.take(f"{mel}bias", config.model.mels),
    }
    inputs = config.model.filters * width + config.model.mels
    return {
        **{
            f"convolutions_{l}": {
                "kernel": state.take(
                    f"{own}filters.{l}.weight", width, 1, length * 2**l
                )[:, 0].T
            }
            for l in range(config.model.filters)
        },
        "filterbanks_0": branch,
        "bottleneck_1": _dense(state, f"{own}bottleneck.0.weight", latent, inputs),
        "bottleneck_2": _dense(state, f"{own}bottleneck.2.weight", latent, latent),
    }


def _decoder(state: StateReader, config: Config, prefix: str, factor: int) -> dict:
    latent, length = config.model.N * factor, config.model.L * factor
    own, layers = f"{prefix}decoder.", range(config.model.filters)
    widths = [latent // 2 ** (layer + 1) for layer in layers]
    # A transposed convolution has its inputs first, as a dense kernel of ours.
    kernel = state.take(f"{own}bottleneck.0.weight", latent, sum(widths), 1)[..., 0]
    banks = {
        f"banks_{l}": {
            "kernel": state.take(
                f"{own}filters.{l}.weight", widths[l], 1, length * 2**l
            )[:, 0].T
        }
        for l in layers
    }
    return {"bottleneck": {"kernel": kernel}} | banks


def _dense(state: StateReader, name: str, width: int, inputs: int) -> dict:
    return {"kernel": state.take(name, width, inputs, 1)[..., 0].T}


def _separator(
    state: StateReader, config: Config, prefix: str, latent: int, inputs: int
) -> dict:
    own, blocks = f"{prefix}mask.", config.model.layers * config.model.stack
    wide, hidden = config.model.B, config.model.H
    ends = {
        "input_norm": (inputs,),
        "input": (wide, inputs, 1),
        "bottleneck_norm": (wide,),
        "skip_norm": (wide,),
        "mask": (latent, wide, 1),
        "mask_norm": (latent,),
    }
    block = {
        "input": (hidden, wide, 1),
        "norm_1": (hidden,),
        "depthwise": (hidden, 1, config.model.kernel),
        "norm_2": (hidden,),
        "residual": (wide, hidden, 1),
        "skip": (wide, hidden, 1),
    }
    read = _generated if not config.model.independent_params else _independent
    each = [
        read(state, config, {n: f"{own}tcn.{i}.{BLOCK[n]}" for n in block}, block)
        for i in range(blocks)
    ]
    separator = {
        "ends": read(state, config, {n: own + ENDS[n] for n in ends}, ends),
        "blocks": _stacked(each),
        "slopes": _slopes(state, own, blocks),
    }
    if not config.model.independent_params:
        name = f"{prefix}instrument_embedding.weight"
        rows = state.take(name, len(config.data.sources), config.model.embedding)
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


def _stacked(trees: list[dict]) -> dict:
    first = trees[0]
    return {
        name: _stacked([tree[name] for tree in trees])
        if isinstance(first[name], dict)
        else np.stack([tree[name] for tree in trees])
        for name in first
    }


def _generated(state: StateReader, config: Config, names: dict, shapes: dict) -> dict:
    """The generator of layers, as :func:`sepjax.functional.generation` holds it."""
    size, described = config.model.generator_bottleneck, config.model.embedding
    found: dict = {"bottleneck": {}, "kernel": {}, "bias": {}}
    for layer, name in names.items():
        found["bottleneck"][layer] = {
            "kernel": state.take(f"{name}.bottleneck.weight", size, described).T,
            "bias": state.take(f"{name}.bottleneck.bias", size),
        }
        shape, bias = (
            shapes[layer],
            config.model.residual_bias and layer in ("residual", "skip"),
        )
        norm = len(shape) == 1
        part = "affine" if norm else "kernel"
        count = 2 * shape[0] if norm else int(np.prod(shape))
        kernel = state.take(f"{name}.{part}.weight", count, size).T
        offset = state.take(f"{name}.{part}.bias", count)
        found["kernel"][layer] = _layer(kernel, shape)
        found["bias"][layer] = _layer(offset, shape)
        if bias:
            found["kernel"][layer]["bias"] = state.take(
                f"{name}.bias.weight", shape[0], size
            ).T
            found["bias"][layer]["bias"] = state.take(f"{name}.bias.bias", shape[0])
    return found


def _layer(flat: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Parameters of a layer from numbers in the source's order, along the last axis."""
    if len(shape) == 1:
        gain, bias = np.split(flat, 2, axis=-1)
        return {"gain": gain, "bias": bias}
    kernel = flat.reshape(*flat.shape[:-1], *shape)
    # A depthwise kernel has one input, a 1x1 kernel has one tap: either goes.
    kernel = kernel[..., 0, :] if shape[1] == 1 else kernel[..., 0]
    return {"kernel": np.swapaxes(kernel, -1, -2)}


def _independent(state: StateReader, config: Config, names: dict, shapes: dict) -> dict:
    """Grouped layers of the source, one group (of norms, eight) per instrument."""
    count, found = len(config.data.sources), {}
    for layer, name in names.items():
        shape = shapes[layer]
        if len(shape) == 1:
            parts = dict(gain="group_norm.weight", bias="group_norm.bias")
            found[layer] = {
                ours: state.take(f"{name}.{theirs}", count * shape[0]).reshape(
                    count, -1
                )
                for ours, theirs in parts.items()
            }
            continue
        kernel = state.take(f"{name}.conv.weight", count * shape[0], *shape[1:])
        found[layer] = _layer(kernel.reshape(count, -1), shape)
        if config.model.residual_bias and layer in ("residual", "skip"):
            bias = state.take(f"{name}.conv.bias", count * shape[0])
            found[layer]["bias"] = bias.reshape(count, -1)
    return {"independent": found}
