"""Importers of Hybrid Demucs, with or without transformer: demucs 4.1."""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.config.rules import value_problems
from sepjax.foreign.state_dict import StateReader, read_lstm, source_names
from sepjax.models.htdemucs.config import (
    STRIDE,
    HDemucsConfig,
    HTDemucsConfig,
    HybridConfig,
)
from sepjax.models.htdemucs.model import EMBEDDING_SCALE, network_parts
from sepjax.models.htdemucs.releases import FACTS
from sepjax.models.htdemucs.weights_files import (
    Content,
    fetch_release,
    is_published,
    read_bag,
    read_model_file,
)
from sepjax.models.importers import (
    IMPORTERS,
    MUSDB,
    UNKNOWN,
    Imported,
    expect,
    from_state_dict,
    make_facts,
    pick,
    typed,
)
from sepjax.models.releases import RELEASES
from sepjax.registry import nearest

SOURCE = "https://github.com/facebookresearch/demucs"
SIX = ("drums", "bass", "other", "vocals", "guitar", "piano")
# What other values of these arguments would change, and is not here.
FIXED: dict[str, Any] = dict(
    **dict(channels_time=None, cac=True, rewrite=True, multi_freqs=None, context=1),
    **dict(kernel_size=8, stride=4, context_enc=0, hybrid=True, hybrid_old=False),
    **dict(t_emb="sin", t_norm_first=True, t_norm_out=True, t_layer_scale=True),
    **dict(t_gelu=True, t_max_period=10000.0, t_weight_pos_embed=1.0),
    **dict(t_sparse_self_attn=False, t_sparse_cross_attn=False),
)
FIELDS = {
    field.name: field
    for kind in (HDemucsConfig, HTDemucsConfig)
    for field in dataclasses.fields(kind)
    if field.name not in ("name", "compute_dtype", "remat", "networks", "weights")
}
"""What arguments may say: defaults of the classes are those here."""


def read_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of :func:`htdemucs` that arguments tell.

    Arguments are those of the classes ``HTDemucs`` and ``HDemucs``; what changes only
    training, and what the classes do not know, is left out.

    Raises:
        ValueError: one has a value with which a network is another than those here.

    Example:
        >>> read_arguments({"nfft": 2048, "samplerate": 8000, "t_layers": 3})
        {'t_layers': 3, 'n_fft': 2048, 'sample_rate': 8000, 'segment': 10.0}
    """
    for name, value in FIXED.items():
        given = arguments.get(name, value)
        expect(name, (given or None) if value is None else given, value)
    same = {"emb_scale", *FIELDS} - {"segment", "n_fft"}
    options = pick(arguments, *sorted(same), n_fft="nfft", sample_rate="samplerate")
    if "sources" in arguments:
        options["sources"] = tuple(map(str, arguments["sources"]))
    if arguments.get("use_train_segment", True):
        options["segment"] = float(arguments.get("segment", 10))
    return options


def htdemucs(
    state: StateReader,
    *,
    sources: tuple[str, ...] = (),
    sample_rate: int = 44100,
    emb_scale: float = EMBEDDING_SCALE,
    **fields: Any,
) -> tuple[Config, dict]:
    """Import a network of either kind; ``fields`` are those of its configuration.

    Without them sizes that arrays show at once are read from them, and others are as
    in the source by default. Four sources are MUSDB18's if they have no names, six
    those of ``htdemucs_6s``.
    """
    hybrid = not state.has("crosstransformer.")
    kind: type[HybridConfig] = HDemucsConfig if hybrid else HTDemucsConfig
    if hybrid:  # never padded
        fields["segment"] = 0.0
    for name in fields.keys() - FIELDS.keys():
        raise ValueError(f"htdemucs has no option {name!r}: {nearest(name, FIELDS)}")
    known = {field.name for field in dataclasses.fields(kind)}
    given = {name: value for name, value in fields.items() if name in known}
    model = kind(**_sizes(state, hybrid) | given)
    for problem in value_problems(model, "model."):
        raise ValueError(f"the arguments make no network: {problem}")
    bias = state.take(f"decoder.{model.depth - 1}.conv_tr.bias", -1)
    count = len(bias) // (2 * model.audio_channels)
    usual = {len(MUSDB): MUSDB, len(SIX): SIX}.get(count, ())
    names = source_names(sources or usual, count)
    data = DataConfig(sources=names, sample_rate=sample_rate)
    config = Config(model=model, data=data)
    for problem in model.problems(config):
        raise ValueError(f"the arguments make no network: {problem}")
    params = _read_parameters(state, model, count)
    if model.freq_emb:
        params["frequency_embedding"]["table"] *= emb_scale / EMBEDDING_SCALE
    return config, params


def _sizes(state: StateReader, hybrid: bool) -> dict[str, Any]:
    """Fields that the arrays show at once."""
    width, channels, _ = state.take("tencoder.0.conv.weight", -1, -1, -1).shape
    sides = state.has("encoder.0.dconv."), state.has("decoder.0.dconv.")
    fields = dict(
        audio_channels=channels,
        channels=width,
        depth=state.count(r"encoder\.(\d+)\."),
        dconv_mode=sides[0] + 2 * sides[1],
    )
    if state.has("freq_emb."):
        rows = state.take("freq_emb.embedding.weight", -1, width)
        fields["n_fft"] = 2 * STRIDE * len(rows)
    else:
        fields["freq_emb"] = 0.0
    if not hybrid:
        fields["t_layers"] = state.count(r"crosstransformer\.layers\.(\d+)\.")
        fields["t_cross_first"] = state.has("crosstransformer.layers.0.cross_attn.")
        bottom = state.arrays.get("channel_upsampler.bias", ())
        fields["bottom_channels"] = len(bottom)
    return fields


def _read_parameters(state: StateReader, model: HybridConfig, sources: int) -> dict:
    """The arrays of all parts, in the shapes that the model draws."""
    parts, params = network_parts(model, sources), {}
    key = jax.eval_shape(jax.random.key, 0)
    for name, draw in parts.items():
        params[name] = _read(state, _theirs(name, model), jax.eval_shape(draw, key))
    return params


def _theirs(name: str, model: HybridConfig) -> str:
    """Place of a part in the source, where decoders are counted from the inside."""
    if name in ("transformer", "frequency_embedding"):
        return "" if name == "transformer" else "freq_emb.embedding."
    kind, _, number = name.rpartition("_")
    both = sum(layer.place != "after" for layer in model.layers())
    count = both if kind.startswith("time_") else model.depth
    place = count - 1 - int(number) if kind.endswith("decoder") else int(number)
    return f"{kind.replace('time_', 't')}.{place}."


LEAVES = {"kernel": "weight", "gain": "weight", "table": "weight"}
BRANCH = "conv norm1 gelu lstm attention rewrite norm2 glu scale".split()
"""Modules of a residual branch, whose numbers are their names in the source."""


def _module(name: str, place: str, siblings: Mapping[str, Any]) -> str:
    """Name of a module in the source, by its own and those beside it."""
    kind, _, number = name.rpartition("_")
    if kind == "dconv":
        return f"dconv.layers.{number}"
    if {"conv", "scale"} <= siblings.keys():
        there = [each for each in BRANCH if each in siblings or each in ("gelu", "glu")]
        return str(there.index(name))
    if kind.startswith("layers"):
        return f"crosstransformer.{kind}.{number}"
    if name.startswith("norm_in"):
        return f"crosstransformer.{name}"
    if name.startswith("attention"):
        own = "cross_attn" if "norm3" in siblings else "self_attn"
        return f"{own}.out_proj" if kind else own
    return "conv_tr" if name == "conv" and "decoder" in place else name


def _read(state: StateReader, place: str, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays of a part whose names begin with a place."""
    tree: dict[str, Any] = {}
    for name, part in drawn.items():
        if not isinstance(part, Mapping):
            leaf = LEAVES.get(name, name)
            own = f"{_module(name, place, drawn)}." if "conv" in drawn else ""
            key = f"{place}{own}{leaf}"
            key = re.sub(r"(_attn)\.(?=weight|bias)", r"\1.in_proj_", key)
            tree[name] = _array(state, key, part.shape)
        elif "state_bias" in part:
            inputs, hidden = part["input"].shape[1], part["state"].shape[1]
            layer, sizes = int(name[-1]), dict(inputs=inputs, hidden=hidden)
            tree[name] = read_lstm(state, f"{place}lstm.", layer, **sizes)
        else:
            tree[name] = _read(state, f"{place}{_module(name, place, drawn)}.", part)
    return tree


def _array(state: StateReader, key: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array with its axes in our order: channels last, none of a single tap."""
    array = state.take(key, *(-1,) * np.ndim(state.arrays.get(key, 0)))
    turned = (array.swapaxes(0, 1) if "conv_tr.weight" in key else array).T
    turned = array if "embedding" in key else turned
    if [size for size in turned.shape if size > 1] != [n for n in shape if n > 1]:
        raise ValueError(
            f"'{key}' has shape {array.shape}, which does not give the {shape} that "
            "follows from other arrays"
        )
    return turned.reshape(shape)


def import_files(
    released: str,
    paths: Sequence[Path],
    *,
    download: bool = False,
    **options: Any,
) -> Imported:
    """Import a network, or a bag of them, from files of demucs.

    Args:
        released: the name of a released model, whose files are checked; else a family.
        paths: one: a ``.th`` or ``.safetensors`` file, a ``.yaml`` that names such
            files beside it, or a folder with one of these.
        download: fetch the released model into the folder.
        options: of :func:`htdemucs`; they override what files tell.

    Raises:
        OSError: a file cannot be read, or fetched: the message tells what to fetch by
            hand.
        ValueError: a file is damaged or of another family, or networks of a bag differ.
        KeyError: an array is missing.
    """
    if len(paths) != 1:
        raise ValueError(f"{len(paths)} files are given, but this family has one")
    path = fetch_release(released, paths[0]) if download else paths[0]
    bag = read_bag(path, released)
    contents = [read_model_file(path) for path in bag.files]
    members = [_converted(content, options) for content in contents]
    config = members[0][0]
    if other := [config.model for config, _ in members if config != members[0][0]]:
        raise ValueError(
            f"the networks of {paths[0]} differ ({members[0][0].model}, {other[0]}): "
            "import each of its files, and name all of them to `sepjax separate`"
        )
    params = members[0][1]
    if len(members) > 1:
        config.model.networks = len(members)
        config.model.weights = bag.weights
        params = jax.tree.map(lambda *a: np.stack(a), *(tree for _, tree in members))
        for problem in config.model.problems(config):
            raise ValueError(f"{paths[0]}: {problem}")
    published = is_published(released, bag.files)
    seconds = float(bag.segment or contents[0].segment)
    separate = dict(chunk=seconds, overlap=0.25, rescale=False)
    licence = RELEASES[released].licence if published else UNKNOWN + "MIT"
    facts = dict(source=SOURCE, licence=licence, published=published)
    name = released if published else config.model.name
    return Imported(
        config, params, make_facts(name, bag.files, separate=separate, **facts)
    )


def _converted(content: Content, options: Mapping[str, Any]) -> tuple[Config, dict]:
    given = read_arguments(content.arguments) | dict(options)
    given = {name: typed(name, value, KINDS[name]) for name, value in given.items()}
    return from_state_dict(content.state, family="htdemucs", **given)


KINDS: dict[str, Any] = {name: type(field.default) for name, field in FIELDS.items()}
KINDS |= dict(sources=tuple[str, ...], sample_rate=int, emb_scale=float, download=bool)


def _importer(name: str) -> Callable[..., Imported]:
    run = functools.partial(import_files, name)
    # What files tell has no default of its own.
    form = dict(kind=inspect.Parameter.KEYWORD_ONLY, default=None)
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, annotation=kind, **form) for n, kind in KINDS.items()]
    )
    run.convert = htdemucs  # type: ignore[attr-defined]
    return run


for _name in ("hdemucs", *FACTS):
    IMPORTERS.register(_name)(_importer(_name))
