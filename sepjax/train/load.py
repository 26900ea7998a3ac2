"""Models from folders: what a run has trained, or weights that were imported."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sepjax.config import MODEL_CONFIGS, Config, DataConfig, from_dict, resolve, to_dict
from sepjax.models.build import model_of
from sepjax.models.contract import SeparationModel, Variables
from sepjax.models.releases import RELEASES, ready_models, released_place, unknown_model

FIXED = ("model.", "data.sources=", "data.sample_rate=")
# Either reader is imported when a folder asks for it.


def load(
    path: str | Path, *, which: str = "best", changes: Iterable[str] = ()
) -> tuple[SeparationModel, Variables, Config]:
    """Load model, variables and configuration from a folder.

    Args:
        path: a run folder, or one that ``sepjax import-weights`` wrote; or the name of
            a system that needs no training, or of a released model, which is fetched
            when it is used first.
        which: ``"best"`` checkpoint of a run by validation loss, or ``"latest"``.
        changes: as :func:`ready_config` takes them; of weights neither their model nor
            its classes and rate can be changed.

    Raises:
        sepjax.train.damage.CheckpointError: the folder holds neither.
        ValueError: imported weights are damaged, or a change cannot be made.
        OSError: there is no such folder or name, or a model cannot be fetched.
    """
    folder, changes = find_folder(path), list(changes)
    if is_imported(folder):
        from sepjax.weights import load_imported

        if wrong := [change for change in changes if change.startswith(FIXED)]:
            raise ValueError(
                f"--set {wrong[0]}: {path} has weights, which fit no other model"
            )
        model, variables, config = load_imported(folder)
        release = RELEASES.get(config.name)
        config.data.sums = release.sums if release else ()
        config.data.missing = "silence"  # songs of others need not have every class
        return model, variables, _changed(config, changes) if changes else config
    if ready := ready_config(path, changes):
        return model_of(ready), {}, ready
    from sepjax.train import checkpoint

    return checkpoint.load(folder, which=which)


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
                f"{name} is no system that works without training: only those and "
                "imported weights take --set; a run is as it was trained"
            )
        return None
    return _changed(config, changes)


def _changed(config: Config, changes: Iterable[str]) -> Config:
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


def find_folder(name: str | Path) -> Path:
    """Return the folder of a name: a path, or a released model's, fetched if need be.

    Raises:
        FileNotFoundError: the name stands for nothing; the nearest names are suggested.
        OSError: the model cannot be fetched.

    Example:
        >>> find_folder("runs/umxq")
        Traceback (most recent call last):
        FileNotFoundError: runs/umxq is no folder, no released model and no system: ...
    """
    if is_released(name):
        from sepjax.weights.released import released_folder

        return released_folder(str(name))
    if not Path(name).exists() and str(name) not in ready_models():
        raise FileNotFoundError(unknown_model(str(name)))
    return Path(name)


def is_released(name: str | Path) -> bool:
    """Return whether a name is that of a released model, and no path."""
    return not Path(name).exists() and str(name) in RELEASES


def describe(path: str | Path) -> dict[str, Any]:
    """Return the facts that ``sepjax inspect`` prints about a folder, for JSON."""
    path = find_folder(path)
    if is_imported(path):
        from sepjax.weights.store import describe_imported

        return describe_imported(path)
    from sepjax.train import checkpoint

    return checkpoint.describe(path)


def model_data(path: str | Path) -> DataConfig:
    """Return the classes of a model and their sums; no released model is fetched."""
    if is_released(path):
        release = RELEASES[str(path)]
        return DataConfig(sources=release.sources, sums=release.sums)
    return load(path)[2].data


def weight_facts(path: str | Path) -> dict[str, Any]:
    """Read ``weights.json`` of imported weights; empty for a run."""
    path = released_place(str(path)) if is_released(path) else path
    if not is_imported(path):
        return {}
    from sepjax.weights.store import read_facts

    return read_facts(path)


def is_run(path: str | Path) -> bool:
    """Return whether a folder holds what a run has trained."""
    return Path(path, "checkpoints").exists()


def is_imported(path: str | Path) -> bool:
    """Return whether a folder holds imported weights; a run may be saved as well."""
    return Path(path, "model.safetensors").is_file() and not is_run(path)
