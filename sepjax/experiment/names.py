"""Names in a configuration that only the rooms they belong to can judge."""

import dataclasses
import inspect
import runpy
from collections.abc import Iterator, Sequence
from typing import Any

from sepjax.config import Config, require_field
from sepjax.registry import nearest


def name_problems(config: Config) -> Iterator[str]:
    """Unknown losses, optimisers, metrics and data sets, and what does not fit a loss.

    Example:
        >>> config = Config()
        >>> config.optim.optimizer = "adm"
        >>> [problem.partition(" or ")[0] for problem in name_problems(config)]
        ["optim.optimizer='adm': did you mean 'adam'"]
    """
    from data_pipelines.registry import DATASETS
    from sepjax.evaluation.metrics import METRICS
    from sepjax.train.optim.chain import require_optimizer

    if config.data.dataset not in DATASETS:
        hint = nearest(config.data.dataset, DATASETS)
        yield f"data.dataset={config.data.dataset!r}: {hint}"
    for name in config.eval.metrics:
        if name not in METRICS:
            yield f"eval.metrics: {name!r}: {nearest(name, METRICS)}"
    try:
        require_optimizer(config.optim.optimizer)
    except ValueError as error:
        yield str(error)
    yield from loss_problems(config)


def loss_problems(config: Config) -> Iterator[str]:
    """Return unknown losses, terms that a loss lacks, schedules that do not fit."""
    from sepjax.losses import LOSSES, parse_loss

    name = config.model.objective if config.loss.name == "auto" else config.loss.name
    try:
        terms = [term for _, term in parse_loss(name)]
    except ValueError as error:
        yield str(error)
        return
    for term in terms:
        if term not in LOSSES:
            yield f"loss.name={name!r}: {term!r}: {nearest(term, LOSSES)}"
    losses = [LOSSES[term] for term in terms if term in LOSSES]
    used = {field for loss in losses for field in loss.terms}
    for field in config.loss.terms():
        varied = f"loss.{field}=" in config.train.vary
        if field not in used and (varied or getattr(config.loss, field)):
            yield f"loss.{field} is no term of loss.name={name!r}"
    if config.optim.plateau_mode == "rel" and not all(x.positive for x in losses):
        yield (
            "optim.plateau_mode='rel' takes worse for better where losses are "
            "negative, as SI-SDR's are: use 'abs'"
        )


def require_fields(config: Any, arguments: Sequence[str]) -> None:
    """Refuse ``--config.section.field=value`` where there is no such field.

    Raises:
        ValueError: the nearest names are suggested.
    """
    names = (argument.lstrip("-").partition("=")[0] for argument in arguments)
    for name in (name for name in names if name.startswith("config.")):
        path, node, prefix = name.removeprefix("config."), config, ""
        for part in path.split("."):
            if not dataclasses.is_dataclass(node):
                raise ValueError(f"'{prefix.rstrip('.')}' is a field, not a section")
            require_field(node, part, prefix)
            node, prefix = getattr(node, part), f"{prefix}{part}."
        if dataclasses.is_dataclass(node):
            raise ValueError(f"'{path}' is a section: set one of its fields")


def configuration_of(arguments: Sequence[str]) -> Any:
    """Return the configuration from ``--config=file.py:name``; None without that flag.

    Files that cannot be read are left to the parser of flags, which explains.
    """
    flags = (a.lstrip("-").partition("=") for a in arguments)
    given = [value for name, _, value in flags if name == "config"]
    path, colon, name = given[-1].partition(":") if given else ("", "", "")
    if not path.endswith(".py"):
        return None
    try:
        make = runpy.run_path(path).get("get_config")
    except OSError:
        return None
    if not inspect.isfunction(make):
        return None
    return make(name) if colon else make()
