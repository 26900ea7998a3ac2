"""Facts about the training data that a model needs before it is trained.

A module that standardizes its input declares the parameters ``mean`` and ``std`` and
sows ``observed``, the mean and the variance of what it meets, into the collection
"statistics". Both parameters are constants to the optimiser.
"""

from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import Mesh

from sepjax.functional.augment import prepare_excerpts
from sepjax.models.branches import STATISTICS
from sepjax.train.mesh import batch_sharding, replicated, shard_batch


def wants_statistics(params: Any) -> bool:
    """Whether a model standardizes its input.

    Example:
        >>> wants_statistics({"encoder": {"filterbanks_0": {"mean": 0.0, "std": 1.0}}})
        True
    """
    flat = traverse_util.flatten_dict(params)
    return any(path[-1] == "std" and (*path[:-1], "mean") in flat for path in flat)


def gather(
    model: nn.Module,
    params: Any,
    batches: Iterator[dict],
    mesh: Mesh,
    *,
    excerpts: int,
    index: int = 0,
    seeds: int = 1,
) -> Any:
    """Parameters whose ``mean`` and ``std`` are those of random training excerpts.

    Over all items and frames of the excerpts heard.

    Args:
        model: of the parameters; ``observe(mixture)`` runs what has statistics.
        params: fresh.
        batches: of training, as a feeder makes them.
        mesh: over which they are split.
        excerpts: to be heard at least.
        index: of the seed whose rows are taken,
        seeds: where there are several.
    """

    def observe(params: Any, batch: dict) -> Any:
        batch = {name: rows[index::seeds] for name, rows in batch.items()}
        mixture = prepare_excerpts(batch).mixture
        _, found = model.apply(
            {"params": params}, mixture, method="observe", mutable=[STATISTICS]
        )
        return found[STATISTICS]

    every = replicated(mesh)
    observe = jax.jit(
        observe, in_shardings=(every, batch_sharding(mesh)), out_shardings=every
    )
    heard, found = 0, []
    for batch in batches:
        batch = shard_batch(mesh, batch)
        found.append(jax.device_get(observe(params, batch)))
        heard += len(batch["gains"]) // seeds
        if heard >= excerpts:
            break
    return _with_statistics(params, found)


def _with_statistics(params: Any, found: list[Any]) -> Any:
    flat = traverse_util.flatten_dict(params)
    seen = [traverse_util.flatten_dict(tree) for tree in found]
    for path in seen[0]:
        moments = np.stack([np.asarray(tree[path][0], np.float64) for tree in seen])
        mean = moments[:, 0].mean(0)
        variance = (moments[:, 1] + moments[:, 0] ** 2).mean(0) - mean**2
        values = {"mean": mean, "std": np.sqrt(np.maximum(variance, 0.0))}
        for name, value in values.items():
            old = flat[(*path[:-1], name)]
            new = jnp.asarray(value, old.dtype)
            flat[(*path[:-1], name)] = jax.device_put(new, old.sharding)
    return traverse_util.unflatten_dict(flat)
