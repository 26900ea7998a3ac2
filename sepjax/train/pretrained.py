"""Starting from the parameters of another run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, from_dict
from sepjax.train import checkpoint
from sepjax.train import load as loading
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.optim.freeze import frozen_leaves
from sepjax.train.step import TrainState


def find_run(name: str, folder: Path, seed: int) -> Path:
    """Find the folder that ``train.pretrained_from`` names: a run or imported weights.

    The name is a path, or a run beside this run, the folder of its seeds or that of its
    variations, or a released model. In a folder of several seeds the run of the same
    seed counts.

    Raises:
        CheckpointError: there is none; the message names the places.
    """
    places = [Path(name), *(parent / name for parent in list(folder.parents)[:3])]
    for place in places:
        for run in (place / f"seed_{seed}", place):
            if (run / checkpoint.FOLDER).is_dir() or loading.is_imported(run):
                return run
    if loading.is_released(name):
        return loading.find_folder(name)
    looked = ", ".join(str(place) for place in places)
    raise CheckpointError(
        f"train.pretrained_from={name!r}: no trained run (of seed {seed}) and no "
        f"imported weights in {looked}. Train it first, or give the path of its folder."
    )


def fitted_parts(config: Config, folder: Path) -> tuple[str, ...]:
    """Return ``train.fit`` with ``embedding`` replaced by the new sources' embeddings.

    New sources are unknown to the run of ``train.pretrained_from``; if it knows all
    sources, all are fitted. A run that goes on in ``folder`` needs the other no more.

    Raises:
        CheckpointError: there is no run to start from.
    """
    if "embedding" not in config.train.fit:
        return config.train.fit
    known = _known_sources(folder)
    if known is None:
        run = find_run(config.train.pretrained_from, folder, config.seed)
        known = loading.load(run)[2].data.sources
    new = [name for name in config.data.sources if name not in known]
    others = tuple(part for part in config.train.fit if part != "embedding")
    return others + tuple(f"embedding/{name}" for name in new or config.data.sources)


def _known_sources(folder: Path) -> Sequence[str] | None:
    """What the run that this one started from knew, if this one has begun."""
    if not (folder / checkpoint.FOLDER).is_dir():
        return None
    with checkpoint.open_manager(folder) as manager:
        step = manager.latest_step()  # a kill may have left less than a whole one
        if step is None:
            return None
        provenance = checkpoint.read_meta(manager, step)["provenance"]
    return provenance.get("pretrained", {}).get("sources")


def start_from(
    state: TrainState, run: Path, config: Config, freeze: Sequence[str] = ()
) -> tuple[TrainState, dict[str, Any]]:
    """Start from the best parameters of another run, fresh where that run has none.

    Args:
        state: of the new model.
        run: folder of the other run.
        config: resolved, of the new run.
        freeze: the parts that stay as they are.

    Returns:
        The state, and facts for the provenance: run, step, hashes, and which parameters
        stay as they were drawn.

    Raises:
        CheckpointError: the run has not ended; a parameter of it is not in this model,
            has another shape or would mean something else; a frozen part is not in it.
    """
    model, variables, other = loading.load(run)
    source = dict(jax.tree_util.tree_flatten_with_path(variables["params"])[0])
    new, structure = jax.tree_util.tree_flatten_with_path(state.params)
    require_fitting(run, source, dict(new))
    whole = bool(set(variables["params"]) - set(model.coders))
    require_same_meaning(run, other, config, whole)
    frozen = jax.tree.leaves(frozen_leaves(state.params, freeze))
    bare = [path for (path, _), yes in zip(new, frozen) if yes and path not in source]
    if bare:
        raise CheckpointError(
            f"train.freeze or train.fit: {run} has no {_name(bare[0])}, which would "
            "stay as it was drawn"
        )
    facts = origin(run) | {
        "params_sha256": checkpoint.params_sha256(variables["params"]),
        "sources": list(other.data.sources),
        "drawn": [_name(path) for path, _ in new if path not in source],
    }

    def placed(old: jax.Array, value: Any) -> jax.Array:
        return jax.device_put(np.asarray(value), old.sharding)

    leaves = [placed(leaf, source.get(path, leaf)) for path, leaf in new]
    params = jax.tree_util.tree_unflatten(structure, leaves)
    kept = {
        name: jax.tree.map(placed, state.memory[name], variables[name])
        for name in state.memory.keys() & variables.keys()
    }
    return state.replace(params=params, memory=state.memory | kept), facts


def origin(run: Path) -> dict[str, Any]:
    """Say where the parameters of a folder come from, for the provenance.

    Raises:
        CheckpointError: the folder is that of a run that has not ended.
    """
    if loading.is_imported(run):
        facts = loading.weight_facts(run)
        kept = ("family", "files", "licence_notice", "model_sha256")
        return {"run": str(run)} | {n: facts[n] for n in kept if n in facts}
    record = checkpoint.describe(run)
    require_ended(run, record)
    return {
        "run": str(run),
        "step": record["best"]["step"],
        "data_sha256": record["provenance"].get("data_sha256", ""),
    }


def require_ended(run: Path, record: dict[str, Any]) -> None:
    """Refuse the parameters of a run that is still being trained."""
    train, step = from_dict(record["config"]).train, record["step"]
    patience = train.early_stop * train.eval_every
    if step < train.steps and not 0 < patience <= step - record["best"]["step"]:
        raise CheckpointError(
            f"{run} is at step {step} of {train.steps}: let it end first, or end it "
            f"there with --config.train.steps={step}"
        )


def require_fitting(run: Path, source: dict, new: dict) -> None:
    """Refuse parameters that the new model does not have."""
    wrong = [
        f"{_name(path)} {leaf.shape}"
        for path, leaf in source.items()
        if path not in new or new[path].shape != leaf.shape
    ]
    if wrong:
        raise CheckpointError(
            f"{run} does not fit this model: it has no " + ", ".join(wrong[:5])
        )


def require_same_meaning(run: Path, old: Config, new: Config, whole: bool) -> None:
    """Refuse parameters of the right shapes that would mean something else here."""
    roles = {"free"} if whole else {"free", "separator"}
    fields = dataclasses.fields(new.model)
    names = [f.name for f in fields if f.metadata.get("role") not in roles]
    pairs = {
        f"model.{name}": (getattr(old.model, name, "none"), getattr(new.model, name))
        for name in names
    }
    if whole and not new.model.sources_by_name:
        pairs["data.sources"] = old.data.sources, new.data.sources
    pairs["data.sample_rate"] = (old.data.sample_rate, new.data.sample_rate)
    more = new.model.extends(new, old) if type(new.model) is type(old.model) else ()
    changed = [
        f"{name}: {a!r} -> {b!r}"
        for name, (a, b) in pairs.items()
        if a != b and name not in more
    ]
    if changed:
        raise CheckpointError(
            f"the parameters of {run} would mean something else here:\n  "
            + "\n  ".join(changed)
        )


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
