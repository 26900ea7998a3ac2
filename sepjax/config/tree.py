"""Configurations as trees of plain values: to and from JSON, compared, varied."""

import copy
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sepjax.config.rules import validate, value_problems
from sepjax.config.schema import MODEL_CONFIGS, Config, ModelConfig
from sepjax.registry import import_extensions, name_problems, nearest


def variations(config: Config) -> tuple[dict[str, float], ...]:
    """Return the varied fields' values in all combinations; the first varies slowest.

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
    """Return a configuration with other values of some fields, by dotted name.

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
    """Return a configuration for each member of a run: each variation with each seed.

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
    """Return each member's folder: the run folder itself if there is only one member.

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
    """Name the folder of a variation.

    Example:
        >>> variation_name({"optim.lr": 0.003, "optim.clip": 5.0})
        'optim.lr=0.003,optim.clip=5'
    """
    return ",".join(f"{field}={value:g}" for field, value in values.items())


def to_dict(config: Config) -> dict[str, Any]:
    """Return plain nested dictionaries, ready for JSON."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return list(value) if isinstance(value, tuple) else value


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Invert :func:`to_dict`; ``model.name`` chooses the model's family.

    Runs of the time before families had configurations of their own are read as well.

    Raises:
        ValueError: a field or the family is not known (the nearest are suggested), or
            a value is not of its field's type or range, or a class cannot name a file.

    Example:
        >>> from_dict({"seed": 7, "model": {"name": "tasnet", "L": 16}}).model.L
        16
    """
    if not isinstance(tree, Mapping):
        raise ValueError(f"a configuration has sections, this is {repr(tree)[:80]}")
    tree = upgrade(tree)
    first = {name: tree[name] for name in ("extensions",) if name in tree}
    import_extensions(_fill(Config(), first, "").extensions)
    model = tree.get("model", {})
    name = model.get("name", "") if isinstance(model, Mapping) else ""
    family = MODEL_CONFIGS.find(str(name)) if name else ModelConfig
    config = _fill(Config(model=family()), tree, "")
    # Rules of what goes together are those of new runs; a stored one has been trained.
    found = name_problems(config.data.sources or ("",))
    names = (f"data.sources: {text}" for text in found)
    if wrong := [*value_problems(config), *names]:
        raise ValueError(f"a wrong value: {'; '.join(wrong[:3])}")
    return config


def upgrade(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Convert a tree from the time when all families shared one section.

    That section had the classes and the rate of the data as well, and the fields of
    every family, some of them under other names (``ModelConfig.former``).

    Example:
        >>> old = {"name": "demucs", "sources": ["bass"], "demucs_depth": 4}
        >>> new = upgrade({"model": old | {"umx_fft": 4096}})
        >>> new["model"], new["data"]
        ({'name': 'demucs', 'depth': 4}, {'sources': ['bass']})
    """
    model = tree.get("model", {})
    if not isinstance(model, Mapping) or not {"sources", "umx_fft"} <= set(model):
        return tree
    family = MODEL_CONFIGS.find(str(model.get("name", "")))
    known = {field.name for field in dataclasses.fields(family)}
    pairs = {family.former.get(name, name): value for name, value in model.items()}
    facts = {k: model[k] for k in ("sources", "sample_rate") if k in model}
    loss, data = tree.get("loss", {}), tree.get("data", {})
    if not isinstance(loss, Mapping) or not isinstance(data, Mapping):
        raise ValueError("'loss' and 'data' are sections: set their fields")
    if loss.get("over_sources") == "mean":  # said, but without meaning for some losses
        loss = {**loss, "over_sources": "auto"}
    return {
        **tree,
        "loss": loss,
        "data": facts | dict(data),
        "model": {name: value for name, value in pairs.items() if name in known},
    }


def _fill(node: Any, tree: Mapping[str, Any], prefix: str) -> Any:
    for name, value in tree.items():
        require_field(node, name, prefix)
        current = getattr(node, name)
        if dataclasses.is_dataclass(current) and not isinstance(value, Mapping):
            raise ValueError(f"'{prefix}{name}' is a section: set one of its fields")
        if dataclasses.is_dataclass(current):
            _fill(current, value, f"{prefix}{name}.")
            continue
        value = tuple(value) if isinstance(value, list) else value
        if not _is_like(value, current):
            kind = "a list" if isinstance(current, tuple) else type(current).__name__
            raise ValueError(f"{prefix}{name}={repr(value)[:80]} must be {kind}")
        setattr(node, name, value)
    return node


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value has the type of a field's default; integers are floats, too."""
    if default is None:
        return True
    if isinstance(default, tuple):
        plain = (str, int, float)
        return isinstance(value, tuple) and all(isinstance(v, plain) for v in value)
    kinds = (int, float) if isinstance(default, float) else type(default)
    return isinstance(value, kinds) and isinstance(value, bool) == isinstance(
        default, bool
    )


def require_field(node: Any, name: str, prefix: str = "") -> None:
    """Check that a section has a field.

    Raises:
        ValueError: it has none of this name; the nearest names are suggested.
    """
    known = {field.name for field in dataclasses.fields(node)}
    if name not in known:
        raise ValueError(f"unknown field '{prefix}{name}': {nearest(str(name), known)}")


def epochs_in_steps(config: Config, epoch: int) -> Config:
    """Return a configuration that counts steps where it counted epochs of some steps.

    Raises:
        ValueError: as :func:`sepjax.config.rules.validate`.

    Example:
        >>> config = Config(model=MODEL_CONFIGS.find("tasnet")())
        >>> config.train.steps, config.train.epoch_samples = 1000, 64
        >>> epochs_in_steps(config, 344).train.steps
        344000
    """
    if not config.train.epoch_samples:
        return config
    names = ("steps", "eval_every", "checkpoint_every")
    values = {f"train.{name}": epoch * getattr(config.train, name) for name in names}
    config = with_values(config, values | {"train.epoch_samples": 0})
    validate(config)
    return config


def differences(old: Config, new: Config) -> list[str]:
    """Return lines ``field: old -> new`` for every field in which configs differ."""
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


def resolve(
    config: Config, more: Callable[[Config], Iterable[str]] = lambda config: ()
) -> Config:
    """Return a validated copy; names that flags joined by commas are split.

    Args:
        config: as it was given.
        more: finds problems that this room cannot know, for the same message.

    Raises:
        ValueError: as :func:`sepjax.config.rules.validate`.
    """
    family = MODEL_CONFIGS.get(config.model.name)
    if family and type(config.model) is not family:
        raise ValueError(
            f"model.name={config.model.name!r} has fields of its own: a file of "
            f"configurations chooses it, Config(model={family.__name__}())"
        )
    config = copy.deepcopy(config)
    for section in (config, *(getattr(config, f.name) for f in fields(config))):
        for field in fields(section) if dataclasses.is_dataclass(section) else ():
            value = getattr(section, field.name)
            if isinstance(value, list):
                value = tuple(value)
                setattr(section, field.name, value)
            if isinstance(value, tuple) and all(isinstance(v, str) for v in value):
                # A flag turns --config.data.sources=vocals,bass into one name.
                parts = (part.strip() for name in value for part in name.split(","))
                setattr(section, field.name, tuple(filter(None, parts)))
    import_extensions(config.extensions)
    validate(config, more(config))
    return config
