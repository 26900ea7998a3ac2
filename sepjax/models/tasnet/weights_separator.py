"""The separator of a public Conv-TasNet, whatever its arrays are called.

A :class:`Naming` says what a family calls its arrays, and one conversion serves all.
Depthwise kernels turn from (out, 1, taps) to (taps, out), 1x1 convolutions from
(out, in, 1) to (in, out); blocks are stacked along a leading axis.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from sepjax.foreign.state_dict import StateReader

Params = dict[str, Any]  # arrays, and dictionaries of them


@dataclasses.dataclass(frozen=True)
class Naming:
    """A family's names for the arrays of its separator.

    The names of a block's parts follow its prefix; ``""``: the family has none.
    """

    input_norm: str
    bottleneck: str
    blocks: tuple[str, ...]  # prefixes, in order
    input: str
    prelu_1: str
    norm_1: str
    depthwise: str
    prelu_2: str
    norm_2: str
    residual: str
    skip: str
    prelu: str
    mask: str
    gain: str = "weight"  # of a norm
    offset: str = "bias"
    bias: bool = True  # of convolutions
    last_residual: bool = True  # torchaudio leaves out the last one, which has no use


def read_separator(state: StateReader, naming: Naming) -> tuple[dict, Params]:
    """Read the configuration fields, and the parameters, of a separator.

    Where skip path and bottleneck differ in width, zeros widen the narrower path; this
    changes no output, and no gradient moves the zeros.
    """
    bottleneck = _pointwise(state, naming, naming.bottleneck, -1, -1)
    latent, width = bottleneck["kernel"].shape
    blocks = [_block(state, naming, prefix, width) for prefix in naming.blocks]
    hidden, columns = blocks[0]["output"]["kernel"].shape
    skip = columns - width
    mask = _pointwise(state, naming, naming.mask, skip or width, -1)
    if (outputs := mask["kernel"].shape[1]) % latent:
        raise ValueError(
            f"'{naming.mask}.weight' has {outputs} outputs, which are no multiple of "
            f"the {latent} channels of the latent"
        )
    norm = _norm(state, naming, naming.input_norm, latent)
    params = {"norm_gain": norm["gain"], "norm_bias": norm["bias"], "mask": mask}
    params["bottleneck"] = bottleneck
    params["tcn"] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
    if naming.prelu:
        params["prelu"] = state.take(naming.prelu + ".weight", 1).reshape(())
    if skip:
        _widen(params, width, skip)
    fields = dict(
        N=latent,
        B=max(width, skip),
        H=hidden,
        kernel=len(blocks[0]["depthwise"]["kernel"]),
        skip=bool(skip),
        bias=naming.bias,
        output_prelu=bool(naming.prelu),
    )
    return fields, params


def _block(state: StateReader, naming: Naming, prefix: str, width: int) -> Params:
    first = _pointwise(state, naming, prefix + naming.input, width, -1)
    hidden = first["kernel"].shape[1]
    weight = state.take(f"{prefix}{naming.depthwise}.weight", hidden, 1, -1)
    depthwise = {"kernel": weight[:, 0].T}
    if naming.bias:
        depthwise["bias"] = state.take(f"{prefix}{naming.depthwise}.bias", hidden)
    if prefix == naming.blocks[-1] and not naming.last_residual:
        output = {"kernel": np.zeros((hidden, width), np.float32)}
        output["bias"] = np.zeros(width, np.float32)
    else:
        output = _pointwise(state, naming, prefix + naming.residual, hidden, width)
    if naming.skip:
        skip = _pointwise(state, naming, prefix + naming.skip, hidden, -1)
        output = {name: np.concatenate([output[name], skip[name]], -1) for name in skip}
    return {
        "input": first,
        "prelu_1": state.take(f"{prefix}{naming.prelu_1}.weight", 1).reshape(()),
        "norm_1": _norm(state, naming, prefix + naming.norm_1, hidden),
        "depthwise": depthwise,
        "prelu_2": state.take(f"{prefix}{naming.prelu_2}.weight", 1).reshape(()),
        "norm_2": _norm(state, naming, prefix + naming.norm_2, hidden),
        "output": output,
    }


def _pointwise(
    state: StateReader, naming: Naming, name: str, inputs: int, outputs: int
) -> Params:
    weight = state.take(name + ".weight", outputs, inputs, 1)
    params = {"kernel": weight[:, :, 0].T}
    if naming.bias:
        params["bias"] = state.take(name + ".bias", len(weight))
    return params


def _norm(state: StateReader, naming: Naming, name: str, channels: int) -> Params:
    # Some keep a gain for each channel, some (1, channels, 1).
    pair = {"gain": f"{name}.{naming.gain}", "bias": f"{name}.{naming.offset}"}
    return {
        part: state.take(key, *_norm_shape(state, key, channels)).reshape(-1)
        for part, key in pair.items()
    }


def _norm_shape(state: StateReader, name: str, channels: int) -> tuple[int, ...]:
    wide = name in state and np.ndim(state.arrays[name]) == 3
    return (1, channels, 1) if wide else (channels,)


def _widen(params: Params, width: int, skip: int) -> None:
    """Zeros up to one width for the residual and the skip path, in place."""
    wide = max(width, skip)

    def pad(x: np.ndarray, size: int, axis: int) -> np.ndarray:
        ends = [(0, 0)] * x.ndim
        ends[axis] = (0, size - x.shape[axis])
        return np.pad(x, ends)

    tcn, output = params["tcn"], params["tcn"]["output"]
    for part in output:
        halves = np.split(output[part], [width], axis=-1)
        output[part] = np.concatenate([pad(half, wide, -1) for half in halves], -1)
    for part in params["bottleneck"]:
        params["bottleneck"][part] = pad(params["bottleneck"][part], wide, -1)
    tcn["input"]["kernel"] = pad(tcn["input"]["kernel"], wide, 1)
    params["mask"]["kernel"] = pad(params["mask"]["kernel"], wide, 0)
