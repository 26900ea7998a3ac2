"""Starting from the parameters of another run."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from sepjax.config import Config
from sepjax.train import checkpoint
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.step import TrainState


def find_run(name: str, workdir: Path, seed: int) -> Path:
    """The run folder that ``train.pretrained_from`` means.

    A path, or the name of a run beside this one. Of a folder of several seeds it is the
    run of the same seed.

    Raises:
        CheckpointError: there is none; the message names the places.
    """
    places = [Path(name), workdir.parent / name, workdir.parent.parent / name]
    for place in places:
        for folder in (place / f"seed_{seed}", place):
            if (folder / checkpoint.FOLDER).is_dir():
                return folder
    looked = ", ".join(str(place) for place in places)
    raise CheckpointError(
        f"train.pretrained_from={name!r}: no trained run (of seed {seed}) in {looked}. "
        "Train it first, or give the path of its run folder."
    )


def start_from(
    state: TrainState, run: Path, config: Config
) -> tuple[TrainState, dict[str, Any]]:
    """A fresh state with the best parameters of another run wherever it has some.

    Args:
        state: of the new model.
        run: folder of the other run.
        config: resolved, of the new run.

    Returns:
        The state, and what provenance should tell: run, commit, hashes.

    Raises:
        CheckpointError: a parameter of the other run is not in this model or has
            another shape, or its audio has another rate.
    """
    _, variables, other = checkpoint.load(run)
    ours, theirs = config.data.sample_rate, other.data.sample_rate
    if ours != theirs:
        raise CheckpointError(
            f"{run} was trained at {theirs} Hz, this run hears {ours} Hz: its filters "
            "would mean other frequencies"
        )
    new, structure = jax.tree_util.tree_flatten_with_path(state.params)
    given = dict(jax.tree_util.tree_flatten_with_path(variables["params"])[0])
    shapes = {path: leaf.shape for path, leaf in new}
    wrong = [
        f"{jax.tree_util.keystr(path, simple=True, separator='/')} {leaf.shape}"
        for path, leaf in given.items()
        if shapes.get(path) != leaf.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{run} does not fit this model: it has no " + ", ".join(wrong[:5])
        )
    leaves = [
        jax.device_put(np.asarray(given.get(path, leaf)), leaf.sharding)
        for path, leaf in new
    ]
    params = jax.tree_util.tree_unflatten(structure, leaves)
    record = checkpoint.describe(run)
    facts = {
        "run": str(run),
        "params_sha256": checkpoint.params_sha256(variables["params"]),
        "data_sha256": record["provenance"].get("data_sha256", ""),
    }
    return state.replace(params=params), facts
