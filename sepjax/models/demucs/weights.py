"""Demucs v1: facebookresearch/demucs, branch v1, class ``Demucs``.

Convolutions turn from (out, in, taps) to (taps, in, out), transposed ones from (in,
out, taps) to (taps, in, out); the LSTM's matrices from (gates, in) to (in, gates),
forward and backward along a leading axis. Decoder layers are counted from the outside,
as encoder layers are.
"""

import itertools
import math

import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import StateReader, read_lstm, source_names
from sepjax.models.demucs.config import DemucsConfig
from sepjax.models.demucs.model import CONTEXT, KERNEL, layer_widths
from sepjax.models.state_dicts import FAMILIES

MUSDB = ("drums", "bass", "other", "vocals")


@FAMILIES.register("demucs")
def demucs(
    state: StateReader,
    *,
    growth: float = 0.0,
    sources: tuple[str, ...] = (),
    sample_rate: int = 44100,
) -> tuple[Config, dict]:
    """Demucs v1 with its defaults ``rewrite``, ``glu``, ``kernel_size`` and ``stride``.

    Args:
        state: its arrays.
        growth: of the channels; 0: the simplest number that gives their sequence.
        sources: names of the classes; four are MUSDB18's if not given.
        sample_rate: Hz.
    """
    depth = state.count(r"encoder\.(\d+)\.")
    params, widths = {}, []
    inputs = -1
    for layer in range(depth):
        conv = _conv(state, f"encoder.{layer}.0", (-1, inputs, KERNEL))
        _, before, width = conv["kernel"].shape
        rewrite = _conv(state, f"encoder.{layer}.2", (2 * width, width, 1))
        params[f"encoder_{layer}"] = {"conv": conv, "rewrite": rewrite}
        channels = before if layer == 0 else channels
        widths.append(width)
        inputs = width
    if not depth:
        state.take("encoder.0.0.weight", -1, -1, KERNEL)
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
    model = DemucsConfig(
        audio_channels=channels,
        channels=widths[0],
        depth=depth,
        growth=growth or simplest_growth(widths),
        lstm_layers=recurrent,
    )
    names = source_names(sources or MUSDB * (count == len(MUSDB)), count)
    data = DataConfig(sources=names, sample_rate=sample_rate)
    config = Config(model=model, data=data)
    return config, params


def _conv(
    state: StateReader, name: str, shape: tuple[int, ...], *, transposed: bool = False
) -> dict[str, np.ndarray]:
    weight = state.take(f"{name}.weight", *shape)
    kernel = weight.transpose((2, 0, 1) if transposed else (2, 1, 0))
    return {"kernel": kernel, "bias": state.take(f"{name}.bias", kernel.shape[2])}


def simplest_growth(widths: list[int]) -> float:
    """The factor with the fewest decimals that leads from each width to the next.

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
