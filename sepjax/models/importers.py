"""Importers by name: from files of weights to a model of ours and the facts about it.

:func:`state_dict_importer` makes one of a function, in a module ``weights*`` beside its
family or in any file of one's own that is imported.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from sepjax.config import Config
from sepjax.foreign.safetensors_file import read_safetensors
from sepjax.foreign.state_dict import StateReader, state_of
from sepjax.foreign.torch_file import read_torch_file
from sepjax.registry import Registry, import_extensions, nearest
from sepjax.storage import sha256

IMPORTERS = Registry("family of weights", package="sepjax.models", module="weights*")
"""Functions of paths and options that return :class:`Imported`; of several files too.

The attribute ``convert`` of most is the function that :func:`from_state_dict` calls.
"""
MUSDB = ("drums", "bass", "other", "vocals")  # names of four sources
UNKNOWN = "of the weights: not known, ask whoever trained them; of the code: "
RESTRICTED = r"(?i)\bNC\b|non-?commercial|research (use )?only|\bND\b|no ?derivatives"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Imported(NamedTuple):
    """Result of an importer, which :func:`~sepjax.weights.write_imported` writes."""

    config: Config
    params: dict
    facts: dict[str, Any]


class Package(NamedTuple):
    """A state dict and the other content of its file."""

    state: dict
    options: Mapping[str, Any] = NOTHING
    sizes: Mapping[str, Any] = NOTHING
    """Fields of ``config.model``, or ``sources``, which the arrays must have."""
    licence: str = ""
    """Of these weights."""
    separate: Mapping[str, Any] = NOTHING
    """Defaults of :func:`sepjax.separate` that belong to these weights."""


def state_dict_importer(
    family: str,
    *,
    source: str,
    licence: str,
    read: Callable[[Any], Package] = lambda content: Package(state_of(content)),
    files: Callable[[Sequence[Path]], Package] | None = None,
    words: Mapping[str, str] = NOTHING,
    separate: Mapping[str, Any] = NOTHING,
) -> Callable[[Callable], Callable]:
    """Decorator that makes a function of a state dict the importer of a project.

    The function takes a :class:`~sepjax.foreign.state_dict.StateReader` and keyword
    arguments, the options of the command line, each ``int``, ``float``, ``bool``,
    ``str`` or ``tuple[str, ...]``; ``--sources a,b`` and ``--sample-rate HZ`` are
    ``sources`` and ``sample_rate``. Options without default have to be given, unless
    the file tells them. It returns a configuration and parameters.

    Args:
        family: name of the importer, and the ``family`` of :func:`from_state_dict`.
        source: address of the project.
        licence: of its code.
        read: what is in its files. Options override what a file tells.
        files: what is in files that PyTorch alone has not written, or in several.
        words: its names of choices -> ours, as gLN for a global norm.
        separate: defaults of :func:`sepjax.separate`, as ``{"rescale": False}`` where
            estimates have a scale of their own.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> @state_dict_importer("pair", source="https://example.org", licence="MIT")
        ... def pair(state, *, scale: float = 1.0):
        ...     return Config(), {"gain": scale * state.take("gain", 2)}
        >>> from_state_dict({"gain": [1, 3]}, family="pair", scale=2.0)[1]
        {'gain': array([2., 6.], dtype=float32)}
        >>> del IMPORTERS["pair"]
    """

    def add(convert: Callable) -> Callable:
        known = importer_options(convert)

        @functools.wraps(convert)
        def run(paths: Sequence[Path], **options: Any) -> Imported:
            package = files(paths) if files else read(_content(paths))
            options, values = {}, dict(package.options) | options
            for name in [name for name in values if name in known]:
                value = typed(name, values[name], known[name].annotation)
                options[name] = words.get(value, value)
            _require(family, known, options)
            config, params = from_state_dict(package.state, family=family, **options)
            compare(package.sizes, config)
            terms = package.licence or UNKNOWN + licence
            habits = dict(separate) | dict(package.separate)
            more = {"separate": habits} if habits else {}
            more |= {"options": options, "source": source, "licence": terms}
            return Imported(config, params, make_facts(family, paths, **more))

        # The file may tell those options that have no default.
        run.__signature__ = inspect.Signature(
            [parameter.replace(default=None) for parameter in known.values()]
        )
        run.convert = convert
        IMPORTERS.register(family)(run)
        return convert

    return add


def _content(paths: Sequence[Path]) -> Any:
    if len(paths) != 1:
        raise ValueError(f"{len(paths)} files are given, but this family has one")
    return read_arrays(paths[0])


def read_arrays(path: Path) -> Any:
    """Read a checkpoint of PyTorch, or the arrays of a safetensors file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or neither.
    """
    if path.suffix.lower() == ".safetensors":
        return read_safetensors(path)[0]
    return read_torch_file(path)


def from_state_dict(
    state: Mapping[str, Any], *, family: str, **options: Any
) -> tuple[Config, dict]:
    """Build a model of ours from the state dict of a public implementation.

    ``model_of(config)`` with the parameters estimates what the source does.

    Args:
        state: the source's names -> NumPy arrays. A prefix ``module.`` that all names
            share is dropped.
        family: a key of :data:`IMPORTERS`.
        options: what shapes of arrays cannot tell, as ``sources``, ``sample_rate`` and
            ``layers``: ``docs/weights.md`` lists those of every family.

    Returns:
        The configuration, and the tree of parameters as NumPy arrays, float32, with
        running statistics, where a model has them, as one more part ``batch_stats``:
        :func:`sepjax.weights.as_variables` makes of it what the model applies.

    Raises:
        KeyError: an array is missing; the message names it.
        ValueError: an array has another shape than the others imply, an option does
            not fit, or the family is not known.

    Warns:
        UserWarning: the state has arrays that the family does not know.

    Example:
        >>> sorted(IMPORTERS)[:3], "open_unmix" in IMPORTERS
        (['asteroid', 'demucs', 'demucs_tasnet'], True)
        >>> from_state_dict({}, family="asteroid", layers=8)
        Traceback (most recent call last):
        KeyError: "the state dict has no 'masker.TCN.0.': is it of another family?"
    """
    convert = getattr(IMPORTERS.find(family), "convert", None)
    if convert is None:
        raise ValueError(f"{family} is imported from files alone: use run_importer")
    reader = StateReader(state)
    config, params = convert(reader, **options)
    reader.warn_of_the_rest()
    return config, params


def run_importer(
    family: str, paths: Sequence[Path], options: Mapping[str, str]
) -> Imported:
    """Import files of a family with options, name -> text, as of a command line.

    Raises:
        ValueError: no such family, option, or value; the message suggests others.

    Example:
        >>> run_importer("naplab", [], {"layer": "8"})
        Traceback (most recent call last):
        ValueError: naplab has no option 'layer': did you mean 'layers'? Known: ...
    """
    family = importer_name(family)
    importer = IMPORTERS.find(family)
    known, values = importer_options(importer), {}
    for name, text in options.items():
        if name not in known:
            hint = nearest(name, known) if known else "it has none"
            raise ValueError(f"{family} has no option {name!r}: {hint}")
        values[name] = _converted(name, text, known[name].annotation)
    _require(family, known, values)
    return importer(paths, **values)


def importer_options(importer: Callable) -> dict[str, inspect.Parameter]:
    """Return the keyword arguments of an importer.

    Example:
        >>> sorted(importer_options(IMPORTERS["naplab"]))
        ['layers', 'sample_rate', 'sources', 'stride']
    """
    parameters = inspect.signature(importer).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _require(
    family: str, known: Mapping[str, inspect.Parameter], options: Mapping[str, Any]
) -> None:
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise ValueError(
                f"{family} cannot tell '{name}' from the file: give it with "
                f"--option {name}=..."
            )


def typed(name: str, value: Any, kind: Any) -> Any:
    """Return an option in the type of its family, whatever a file has put there.

    Raises:
        ValueError: it is of another type.

    Example:
        >>> typed("sample_rate", 8000.0, int)
        8000
    """
    if value is None:
        value = "none"
    if kind in (int, float) and type(value) in (int, float) and kind(value) == value:
        value = kind(value)
    if isinstance(value, kind if isinstance(kind, type) else tuple):
        return value
    raise ValueError(f"the file says {name} = {value!r}")


def compare(
    sizes: Mapping[str, Any],
    config: Config,
    place: str = "the file",
    arrays: str = "its arrays",
) -> None:
    """Refuse a model of other sizes than a place tells: the first is named.

    They are fields of ``config.model``, ``sample_rate``, or the number of ``sources``.
    """
    facts = {"sources": len(config.data.sources)}
    facts["sample_rate"] = config.data.sample_rate
    for name, value in sizes.items():
        size = facts[name] if name in facts else getattr(config.model, name)
        if size != value:
            raise ValueError(
                f"{place} says {name} = {value!r}, but {arrays} have {size!r}: are "
                "they of another model?"
            )


def pick(arguments: Mapping[str, Any], *same: str, **renamed: str) -> dict[str, Any]:
    """Return some of the arguments in a file, under our names; renamed: ours -> theirs.

    Example:
        >>> pick({"N": 8, "X": 2, "epochs": 3}, "N", "L", layers="X")
        {'N': 8, 'layers': 2}
    """
    names = dict(zip(same, same)) | renamed
    return {ours: arguments[n] for ours, n in names.items() if n in arguments}


def expect(name: str, value: Any, ours: Any) -> None:
    """Refuse a file that says something else than the family has.

    Classes are tuples of the module's name and their own.
    """
    if value != ours:
        texts = [
            ".".join(each) if isinstance(each, tuple) else repr(each)
            for each in (value, ours)
        ]
        raise ValueError(
            f"the file says {name} = {texts[0]}, and this family has {texts[1]}: is it "
            "of another family?"
        )


def importer_name(family: str) -> str:
    """Return the key of :data:`IMPORTERS` for a name, also with hyphens, as in a shell.

    In ``my_parts:mine``, ``my_parts`` is a module to import, which registers it.

    Example:
        >>> importer_name("meta-tasnet")
        'meta_tasnet'
    """
    module = family.rpartition(":")[0]
    # What belongs to a name of ours, as in project:model, is no module to import.
    if module and any(name.startswith(f"{module}:") for name in IMPORTERS):
        return family
    import_extensions([module] if module else [])
    family = family.rpartition(":")[2]
    return family if family in IMPORTERS else family.replace("-", "_")


def _converted(name: str, text: str, kind: Any) -> Any:
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"--option {name}={text}: true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"--option {name}={text}: no {kind.__name__}") from None


def make_facts(
    family: str, paths: Sequence[Path], *, source: str, licence: str, **more: Any
) -> dict[str, Any]:
    """Make the facts for ``weights.json``.

    Args:
        family: of the importer.
        paths: of the files, whose names and digests are kept.
        source: the project whose code wrote them, as an address.
        licence: what is known about it; where it restricts use, it becomes the
            ``licence_notice`` as well.
        more: ``url`` where the files are published, ``options``, ``separate``, ...
    """
    files = [{"name": path.name, "sha256": sha256(path)} for path in paths]
    facts = dict(family=family, files=files, source=source, licence=licence)
    return facts | {"licence_notice": notice(licence)} | more


def notice(licence: str) -> str:
    """Return the notice that a licence needs at every use; empty if all use is allowed.

    Example:
        >>> notice("MIT")
        ''
        >>> notice("CC BY-NC-SA 4.0")
        'the licence of these weights restricts their use: CC BY-NC-SA 4.0'
    """
    if not re.search(RESTRICTED, licence):
        return ""
    return f"the licence of these weights restricts their use: {licence}"
