"""Models from folders: what a run has trained, or weights that were imported."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sepjax.config import MODEL_CONFIGS, Config, from_dict, resolve, to_dict
from sepjax.models.build import model_of
from sepjax.models.contract import SeparationModel, Variables

# Either reader is imported when a folder asks for it.


def load(
    path: str | Path, *, which: str = "best", changes: Iterable[str] = ()
) -> tuple[SeparationModel, Variables, Config]:
    """Load model, variables and configuration from a folder.

    Args:
        path: a run folder, or one that ``sepjax import-weights`` wrote; or the name of
            a system that needs no training.
        which: ``"best"`` checkpoint of a run by validation loss, or ``"latest"``.
            Imported weights have one state only.
        changes: as :func:`ready_config` takes them.

    Raises:
        sepjax.train.checkpoint.CheckpointError: the folder holds neither.
        ValueError: imported weights are damaged.
    """
    if config := ready_config(path, changes):
        return model_of(config), {}, config
    if is_imported(path):
        from sepjax.weights import load_imported

        return load_imported(path)
    from sepjax.train import checkpoint

    return checkpoint.load(path, which=which)


def ready_config(name: str | Path, changes: Iterable[str] = ()) -> Config | None:
    """Return the configuration of a system that needs no training, by its name.

    Args:
        name: of the system; a folder of that name is a run.
        changes: ``section.field=value`` each, JSON or plain text.

    Raises:
        ValueError: a field is not known or cannot have the value, or fields are to be
            changed of what is no such system.

    Example:
        >>> ready_config("runs/mine") is None
        True
    """
    known = not Path(name).exists() and str(name) in MODEL_CONFIGS
    config = MODEL_CONFIGS[str(name)].ready() if known else None
    changes = list(changes)
    if config is None:
        if changes:
            raise ValueError(
                f"{name} is no system that works without training: only those take "
                "--set; a run is as it was trained"
            )
        return None
    tree = to_dict(config)
    for change in changes:
        path, _, text = change.partition("=")
        section, _, field = path.partition(".")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        if not isinstance(tree.get(section), dict) or not field:
            raise ValueError(f"--set {change}: write SECTION.FIELD=VALUE")
        if isinstance(tree[section].get(field), list) and isinstance(value, str):
            value = value.split(",")
        tree[section][field] = value
    return resolve(from_dict(tree))


def describe(path: str | Path) -> dict[str, Any]:
    """Return the facts that ``sepjax inspect`` prints about a folder, for JSON."""
    if is_imported(path):
        from sepjax.weights.store import describe_imported

        return describe_imported(path)
    from sepjax.train import checkpoint

    return checkpoint.describe(path)


def weight_facts(path: str | Path) -> dict[str, Any]:
    """Read ``weights.json`` of imported weights; empty for a run."""
    if not is_imported(path):
        return {}
    from sepjax.weights.store import read_facts

    return read_facts(path)


def is_imported(path: str | Path) -> bool:
    """Return whether a folder holds imported weights."""
    saved, run = Path(path, "model.safetensors"), Path(path, "checkpoints")
    return saved.is_file() and not run.exists()  # a run that was saved remains a run
