"""Facts about the training data that a model needs before it is trained.

A module that standardizes its input sows ``observed``, the mean and the variance of
what it meets, into the collection "statistics". Which of the parameters beside it
follow from them, and how, is the model's ``statistics``.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import Mesh
from jaxtyping import Array

from sepjax.functional.augment import Excerpt, prepare_excerpts
from sepjax.models.contract import STATISTICS, SeparationModel
from sepjax.train.mesh import AXIS, shard_batch, spread
from sepjax.train.seeds import map_seeds


def wants_statistics(model: SeparationModel, names: Sequence[str]) -> bool:
    """Return whether some parameters, by path, are statistics of a model's input."""
    return any(name.split("/")[-1] in model.statistics for name in names)


def gather(
    model: SeparationModel,
    params: Sequence[Any],
    batches: Iterator[dict],
    mesh: Mesh,
    *,
    excerpts: int,
    seeds: int = 1,
    prepare: Callable[[dict], Excerpt] = prepare_excerpts,
) -> list[Any]:
    """Set ``mean`` and ``std`` of parameters to those of random training excerpts.

    The statistics are over all items and frames of each seed's mixtures. The observed
    features must not depend on parameters.

    Args:
        model: of the parameters; ``observe(mixture)`` runs what has statistics.
        params: fresh, of every member; member ``v K + k`` has the k-th of K ``seeds``,
            which hears row ``b K + k`` of a batch.
        batches: of training, as a feeder makes them.
        mesh: over which they are split.
        excerpts: the least number for each seed.
        seeds: their number, K.
        prepare: makes excerpts of a batch.
    """

    def observe(params: Any, batch: dict) -> Any:
        _, moments = model.apply(
            {"params": params},
            prepare(batch).mixture,
            method="observe",
            mutable=[STATISTICS, *model.collections],  # what it declares starts afresh
        )
        return jax.tree.map(functools.partial(pooled, mesh=mesh), moments[STATISTICS])

    def observe_each(params: Any, batch: dict) -> Any:
        return map_seeds(functools.partial(observe, params), batch, seeds)

    run = spread(observe_each, mesh)
    count, moments = 0, []
    for batch in batches:
        batch = shard_batch(mesh, batch)
        moments.append(jax.device_get(run(params[0], batch)))
        count += len(batch["gains"]) // seeds
        if count >= excerpts:
            break
    own = [jax.tree.map(lambda leaf, k=k: leaf[k], moments) for k in range(seeds)]
    return [
        _with_statistics(one, own[member % seeds], model.statistics)
        for member, one in enumerate(params)
    ]


def pooled(moments: Array, mesh: Mesh) -> Array:
    """Pool each device's mean and variance over the items of all devices."""
    if mesh.size == 1:
        return moments
    mean = jax.lax.pmean(moments[0], AXIS)
    spread_of_means = jnp.square(moments[0] - mean)
    return jnp.stack([mean, jax.lax.pmean(moments[1] + spread_of_means, AXIS)])


def _with_statistics(params: Any, observed: list[Any], starts: Mapping) -> Any:
    flat = traverse_util.flatten_dict(params)
    seen = [traverse_util.flatten_dict(tree) for tree in observed]
    for path in seen[0]:
        moments = np.stack([np.asarray(tree[path][0], np.float64) for tree in seen])
        mean = moments[:, 0].mean(0)
        variance = (moments[:, 1] + moments[:, 0] ** 2).mean(0) - mean**2
        deviation = np.sqrt(np.maximum(variance, 0.0))
        for name, start in starts.items():
            value = start(mean, deviation)
            if (old := flat.get((*path[:-1], name))) is not None:
                new = jnp.broadcast_to(jnp.asarray(value, old.dtype), old.shape)
                flat[(*path[:-1], name)] = jax.device_put(new, old.sharding)
    return traverse_util.unflatten_dict(flat)
