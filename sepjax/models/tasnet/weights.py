"""Public Conv-TasNets: naplab, kaituoxu, asteroid, torchaudio.

They are one architecture under several names; what they compute differently goes into
the configuration. Encoder kernels turn from (out, in, taps) to (taps, out), those of
several channels one above the other. A stride of 0 is half of the encoder's kernel;
``sources`` are the names of the classes, ``sample_rate`` is in Hz.
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
LICENCE = re.compile("licen[cs]", re.IGNORECASE)
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

    ``layers`` is the number of blocks per stack.
    """
    causal = "TCN.LN.gain" in state
    parts = "conv1d nonlinearity1 reg1 dconv1d nonlinearity2 reg2 res_out skip_out"
    naming = Naming(
        *parts.split(),
        blocks=_numbered(state, "TCN.TCN."),
        input_norm="TCN.LN",
        bottleneck="TCN.BN",
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

    ``layers`` is its ``msk_num_layers``, ``mask_act`` its ``msk_activate``, sigmoid or
    relu.
    """
    generator = "mask_generator."
    naming = Naming(
        *(f"conv_layers.{number}" for number in range(6)),
        residual="res_out",
        skip="skip_out",
        blocks=_numbered(state, generator + "conv_layers."),
        input_norm=generator + "input_norm",
        bottleneck=generator + "input_conv",
        prelu=generator + "output_prelu",
        mask=generator + "output_conv",
        last_residual=False,
    )
    act = _choice("mask_act", mask_act, MASKS)
    fields = dict(W=0, mask_act=act, padding="torchaudio")
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

    The places of its layers show that a network is causal: a crop moves them. ``norm``
    is "global" (``norm_type`` gLN) or "frame" (there called cLN), ``mask_act`` its
    ``mask_nonlinear``, relu or softmax.
    """
    network = "separator.network."
    stacks = _numbered(state, network + "2.")
    layers = range(len(_numbered(state, stacks[0])))
    blocks = tuple(f"{stack}{layer}.net." for stack in stacks for layer in layers)
    causal = f"{blocks[0]}3.net.4.weight" in state
    places = ["0", "1", "2", "3.net.0"]
    places += [f"3.net.{place + causal}" for place in (1, 2, 3)]
    naming = Naming(
        *places,
        blocks=blocks,
        input_norm=network + "0",
        bottleneck=network + "1",
        mask=network + "3",
        gain="gamma",
        offset="beta",
        bias=False,
    )
    fields, separator = read_separator(state, naming)
    analysis = state.take("encoder.conv1d_U.weight", fields["N"], -1, -1)
    latent, channels, length = analysis.shape
    synthesis = state.take("decoder.basis_signals.weight", channels * length, latent)
    banks = [{"kernel": analysis.reshape(latent, -1).T}, {"kernel": synthesis}]
    norm = _choice("norm", norm, ("global", "frame"))
    act = _choice("mask_act", mask_act, MASKS)
    fields |= dict(layers=len(layers), L=length, W=stride, audio_channels=channels)
    fields |= dict(causal=causal, norm=norm, input_norm="frame", mask_act=act)
    fields |= dict(encoder_act="relu", padding="none")
    return _model(fields, banks, separator, sources, sample_rate)


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
    if isinstance(tree, str):
        return {tree} if inside else set()
    if isinstance(tree, list | tuple):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return set()
    return {
        text
        for name, item in tree.items()
        for text in _licences(item, inside or bool(LICENCE.search(str(name))))
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

    ``layers`` is its ``n_blocks``, ``norm`` "global" (``norm_type`` gLN), "frame" (cLN)
    or "cumulative" (cgLN), ``mask_act`` sigmoid, relu (the default of 2020), softmax or
    linear, ``encoder_act`` its ``encoder_activation``, "none" or "relu". On
    ``min_low_hz``, ``min_band_hz`` and ``sample_rate`` ``param_sinc`` filters depend.
    """
    blocks = _numbered(state, "masker.TCN.")
    causal = f"{blocks[0]}shared_block.3.0.weight" in state
    depthwise = "3.0" if causal else "3"
    naming = Naming(
        *(f"shared_block.{place}" for place in ("0", "1", "2", depthwise, "4", "5")),
        residual="res_conv",
        skip="skip_conv" if f"{blocks[0]}skip_conv.weight" in state else "",
        blocks=blocks,
        input_norm="masker.bottleneck.0",
        bottleneck="masker.bottleneck.1",
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
    fields |= kind | dict(layers=layers, W=stride, causal=causal, padding="none")
    fields |= dict(norm=norm, input_norm=norm, encoder_act=act, fb_act=act)
    fields["mask_act"] = _choice("mask_act", mask_act, MASKS)
    return _model(fields, banks, separator, sources, sample_rate)


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
    banks = _free_banks(state, "encoder.weight", "decoder.weight", sizes["N"])
    fields |= sizes | dict(L=len(banks[0]["kernel"]), layers=layers)
    return _model(fields, banks, separator, sources, sample_rate)


def _asteroid_banks(
    state: StateReader, latent: int, **floors: float
) -> tuple[list[Params], dict]:
    """Both banks, and the fields that tell their kind and number of taps."""
    state.ignore(r"(en|de)coder\.filterbank\.(torch_window|n_)")
    places = ("encoder.filterbank.", "decoder.filterbank.")
    if places[0] + "low_hz_" not in state:
        banks = _free_banks(state, *(place + "_filters" for place in places), latent)
        return banks, {"L": len(banks[0]["kernel"])}
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


def _free_banks(
    state: StateReader, encoder: str, decoder: str, filters: int
) -> list[Params]:
    """Taps (length, filters) of one-channel convolutions (filters, 1, length)."""
    analysis = state.take(encoder, filters, 1, -1)
    synthesis = state.take(decoder, *analysis.shape)
    return [{"kernel": bank[:, 0].T} for bank in (analysis, synthesis)]


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
    banks: list[Params],
    separator: Params,
    sources: tuple[str, ...],
    sample_rate: int,
) -> tuple[Config, dict]:
    """The configuration and the parameters of a masked separation."""
    names = source_names(sources, separator["mask"]["kernel"].shape[1] // fields["N"])
    fields["W"] = fields["W"] or fields["L"] // 2
    fields["stack"] = stacks_of(len(separator["tcn"]["prelu_1"]), fields["layers"])
    model = TasNetConfig(**{"encoding": "simple"} | fields)
    data = DataConfig(sources=names, sample_rate=sample_rate)
    encoder, decoder = ({"bank": bank} for bank in banks)
    params = {"encoder": encoder, "separator": separator, "decoder": decoder}
    return Config(model=model, data=data), params
