"""Configurations as trees of plain values: to and from JSON, compared, varied."""

import copy
import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sepjax.config.rules import validate
from sepjax.config.schema import Config
from sepjax.registry import nearest


def variations(config: Config) -> tuple[dict[str, float], ...]:
    """The values of the varied fields, in all combinations; the first varies slowest.

    Example:
        >>> config = Config()
        >>> config.train.vary = "optim.lr=0.001:0.01,optim.clip=1:5"
        >>> variations(config)[1]
        {'optim.lr': 0.001, 'optim.clip': 5.0}
    """
    axes = []
    for entry in filter(None, config.train.vary.split(",")):
        field, _, values = entry.partition("=")
        axes.append([(field, float(value)) for value in values.split(":")])
    return tuple(map(dict, itertools.product(*axes)))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A configuration with other values of some fields, by dotted name.

    Example:
        >>> with_values(Config(), {"optim.lr": 0.5}).optim.lr
        0.5
    """
    sections = {path.split(".")[0] for path in values}
    # A copy of what changes: the values may be tracers, which cannot be copied deeply.
    new = {name: copy.copy(getattr(config, name)) for name in sections}
    for path, value in values.items():
        section, field = path.split(".")
        setattr(new[section], field, value)
    return dataclasses.replace(config, **new)


def member_configs(config: Config) -> tuple[Config, ...]:
    """One configuration for each member of a run: of each variation, each seed.

    Example:
        >>> config = Config(seed=7)
        >>> config.train.seeds = 3
        >>> [one.seed for one in member_configs(config)]
        [7, 8, 9]
    """
    members = []
    for values in variations(config):
        for offset in range(config.train.seeds):
            one = with_values(copy.deepcopy(config), values)
            one.seed, one.train.seeds, one.train.vary = config.seed + offset, 1, ""
            members.append(one)
    return tuple(members)


def member_folders(config: Config, workdir: Path) -> tuple[Path, ...]:
    """Where each member's run lies: in the run folder itself if there is but one.

    Example:
        >>> config = Config(seed=7)
        >>> config.train.seeds = 2
        >>> [str(folder) for folder in member_folders(config, Path("runs"))]
        ['runs/seed_7', 'runs/seed_8']
        >>> config.train.vary = "optim.lr=0.01:0.001"
        >>> str(member_folders(config, Path("runs"))[3])
        'runs/optim.lr=0.001/seed_8'
    """
    seeds = range(config.seed, config.seed + config.train.seeds)
    ends = [f"seed_{seed}" for seed in seeds] if config.train.seeds > 1 else [""]
    return tuple(
        workdir / variation_name(values) / end
        for values in variations(config)
        for end in ends
    )


def variation_name(values: Mapping[str, float]) -> str:
    """The folder's name of a variation.

    Example:
        >>> variation_name({"optim.lr": 0.003, "optim.clip": 5.0})
        'optim.lr=0.003,optim.clip=5'
    """
    return ",".join(f"{field}={value:g}" for field, value in values.items())


def to_dict(config: Config) -> dict[str, Any]:
    """Plain JSON-ready nested dictionaries."""
    tree = dataclasses.asdict(config)
    return {
        section: {k: list(v) if isinstance(v, tuple) else v for k, v in node.items()}
        if isinstance(node, dict)
        else node
        for section, node in tree.items()
    }


def from_dict(tree: dict[str, Any]) -> Config:
    """Inverse of :func:`to_dict`.

    Raises:
        ValueError: a field is not known; the nearest names are suggested.

    Example:
        >>> from_dict({"seed": 7, "model": {"L": 16}}).model.L
        16
    """
    return _fill(Config(), tree, "")


def _fill(node: Any, tree: dict[str, Any], prefix: str) -> Any:
    known = {field.name for field in dataclasses.fields(node)}
    for name, value in tree.items():
        if name not in known:
            raise ValueError(f"unknown field '{prefix}{name}': {nearest(name, known)}")
        current = getattr(node, name)
        if dataclasses.is_dataclass(current) and not isinstance(value, dict):
            raise ValueError(f"'{prefix}{name}' is a section: set one of its fields")
        if dataclasses.is_dataclass(current):
            _fill(current, value, f"{prefix}{name}.")
        else:
            setattr(node, name, tuple(value) if isinstance(value, list) else value)
    return node


def differences(old: Config, new: Config) -> list[str]:
    """Lines ``field: old -> new`` for every field in which two configs differ."""
    flat_old, flat_new = (dict(_flatten(to_dict(c))) for c in (old, new))
    return [
        f"{name}: {flat_old.get(name)!r} -> {flat_new.get(name)!r}"
        for name in sorted(flat_old | flat_new)
        if flat_old.get(name) != flat_new.get(name)
    ]


def _flatten(tree: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def resolve(config: Config) -> Config:
    """A validated copy whose model knows the classes and the rate of the data.

    Raises:
        ValueError: as :func:`validate`.
    """
    config = from_dict(to_dict(config))
    config.data.sources = _names(config.data.sources)
    config.train.freeze = _names(config.train.freeze)
    config.train.fit = _names(config.train.fit)
    config.model.deep_types = _names(config.model.deep_types)
    config.model.sources = config.data.sources
    config.model.sample_rate = config.data.sample_rate
    validate(config)
    return config


def _names(given: Iterable[str]) -> tuple[str, ...]:
    # A flag turns --config.data.sources=vocals,bass into the one name "vocals,bass".
    parts = (part.strip() for name in given for part in name.split(","))
    return tuple(part for part in parts if part)
