"""The separator of a public Conv-TasNet, whatever its arrays are called.

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
    """A family's names for the arrays of its separator; ``""``: it has none.

    The parts of a block, which come first, follow the prefix of the block.
    """

    input: str
    prelu_1: str
    norm_1: str
    depthwise: str
    prelu_2: str
    norm_2: str
    residual: str
    skip: str = ""
    _: dataclasses.KW_ONLY
    blocks: tuple[str, ...]  # prefixes, in order
    input_norm: str
    bottleneck: str
    prelu: str = ""
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
    bottleneck = _convolution(state, naming, naming.bottleneck, -1, -1, 1)
    latent, width = bottleneck["kernel"].shape
    blocks = [_block(state, naming, prefix, width) for prefix in naming.blocks]
    hidden, columns = blocks[0]["output"]["kernel"].shape
    skip = columns - width
    mask = _convolution(state, naming, naming.mask, -1, skip or width, 1)
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
        params["prelu"] = _slope(state, naming.prelu)
    if skip:
        _widen(params, width, skip)
    taps = len(blocks[0]["depthwise"]["kernel"])
    fields = dict(N=latent, B=max(width, skip), H=hidden, kernel=taps, skip=bool(skip))
    fields |= dict(bias=naming.bias, output_prelu=bool(naming.prelu))
    return fields, params


def _block(state: StateReader, naming: Naming, prefix: str, width: int) -> Params:
    first = _convolution(state, naming, prefix + naming.input, -1, width, 1)
    hidden = first["kernel"].shape[1]
    if prefix == naming.blocks[-1] and not naming.last_residual:
        output = {"kernel": np.zeros((hidden, width), np.float32)}
        output["bias"] = np.zeros(width, np.float32)
    else:
        name = prefix + naming.residual
        output = _convolution(state, naming, name, width, hidden, 1)
    if naming.skip:
        skip = _convolution(state, naming, prefix + naming.skip, -1, hidden, 1)
        output = {name: np.concatenate([output[name], skip[name]], -1) for name in skip}
    depthwise = prefix + naming.depthwise
    return {
        "input": first,
        "prelu_1": _slope(state, prefix + naming.prelu_1),
        "norm_1": _norm(state, naming, prefix + naming.norm_1, hidden),
        "depthwise": _convolution(state, naming, depthwise, hidden, 1, -1),
        "prelu_2": _slope(state, prefix + naming.prelu_2),
        "norm_2": _norm(state, naming, prefix + naming.norm_2, hidden),
        "output": output,
    }


def _convolution(state: StateReader, naming: Naming, name: str, *shape: int) -> Params:
    """A 1x1 or depthwise convolution, whose third or second size is one."""
    weight = state.take(name + ".weight", *shape)
    kernel = weight[..., 0] if shape[2] == 1 else weight[:, 0]
    bias = {"bias": state.take(name + ".bias", len(weight))} if naming.bias else {}
    return {"kernel": kernel.T} | bias


def _slope(state: StateReader, name: str) -> np.ndarray:
    return state.take(name + ".weight", 1).reshape(())


def _norm(state: StateReader, naming: Naming, name: str, channels: int) -> Params:
    params = {}
    for part, theirs in (("gain", naming.gain), ("bias", naming.offset)):
        key = f"{name}.{theirs}"
        # Some keep a gain for each channel, some (1, channels, 1).
        wide = np.ndim(state.arrays.get(key)) == 3
        shape = (1, channels, 1) if wide else (channels,)
        params[part] = state.take(key, *shape).reshape(-1)
    return params


def _widen(params: Params, width: int, skip: int) -> None:
    """Zeros up to one width for the residual and the skip path, in place."""
    wide = max(width, skip)

    def pad(x: np.ndarray, axis: int) -> np.ndarray:
        ends = [(0, 0)] * x.ndim
        ends[axis] = (0, wide - x.shape[axis])
        return np.pad(x, ends)

    tcn, output = params["tcn"], params["tcn"]["output"]
    for part in output:
        halves = np.split(output[part], [width], axis=-1)
        output[part] = np.concatenate([pad(half, -1) for half in halves], -1)
    for part in params["bottleneck"]:
        params["bottleneck"][part] = pad(params["bottleneck"][part], -1)
    tcn["input"]["kernel"] = pad(tcn["input"]["kernel"], 1)
    params["mask"]["kernel"] = pad(params["mask"]["kernel"], 0)
