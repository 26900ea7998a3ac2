"""Demucs v1: facebookresearch/demucs, branch v1, its ``Demucs`` and its Conv-TasNet.

Decoder layers are counted from the outside, as encoder layers are.
"""

import functools
import itertools
import math
from typing import Any

import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.restricted_pickle import Named
from sepjax.foreign.state_dict import StateReader, read_lstm, source_names, state_of
from sepjax.models.demucs.config import DemucsConfig
from sepjax.models.demucs.model import CONTEXT, KERNEL, STRIDE, layer_widths
from sepjax.models.importers import MUSDB, Package, expect, pick, state_dict_importer
from sepjax.models.tasnet.weights import NORMS, kaituoxu, kaituoxu_package

# What our Demucs has always and its arrays do not show.
FIXED = dict(kernel_size=KERNEL, stride=STRIDE, context=CONTEXT)
FIXED |= dict(rewrite=True, glu=True, upsample=False, resample=False, normalize=False)
# Trained on waveforms, estimates have a scale, which no fit should change.
PROJECT: Any = dict(
    source="https://github.com/facebookresearch/demucs/tree/v1",
    licence="MIT",
    separate={"rescale": False},
)


def _arguments(content: Any, model: Named) -> tuple[dict, dict[str, Any]]:
    """State dict and arguments from (class, args, kwargs, state), or a state dict."""
    if not isinstance(content, tuple) or len(content) != 4:
        return state_of(content), {}
    name, positional, arguments, state = content
    expect("class", name, model)
    if not isinstance(arguments, dict):
        raise ValueError(f"the file's arguments are a {type(arguments).__name__}")
    if positional:
        raise ValueError(
            f"the file has arguments without names, {positional!r}: which ones they "
            "are depends on the release of Demucs"
        )
    return state_of(state), arguments


def _read_demucs(content: Any) -> Package:
    state, arguments = _arguments(content, Named("demucs.model", "Demucs"))
    for name, value in FIXED.items():
        expect(name, arguments.get(name, value), value)
    options = pick(arguments, "growth", sample_rate="samplerate")
    names = ("channels", "depth", "lstm_layers", "audio_channels", "sources")
    sizes = pick(arguments, *names)
    if isinstance(sizes.get("sources"), list | tuple):
        options["sources"] = tuple(map(str, sizes.pop("sources")))
    return Package(state, options, sizes)


def _read_tasnet(content: Any) -> Package:
    state, arguments = _arguments(content, Named("demucs.tasnet", "ConvTasNet"))
    package = kaituoxu_package(state, arguments)
    options = package.options | pick(arguments, sample_rate="samplerate")
    if package.sizes.get("sources") == len(MUSDB):
        options["sources"] = MUSDB
    return package._replace(options=options)


# kaituoxu's, for several channels at once.
state_dict_importer("demucs_tasnet", read=_read_tasnet, words=NORMS, **PROJECT)(
    functools.partial(kaituoxu, sample_rate=44100)
)


@state_dict_importer("demucs", read=_read_demucs, **PROJECT)
def demucs(
    state: StateReader,
    *,
    growth: float = 0.0,
    sources: tuple[str, ...] = (),
    sample_rate: int = 44100,
) -> tuple[Config, dict]:
    """Demucs v1 with its defaults ``rewrite``, ``glu``, ``kernel_size`` and ``stride``.

    ``growth`` is that of the channels; 0: the simplest number that gives their
    sequence. Four ``sources`` are MUSDB18's if they have no names.
    """
    channels = state.take("encoder.0.0.weight", -1, -1, KERNEL).shape[1]
    depth = state.count(r"encoder\.(\d+)\.")
    params, widths = {}, []
    for layer in range(depth):
        inputs = widths[-1] if layer else channels
        conv = _conv(state, f"encoder.{layer}.0", (-1, inputs, KERNEL))
        width = conv["kernel"].shape[2]
        rewrite = _conv(state, f"encoder.{layer}.2", (2 * width, width, 1))
        params[f"encoder_{layer}"] = {"conv": conv, "rewrite": rewrite}
        widths.append(width)
    for layer, width in enumerate(widths):
        place = f"decoder.{depth - 1 - layer}"
        rewrite = _conv(state, f"{place}.0", (2 * width, width, CONTEXT))
        outputs = widths[layer - 1] if layer else -1
        conv = _conv(state, f"{place}.2", (width, outputs, KERNEL), transposed=True)
        params[f"decoder_{layer}"] = {"rewrite": rewrite, "conv": conv}
    recurrent = state.count(r"lstm\.lstm\.weight_ih_l(\d+)$")
    for layer in range(recurrent):
        inputs = (2 if layer else 1) * widths[-1]
        params[f"lstm_{layer}"] = read_lstm(
            state, "lstm.lstm.", layer, inputs=inputs, hidden=widths[-1]
        )
    linear = state.take("lstm.linear.weight", widths[-1], 2 * widths[-1])
    bias = state.take("lstm.linear.bias", widths[-1])
    params["linear"] = {"kernel": linear.T, "bias": bias}
    count = params["decoder_0"]["conv"]["kernel"].shape[2] // channels
    growth = growth or simplest_growth(widths)
    sizes = dict(audio_channels=channels, channels=widths[0], depth=depth)
    model = DemucsConfig(**sizes, growth=growth, lstm_layers=recurrent)
    usual = MUSDB if count == len(MUSDB) else ()
    names = source_names(sources or usual, count)
    data = DataConfig(sources=names, sample_rate=sample_rate)
    return Config(model=model, data=data), params


def _conv(
    state: StateReader, name: str, shape: tuple[int, ...], *, transposed: bool = False
) -> dict[str, np.ndarray]:
    weight = state.take(f"{name}.weight", *shape)
    kernel = weight.transpose((2, 0, 1) if transposed else (2, 1, 0))
    return {"kernel": kernel, "bias": state.take(f"{name}.bias", kernel.shape[2])}


def simplest_growth(widths: list[int]) -> float:
    """Find the factor with the fewest decimals that leads from each width to the next.

    Raises:
        ValueError: no factor does.

    Example:
        >>> simplest_growth([6, 9, 13]), simplest_growth([100, 200, 400])
        (1.5, 2.0)
    """
    pairs = list(itertools.pairwise(widths))
    least = max((after / before for before, after in pairs), default=2.0)
    for digits in range(7):
        growth = math.ceil(least * 10**digits - 1e-9) / 10**digits
        if list(layer_widths(widths[0], len(widths), growth)) == widths:
            return growth
    raise ValueError(f"no growth makes the channels {widths}: give it as growth=")
