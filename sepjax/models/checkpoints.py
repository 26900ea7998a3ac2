"""Importers of single checkpoint files: Conv-TasNets, Demucs v1 and Meta-TasNet.

What a file tells of itself is taken from it (kaituoxu's package, asteroid's
``model_args``, the arguments that Demucs and Meta-TasNet pickle), options override it,
and the sizes it tells are compared with those of its arrays.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sepjax.config import Config
from sepjax.foreign.restricted_pickle import Named
from sepjax.foreign.torch_file import read_torch_file
from sepjax.models.demucs.weights import MUSDB
from sepjax.models.importers import (
    IMPORTERS,
    Imported,
    make_facts,
    one_file,
    require,
    state_of,
)
from sepjax.models.meta_tasnet import weights as _meta  # noqa: F401
from sepjax.models.state_dicts import FAMILIES, from_state_dict
from sepjax.models.tasnet import weights_conv_tasnet as _conv  # noqa: F401

UNKNOWN = "of the weights: not known, ask whoever trained them; of the code: "
NORMS = {"gLN": "global", "cLN": "frame", "cgLN": "cumulative"}


class Told(NamedTuple):
    """What a file holds: a state dict, and what it says about it."""

    state: dict
    options: Mapping[str, Any] = MappingProxyType({})
    sizes: Mapping[str, Any] = MappingProxyType({})  # field of config.model -> value
    licence: str = ""


class Project(NamedTuple):
    """Whose files they are, and how they are read."""

    address: str
    licence: str
    read: Callable[[Any], Told]
    separate: dict[str, Any]


def _plain(content: Any) -> Told:
    return Told(state_of(content))


def _kaituoxu(content: Any) -> Told:
    """The package of ``ConvTasNet.serialize``, or a state dict."""
    state = state_of(content)
    if state is content:
        return Told(state)
    return Told(state, *_kaituoxu_arguments(content))


def _kaituoxu_arguments(told: dict) -> tuple[dict, dict]:
    names = {"norm_type": "norm", "mask_nonlinear": "mask_act"}
    fields = {"N": "N", "L": "L", "H": "H", "P": "kernel", "X": "layers", "R": "stack"}
    fields |= {"causal": "causal", "C": "sources", "audio_channels": "audio_channels"}
    return _pick(told, names), _pick(told, fields)


def _asteroid(content: Any) -> Told:
    """The dictionary of ``model.serialize``, or a state dict."""
    state = state_of(content)
    told = content.get("model_args")
    if state is content or not isinstance(told, dict):
        return Told(state)
    _expect("model_name", content.get("model_name"), "ConvTasNet")
    names = {
        "n_blocks": "layers",
        "norm_type": "norm",
        "mask_act": "mask_act",
        "encoder_activation": "encoder_act",
        "stride": "stride",
        "sample_rate": "sample_rate",
        "min_low_hz": "min_low_hz",
        "min_band_hz": "min_band_hz",
    }
    fields = {
        "n_filters": "N",
        "hid_chan": "H",
        "conv_kernel_size": "kernel",
        "n_repeats": "stack",
        "n_src": "sources",
        "causal": "causal",
    }
    rest = {name: value for name, value in content.items() if name != "state_dict"}
    licence = "; ".join(sorted(set(_licences(rest))))
    return Told(state, _pick(told, names), _pick(told, fields), licence)


def _licences(tree: Any, inside: bool = False) -> list[str]:
    """Texts under names such as ``license`` or ``license_note``."""
    if isinstance(tree, str):
        return [tree] if inside else []
    if isinstance(tree, list | tuple):
        return [text for item in tree for text in _licences(item, inside)]
    if not isinstance(tree, dict):
        return []
    found = []
    for name, value in tree.items():
        name = str(name).lower()
        found += _licences(value, inside or "licens" in name or "licenc" in name)
    return found


# What our Demucs has always and its arrays do not show.
FIXED = dict(kernel_size=8, stride=4, context=3, rewrite=True, glu=True)
FIXED |= dict(upsample=False, resample=False, normalize=False)


def _demucs(content: Any) -> Told:
    state, told = _arguments(content, Named("demucs.model", "Demucs"))
    for name, value in FIXED.items():
        _expect(name, told.get(name, value), value)
    options = _pick(told, {"growth": "growth", "samplerate": "sample_rate"})
    fields = {
        "channels": "channels",
        "depth": "depth",
        "lstm_layers": "lstm_layers",
        "audio_channels": "audio_channels",
        "sources": "sources",
    }
    sizes = _pick(told, fields)
    if isinstance(sizes.get("sources"), list | tuple):
        options["sources"] = tuple(map(str, sizes.pop("sources")))
    return Told(state, options, sizes)


def _demucs_tasnet(content: Any) -> Told:
    state, told = _arguments(content, Named("demucs.tasnet", "ConvTasNet"))
    options, sizes = _kaituoxu_arguments(told)
    if "samplerate" in told:
        options["sample_rate"] = told["samplerate"]
    if sizes.get("sources") == len(MUSDB):
        options["sources"] = MUSDB
    return Told(state, options, sizes)


def _arguments(content: Any, wanted: Named) -> tuple[dict, dict[str, Any]]:
    """State dict and arguments from (class, args, kwargs, state), or a state dict."""
    if not isinstance(content, tuple) or len(content) != 4:
        return state_of(content), {}
    found, positional, named, state = content
    _expect("class", found, wanted)
    if not isinstance(named, dict):
        raise ValueError(f"the file's arguments are a {type(named).__name__}")
    if positional:
        raise ValueError(
            f"the file has arguments without names, {positional!r}: which ones they "
            "are depends on the release of Demucs"
        )
    return state_of(state), named


# Terms that no file tells: the published one and others' own look alike.
META_LICENCE = (
    "of the published weights, trained on MUSDB18: see the project's README; of "
    "others: ask whoever trained them; of the code: MIT"
)


def _meta_tasnet(content: Any) -> Told:
    """The dictionary that the trainer saves, with all of its arguments, or less."""
    state = state_of(content)
    told = content.get("args")
    if state is content or not isinstance(told, dict):
        return Told(state, licence=META_LICENCE)
    options = _pick(told, {"layers": "layers", "W": "stride", "kernel": "kernel"})
    stages = told.get("stages_num", 1)
    rate = told.get("sampling_rate")  # of the first stage; it doubles
    if isinstance(stages, int) and 0 < stages < 9 and isinstance(rate, int):
        options["sample_rate"] = rate * 2 ** (stages - 1)
    names = ("N", "L", "B", "H", "stack", "filters", "independent_params")
    fields = {name: name for name in (*names, "residual_bias")}
    fields |= {"num_mels": "mels", "stages_num": "stages", "layers": "layers"}
    if not told.get("independent_params", False):
        fields |= {"E_1": "embedding", "E_2": "generator_bottleneck"}
    return Told(state, options, _pick(told, fields), META_LICENCE)


def _pick(told: dict, names: dict[str, str]) -> dict[str, Any]:
    return {ours: told[name] for name, ours in names.items() if name in told}


def _expect(name: str, found: Any, wanted: Any) -> None:
    if found == wanted:
        return
    shown = [
        ".".join(value) if isinstance(value, Named) else repr(value)
        for value in (found, wanted)
    ]
    raise ValueError(
        f"the file says {name} = {shown[0]}, and this family has {shown[1]}: is it of "
        "another family?"
    )


PROJECTS = {
    "naplab": Project(
        *("https://github.com/naplab/Conv-TasNet", "none stated", _plain, {}),
    ),
    "torchaudio": Project(
        *("https://github.com/pytorch/audio", "BSD-2-Clause", _plain, {}),
    ),
    "kaituoxu": Project(
        *("https://github.com/kaituoxu/Conv-TasNet", "MIT", _kaituoxu, {}),
    ),
    "asteroid": Project(
        *("https://github.com/asteroid-team/asteroid", "MIT", _asteroid, {}),
    ),
    # Trained on waveforms, their estimates have a scale, which no fit should change.
    "demucs": Project(
        "https://github.com/facebookresearch/demucs/tree/v1",
        *("MIT", _demucs, {"rescale": False}),
    ),
    "demucs_tasnet": Project(
        "https://github.com/facebookresearch/demucs/tree/v1",
        *("MIT", _demucs_tasnet, {"rescale": False}),
    ),
    "meta_tasnet": Project(
        "https://github.com/pfnet-research/meta-tasnet", "MIT", _meta_tasnet, {}
    ),
}


def import_checkpoint(family: str, paths: Sequence[Path], **given: Any) -> Imported:
    """Import one file of a family in :data:`PROJECTS`.

    Args:
        family: of the state dict.
        paths: the file.
        given: options of the family; they override what the file tells.

    Raises:
        ValueError: the file is damaged, or of another family, or tells too little.
        KeyError: an array is missing.
    """
    project, path = PROJECTS[family], one_file(paths)
    told = project.read(read_torch_file(path))
    known = inspect.signature(FAMILIES[family]).parameters
    options = {
        name: _typed(name, value, known[name].annotation)
        for name, value in (dict(told.options) | given).items()
        if name in known
    }
    if "norm" in options:
        options["norm"] = NORMS.get(options["norm"], options["norm"])
    require(family, FAMILIES[family], options)
    config, params = from_state_dict(told.state, family=family, **options)
    _compare(told.sizes, config)
    licence = told.licence or UNKNOWN + project.licence
    more = {"options": options, "source": project.address, "licence": licence}
    if project.separate:
        more["separate"] = project.separate
    return Imported(config, params, make_facts(family, paths, **more))


def _typed(name: str, value: Any, kind: Any) -> Any:
    """An option as its family wants it, whatever a file has put there."""
    if value is None:
        value = "none"
    if kind in (int, float) and type(value) in (int, float) and kind(value) == value:
        value = kind(value)
    if isinstance(value, kind if isinstance(kind, type) else tuple):
        return value
    raise ValueError(f"the file says {name} = {value!r}")


def _compare(sizes: Mapping[str, Any], config: Config) -> None:
    for name, value in sizes.items():
        sources = config.data.sources
        found = len(sources) if name == "sources" else getattr(config.model, name)
        if found != value:
            raise ValueError(
                f"the file says {name} = {value!r}, but its arrays have {found!r}"
            )


def _register(family: str) -> None:
    def run(paths: Sequence[Path], **given: Any) -> Imported:
        return import_checkpoint(family, paths, **given)

    # The options are the family's; the file may tell those that have no default.
    signature = inspect.signature(FAMILIES[family])
    run.__signature__ = signature.replace(
        parameters=[
            parameter.replace(default=None)
            if parameter.kind is parameter.KEYWORD_ONLY
            else parameter
            for parameter in signature.parameters.values()
        ]
    )
    IMPORTERS.register(family)(run)


for _family in PROJECTS:
    _register(_family)
