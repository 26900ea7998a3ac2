"""Models from folders: what a run has trained, or weights that were imported."""

from pathlib import Path
from typing import Any

from sepjax.config import Config
from sepjax.models.contract import SeparationModel, Variables

# Either reader is imported when a folder asks for it.


def load(
    path: str | Path, *, which: str = "best"
) -> tuple[SeparationModel, Variables, Config]:
    """Load model, variables and configuration from a folder.

    Args:
        path: a run folder, or one that ``sepjax import-weights`` wrote.
        which: ``"best"`` checkpoint of a run by validation loss, or ``"latest"``.
            Imported weights have one state only.

    Raises:
        sepjax.train.checkpoint.CheckpointError: the folder holds neither.
        ValueError: imported weights are damaged.
    """
    if is_imported(path):
        from sepjax.weights import load_imported

        return load_imported(path)
    from sepjax.train import checkpoint

    return checkpoint.load(path, which=which)


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
