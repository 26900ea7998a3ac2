"""The filters of a model before and after training, and what its branches bring."""

import functools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from sepjax.config import Config
from sepjax.models.contract import BRANCHES, Branch, SeparationModel, Variables
from sepjax.storage import finite
from sepjax.train.mesh import make_mesh
from sepjax.train.pretrained import find_run, start_from
from sepjax.train.program import make_program, preparation

EXCERPTS = 4
SHARES = ("weights", "scaled", "arriving")
HEARD = ("deviation", "deviations", "scaled", "arriving")


def learned_filters(
    run: Path, model: SeparationModel, variables: Variables, config: Config
) -> dict[str, np.ndarray]:
    """Taps ``(length, filters)`` as ``initial/<name>`` and ``final/<name>``.

    The initial taps are drawn again from the run's seed, or come from the run that it
    started from; the final taps are those of ``variables``.
    """
    mesh = make_mesh(jax.local_devices()[:1])
    initial = make_program(config, mesh).init(jax.random.key(config.seed))
    if config.train.pretrained_from:
        source = find_run(config.train.pretrained_from, run, config.seed)
        initial, _ = start_from(initial, source, config)
    filters: dict[str, np.ndarray] = {}
    taps_of = jax.jit(functools.partial(model.apply, method="kernels"))
    for moment, params in ("initial", initial.params), ("final", variables["params"]):
        taps = taps_of({**variables, "params": params})
        filters |= {f"{moment}/{name}": np.asarray(bank) for name, bank in taps.items()}
    return filters


def branch_facts(
    model: SeparationModel,
    variables: Variables,
    config: Config,
    batch: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    r"""Compare the branches of every encoder; empty where none has branches.

    A branch has ``norms`` :math:`\|W_c\|` of its channels' weights in the layer that
    joins the branches, ``deviations`` :math:`\sigma_c` of the channels, and shares of
    three energies: ``weights`` :math:`\sum_c \|W_c\|^2`, ``scaled``
    :math:`\sum_c \sigma_c^2 \|W_c\|^2`, and ``arriving``, the variance of the branch's
    part of the layer's outputs. The first ``EXCERPTS`` of a feeder's batch are
    heard, prepared as in training; without a batch what needs it is None.
    """
    if not model.statistics:  # nothing observes
        return []

    @jax.jit
    def measure(variables: Variables, batch: Mapping) -> dict[str, Any]:
        silence = jnp.zeros((1, *[2] * (model.audio_channels == 2), 8000))
        heard = preparation(config)(batch).mixture[:EXCERPTS] if batch else silence
        kept = [BRANCHES, *model.collections]
        _, found = model.apply(variables, heard, method="observe", mutable=kept)
        branches = found.get(BRANCHES, {})
        return jax.tree.map(_energies, branches, is_leaf=lambda x: type(x) is Branch)

    tree = jax.device_get(measure(variables, batch or {}))
    flat = {path: facts for path, (facts,) in traverse_util.flatten_dict(tree).items()}
    total: Counter[Any] = Counter()
    for (*place, _), facts in flat.items():
        total.update({(*place, share): float(facts[share]) for share in SHARES})
    rows = [
        {"branch": "/".join([*place, name]), "channels": len(facts["norms"])}
        | {kind: np.median(facts[f"{kind}s"]) for kind in ("norm", "deviation")}
        | {share: facts[share] / (total[*place, share] or 1) for share in SHARES}
        | {kind: facts[kind] for kind in ("norms", "deviations")}
        | ({} if batch else dict.fromkeys(HEARD))
        for (*place, name), facts in flat.items()
    ]
    return finite(rows)


def _energies(branch: Branch) -> dict[str, Any]:
    features, weights = branch.features.astype(jnp.float32), branch.weights
    norms, axes = jnp.linalg.norm(weights, axis=-1), tuple(range(features.ndim - 1))
    deviations = features.std(axes)
    return {
        "norms": norms,
        "deviations": deviations,
        "weights": jnp.sum(norms**2),
        "scaled": jnp.sum((norms * deviations) ** 2),
        "arriving": jnp.var(features @ weights, axes).sum(),
    }
