"""Public Conv-TasNets: naplab, kaituoxu, asteroid, torchaudio.

They are one architecture under several names; what they compute differently goes into
the configuration. Encoder kernels turn from (out, in, taps) to (taps, out), those of
several channels one above the other.
"""

import re
from typing import Any

import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import StateReader, source_names, stacks_of, state_of
from sepjax.models.importers import Package, expect, pick, state_dict_importer
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.weights_separator import Naming, Params, read_separator
from sepjax.registry import nearest

MASKS = ("sigmoid", "relu", "softmax", "linear")
NORMS = {"gLN": "global", "cLN": "frame", "cgLN": "cumulative"}


@state_dict_importer(
    "naplab", source="https://github.com/naplab/Conv-TasNet", licence="none stated"
)
def naplab(
    state: StateReader,
    *,
    layers: int,
    stride: int = 0,
    sources: tuple[str, ...] = (),
    sample_rate: int = 8000,
) -> tuple[Config, dict]:
    """naplab/Conv-TasNet; it is causal if its norms are cumulative.

    Args:
        state: its arrays.
        layers: blocks per stack.
        stride: of the encoder; 0: half of the kernel.
        sources: names of the classes.
        sample_rate: Hz.
    """
    causal = "TCN.LN.gain" in state
    naming = Naming(
        input_norm="TCN.LN",
        bottleneck="TCN.BN",
        blocks=_numbered(state, "TCN.TCN."),
        input="conv1d",
        prelu_1="nonlinearity1",
        norm_1="reg1",
        depthwise="dconv1d",
        prelu_2="nonlinearity2",
        norm_2="reg2",
        residual="res_out",
        skip="skip_out",
        prelu="TCN.output.0",
        mask="TCN.output.1",
        gain="gain" if causal else "weight",
    )
    norm = "cumulative" if causal else "global"
    fields = dict(W=stride, causal=causal, norm=norm, input_norm=norm, padding="naplab")
    return _waveform_model(state, naming, layers, fields, sources, sample_rate)


@state_dict_importer(
    "torchaudio", source="https://github.com/pytorch/audio", licence="BSD-2-Clause"
)
def torchaudio(
    state: StateReader,
    *,
    layers: int,
    mask_act: str = "sigmoid",
    sources: tuple[str, ...] = (),
    sample_rate: int = 8000,
) -> tuple[Config, dict]:
    """torchaudio.models.ConvTasNet; the stride is half of the kernel.

    Args:
        state: its arrays.
        layers: blocks per stack (``msk_num_layers``).
        mask_act: ``msk_activate``, sigmoid or relu.
        sources: names of the classes.
        sample_rate: Hz.
    """
    generator = "mask_generator."
    naming = Naming(
        input_norm=generator + "input_norm",
        bottleneck=generator + "input_conv",
        blocks=_numbered(state, generator + "conv_layers."),
        input="conv_layers.0",
        prelu_1="conv_layers.1",
        norm_1="conv_layers.2",
        depthwise="conv_layers.3",
        prelu_2="conv_layers.4",
        norm_2="conv_layers.5",
        residual="res_out",
        skip="skip_out",
        prelu=generator + "output_prelu",
        mask=generator + "output_conv",
        last_residual=False,
    )
    fields = dict(W=0, mask_act=_choice("mask_act", mask_act, MASKS))
    fields["padding"] = "torchaudio"
    return _waveform_model(state, naming, layers, fields, sources, sample_rate)


def kaituoxu_package(state: dict, arguments: dict) -> Package:
    """Return the arguments of kaituoxu's ``ConvTasNet``, which its files keep."""
    options = pick(arguments, norm="norm_type", mask_act="mask_nonlinear")
    fields = dict(kernel="P", layers="X", stack="R", sources="C")
    sizes = pick(arguments, "N", "L", "H", "causal", "audio_channels", **fields)
    return Package(state, options, sizes)


@state_dict_importer(
    "kaituoxu",
    source="https://github.com/kaituoxu/Conv-TasNet",
    licence="MIT",
    read=lambda content: kaituoxu_package(state_of(content), content),
    words=NORMS,
)
def kaituoxu(
    state: StateReader,
    *,
    norm: str = "global",
    mask_act: str = "relu",
    stride: int = 0,
    sources: tuple[str, ...] = (),
    sample_rate: int = 8000,
) -> tuple[Config, dict]:
    """kaituoxu/Conv-TasNet: no skips, no biases, a rectified encoder.

    The places of its layers show that a network is causal: a crop moves them.

    Args:
        state: its arrays.
        norm: "global" (``norm_type`` gLN) or "frame" (there called cLN).
        mask_act: ``mask_nonlinear``, relu or softmax.
        stride: of the encoder; 0: half of the kernel.
        sources: names of the classes.
        sample_rate: Hz.
    """
    naming, stacks, causal = _kaituoxu_naming(state)
    fields, separator = read_separator(state, naming)
    analysis = state.take("encoder.conv1d_U.weight", fields["N"], -1, -1)
    latent, channels, length = analysis.shape
    synthesis = state.take("decoder.basis_signals.weight", channels * length, latent)
    fields |= dict(
        layers=len(naming.blocks) // stacks,
        stack=stacks,
        L=length,
        W=stride,
        audio_channels=channels,
        causal=causal,
        norm=_choice("norm", norm, ("global", "frame")),
        input_norm="frame",
        mask_act=_choice("mask_act", mask_act, MASKS),
        encoder_act="relu",
        padding="none",
    )
    analysis = analysis.reshape(latent, -1).T
    return _model(fields, analysis, separator, synthesis, sources, sample_rate)


def _kaituoxu_naming(state: StateReader) -> tuple[Naming, int, bool]:
    """The naming, the number of stacks, and whether the network is causal."""
    network = "separator.network."
    stacks = _numbered(state, network + "2.")
    layers = len(_numbered(state, stacks[0]))
    blocks = tuple(
        f"{stack}{layer}.net." for stack in stacks for layer in range(layers)
    )
    causal = f"{blocks[0]}3.net.4.weight" in state
    after = 2 if causal else 1
    naming = Naming(
        input_norm=network + "0",
        bottleneck=network + "1",
        blocks=blocks,
        input="0",
        prelu_1="1",
        norm_1="2",
        depthwise="3.net.0",
        prelu_2=f"3.net.{after}",
        norm_2=f"3.net.{after + 1}",
        residual=f"3.net.{after + 2}",
        skip="",
        prelu="",
        mask=network + "3",
        gain="gamma",
        offset="beta",
        bias=False,
    )
    return naming, len(stacks), causal


def _read_asteroid(content: Any) -> Package:
    """The dictionary of ``model.serialize``, or a state dict."""
    state, arguments = state_of(content), content.get("model_args")
    if not isinstance(arguments, dict):
        return Package(state)
    expect("model_name", content.get("model_name"), "ConvTasNet")
    names = ("mask_act", "stride", "sample_rate", "min_low_hz", "min_band_hz")
    renamed = dict(layers="n_blocks", norm="norm_type")
    options = pick(arguments, *names, **renamed, encoder_act="encoder_activation")
    fields = dict(N="n_filters", H="hid_chan", kernel="conv_kernel_size")
    fields |= dict(stack="n_repeats", sources="n_src")
    sizes = pick(arguments, "causal", **fields)
    others = {name: part for name, part in content.items() if name != "state_dict"}
    return Package(state, options, sizes, "; ".join(sorted(_licences(others))))


def _licences(tree: Any, inside: bool = False) -> set[str]:
    """Texts under names such as ``license`` or ``license_note``."""
    if isinstance(tree, str) and inside:
        return {tree}
    pairs: list = []
    if isinstance(tree, list | tuple):
        pairs = [("", item) for item in tree]
    elif isinstance(tree, dict):
        pairs = [(str(name).lower(), item) for name, item in tree.items()]
    return {
        text
        for name, item in pairs
        for text in _licences(item, inside or "licens" in name or "licenc" in name)
    }


@state_dict_importer(
    "asteroid",
    source="https://github.com/asteroid-team/asteroid",
    licence="MIT",
    read=_read_asteroid,
    words=NORMS,
)
def asteroid(
    state: StateReader,
    *,
    layers: int,
    norm: str = "global",
    mask_act: str = "sigmoid",
    encoder_act: str = "none",
    stride: int = 0,
    min_low_hz: float = 50.0,
    min_band_hz: float = 50.0,
    sources: tuple[str, ...] = (),
    sample_rate: int = 8000,
) -> tuple[Config, dict]:
    """asteroid.models.ConvTasNet with stored filters or with ``param_sinc`` ones.

    Args:
        state: its arrays.
        layers: blocks per stack (``n_blocks``).
        norm: "global" (``norm_type`` gLN), "frame" (cLN) or "cumulative" (cgLN).
        mask_act: sigmoid, relu (the default of 2020), softmax or linear.
        encoder_act: ``encoder_activation``, "none" or "relu".
        stride: of the encoder; 0: half of the kernel.
        min_low_hz: of ``param_sinc`` filters.
        min_band_hz: of ``param_sinc`` filters.
        sources: names of the classes.
        sample_rate: Hz; ``param_sinc`` filters depend on it.
    """
    blocks = _numbered(state, "masker.TCN.")
    causal = f"{blocks[0]}shared_block.3.0.weight" in state
    naming = Naming(
        input_norm="masker.bottleneck.0",
        bottleneck="masker.bottleneck.1",
        blocks=blocks,
        input="shared_block.0",
        prelu_1="shared_block.1",
        norm_1="shared_block.2",
        depthwise="shared_block.3.0" if causal else "shared_block.3",
        prelu_2="shared_block.4",
        norm_2="shared_block.5",
        residual="res_conv",
        skip="skip_conv" if f"{blocks[0]}skip_conv.weight" in state else "",
        prelu="masker.mask_net.0",
        mask="masker.mask_net.1",
        gain="gamma",
        offset="beta",
    )
    fields, separator = read_separator(state, naming)
    norm = _choice("norm", norm, ("global", "frame", "cumulative"))
    act = _choice("encoder_act", encoder_act, ("none", "relu"))
    floors = dict(min_low_hz=min_low_hz, min_band_hz=min_band_hz)
    banks, kind = _asteroid_banks(state, fields["N"], **floors)
    fields |= kind | dict(
        layers=layers,
        stack=stacks_of(len(blocks), layers),
        W=stride,
        causal=causal,
        norm=norm,
        input_norm=norm,
        mask_act=_choice("mask_act", mask_act, MASKS),
        encoder_act=act,
        fb_act=act,
        padding="none",
    )
    return _model(fields, banks[0], separator, banks[1], sources, sample_rate)


def _waveform_model(
    state: StateReader,
    naming: Naming,
    layers: int,
    fields: dict,
    sources: tuple[str, ...],
    sample_rate: int,
) -> tuple[Config, dict]:
    """A model with free banks, in stacks of layers."""
    sizes, separator = read_separator(state, naming)
    analysis = _free_bank(state, "encoder.weight", sizes["N"])
    synthesis = _free_bank(state, "decoder.weight", sizes["N"], len(analysis))
    fields |= sizes | dict(L=len(analysis), layers=layers)
    fields["stack"] = stacks_of(len(naming.blocks), layers)
    return _model(fields, analysis, separator, synthesis, sources, sample_rate)


def _asteroid_banks(
    state: StateReader, latent: int, **floors: float
) -> tuple[list[Params | np.ndarray], dict]:
    """Both banks, and the fields that tell their kind and number of taps."""
    state.ignore(r"(en|de)coder\.filterbank\.(torch_window|n_)")
    places = ("encoder.filterbank.", "decoder.filterbank.")
    if places[0] + "low_hz_" not in state:
        analysis = _free_bank(state, places[0] + "_filters", latent)
        synthesis = _free_bank(state, places[1] + "_filters", latent, len(analysis))
        return [analysis, synthesis], {"L": len(analysis)}
    half = [len(state.take(place + "window_", -1)) for place in places]
    banks = [_bands(state, place, latent // 2, **floors) for place in places]
    kind = dict(encoding="filterbanks", fb_type="param_sinc", fb_parameters="hz")
    return banks, kind | {"L": 2 * half[0] + 1}


def _bands(
    state: StateReader, place: str, bands: int, *, min_low_hz: float, min_band_hz: float
) -> Params:
    """Parameters in hertz for the floors of 50 Hz that our banks have."""
    params = {}
    for name, floor in (("low_hz", min_low_hz), ("band_hz", min_band_hz)):
        values = state.take(f"{place}{name}_", bands, 1)[:, 0]
        if floor != 50:
            values = np.abs(values) + np.float32(floor - 50)
        if floor < 50 and values.min() < 0:
            raise ValueError(
                f"'{place}{name}_' with min_{name}={floor} goes below the 50 Hz of "
                "our banks: filterbank_from_state_dict gives its taps"
            )
        params[name] = values
    return params


def _free_bank(
    state: StateReader, name: str, filters: int, length: int = -1
) -> np.ndarray:
    """Taps (length, filters) of a one-channel convolution (filters, 1, length)."""
    return state.take(name, filters, 1, length)[:, 0].T


def _numbered(state: StateReader, stem: str) -> tuple[str, ...]:
    """Prefixes ``stem0.``, ``stem1.``, ...: as many as the state dict has."""
    count = state.count(re.escape(stem) + r"(\d+)\.")
    if not count:
        raise KeyError(f"the state dict has no '{stem}0.': is it of another family?")
    return tuple(f"{stem}{index}." for index in range(count))


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: {nearest(str(value), choices)}")
    return value


def _model(
    fields: dict,
    analysis: Params | np.ndarray,
    separator: Params,
    synthesis: Params | np.ndarray,
    sources: tuple[str, ...],
    sample_rate: int,
) -> tuple[Config, dict]:
    """The configuration and the parameters of a masked separation."""
    outputs = separator["mask"]["kernel"].shape[1]
    names = source_names(sources, outputs // fields["N"])
    fields["W"] = fields["W"] or fields["L"] // 2
    model = TasNetConfig(**{"encoding": "simple"} | fields)
    config = Config(
        model=model, data=DataConfig(sources=names, sample_rate=sample_rate)
    )
    encoder, decoder = (
        {"bank": bank if isinstance(bank, dict) else {"kernel": bank}}
        for bank in (analysis, synthesis)
    )
    return config, {"encoder": encoder, "separator": separator, "decoder": decoder}
