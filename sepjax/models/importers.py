"""Importers by name: from files of weights to a model of ours and the facts about it.

To add one, write it into a module of its own and import that module in
``sepjax/weights/__init__.py``, where importing registers::

    @IMPORTERS.register("mine")
    def mine(
        paths: Sequence[Path], *, layers: int, sources: tuple[str, ...] = ()
    ) -> Imported:
        content = read_torch_file(one_file(paths))
        config, params = from_state_dict(state_of(content), family="mine", ...)
        return Imported(config, params, make_facts("mine", paths, source=..., ...))

Its keyword arguments are the options of the command line, each ``int``, ``float``,
``bool``, ``str`` or ``tuple[str, ...]``; those without default have to be given.
``--sources a,b`` and ``--sample-rate HZ`` are the options ``sources`` and
``sample_rate``. :func:`run_importer` turns texts into these types and names what is
unknown or missing. The facts go into ``weights.json``; ``licence_notice`` among them is
told whenever the weights are used, and ``separate`` holds defaults of
:func:`sepjax.separate`, as ``{"rescale": False}`` where estimates have a
scale of their own.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sepjax.config import Config
from sepjax.registry import Registry, nearest
from sepjax.storage import sha256

IMPORTERS = Registry("family of weights")

# Where projects put a state dict beside other things.
STATES = ("state_dict", "model_state_dict", "model", "net", "network", "best_state")
RESTRICTED = r"(?i)\bNC\b|non-?commercial|research (use )?only|\bND\b|no ?derivatives"


class Imported(NamedTuple):
    """What an importer returns, and :func:`~sepjax.weights.write_imported` writes."""

    config: Config
    params: dict
    facts: dict[str, Any]


def run_importer(
    family: str, paths: Sequence[Path], options: Mapping[str, str]
) -> Imported:
    """Import files with options as they come from a command line.

    Args:
        family: a key of :data:`IMPORTERS`.
        paths: of the files.
        options: name -> text.

    Raises:
        ValueError: no such family, option, or value; the message suggests others.

    Example:
        >>> run_importer("naplab", [], {"layer": "8"})
        Traceback (most recent call last):
        ValueError: naplab has no option 'layer': did you mean 'layers'? Known: ...
    """
    family = importer_name(family)
    if family not in IMPORTERS:
        raise ValueError(
            f"unknown {IMPORTERS.kind} {family!r}: {nearest(family, IMPORTERS)}"
        )
    known, given = importer_options(family), {}
    for name, text in options.items():
        if name not in known:
            raise ValueError(
                f"{family} has no option {name!r}: "
                + (nearest(name, known) if known else "it has none")
            )
        given[name] = _converted(name, text, known[name].annotation)
    require(family, IMPORTERS[family], given)
    return IMPORTERS[family](paths, **given)


def importer_options(family: str) -> dict[str, inspect.Parameter]:
    """The keyword arguments of an importer.

    Args:
        family: a key of :data:`IMPORTERS`.

    Example:
        >>> sorted(importer_options("naplab"))
        ['layers', 'sample_rate', 'sources', 'stride']
    """
    return {
        name: parameter
        for name, parameter in inspect.signature(IMPORTERS[family]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def importer_name(family: str) -> str:
    """The key of :data:`IMPORTERS` that is meant, also with hyphens, as in a shell.

    Example:
        >>> importer_name("meta-tasnet")
        'meta_tasnet'
    """
    return family if family in IMPORTERS else family.replace("-", "_")


def require(family: str, function: Any, given: Mapping[str, Any]) -> None:
    """Refuse to call a function without its keyword arguments.

    Raises:
        ValueError: one that has no default is missing.
    """
    for name, parameter in inspect.signature(function).parameters.items():
        needed = parameter.default is parameter.empty
        if parameter.kind is parameter.KEYWORD_ONLY and needed and name not in given:
            raise ValueError(
                f"{family} cannot tell '{name}' from the file: give it with "
                f"--option {name}=..."
            )


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


def one_file(paths: Sequence[Path]) -> Path:
    """The only path.

    Raises:
        ValueError: there are several.
    """
    if len(paths) != 1:
        raise ValueError(f"{len(paths)} files are given, but this family has one")
    return paths[0]


def state_of(content: Any) -> dict[str, np.ndarray]:
    """The state dict in what a file holds: all of it, or under one of the usual names.

    Raises:
        ValueError: there is none; the message tells what there is.

    Example:
        >>> list(state_of({"epoch": 1, "state_dict": {"weight": np.zeros(1)}}))
        ['weight']
    """
    if _is_state(content):
        return content
    if isinstance(content, dict):
        for name in STATES:
            if _is_state(content.get(name)):
                return content[name]
        held = ", ".join(str(name)[:40] for name in list(content)[:8])
        held = f"a dictionary of {held}" if held else "an empty dictionary"
    else:
        held = f"a {type(content).__name__}"
    raise ValueError(f"the file has no state dict, but {held}")


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and all(isinstance(array, np.ndarray) for array in value.values())
    )


def make_facts(
    family: str, paths: Sequence[Path], *, source: str, licence: str, **more: Any
) -> dict[str, Any]:
    """Facts for ``weights.json``.

    Args:
        family: of the importer.
        paths: of the files, whose names and digests are kept.
        source: the project whose code wrote them, as an address.
        licence: what is known about it; where it restricts use, it becomes the
            ``licence_notice`` as well.
        more: ``url`` where the files are published, ``options``, ``separate``, ...
    """
    facts = {
        "family": family,
        "files": file_facts(paths),
        "source": source,
        "licence": licence,
        "licence_notice": notice(licence),
    }
    return facts | more


def file_facts(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Name and SHA-256 of each file."""
    return [{"name": path.name, "sha256": sha256(path)} for path in paths]


def notice(licence: str) -> str:
    """What to tell at every use under a licence; empty where it allows all use.

    Example:
        >>> notice("MIT")
        ''
        >>> notice("CC BY-NC-SA 4.0")
        'the licence of these weights restricts their use: CC BY-NC-SA 4.0'
    """
    if not re.search(RESTRICTED, licence):
        return ""
    return f"the licence of these weights restricts their use: {licence}"
