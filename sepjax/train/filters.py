"""The filters of a model before and after training, for the report."""

from pathlib import Path

import jax
import numpy as np

from sepjax.train.checkpoint import load
from sepjax.train.mesh import make_mesh
from sepjax.train.pretrained import find_run, start_from
from sepjax.train.program import make_program


def learned_filters(run: Path) -> dict[str, np.ndarray]:
    """Taps ``(length, filters)`` as ``initial/<name>`` and ``final/<name>``.

    The initial taps are drawn again from the run's seed, or come from the run that it
    started from; the final taps are those of the best checkpoint.
    """
    model, variables, config = load(run)
    mesh = make_mesh(jax.local_devices()[:1])
    initial = make_program(config, mesh).init(jax.random.key(config.seed))
    if config.train.pretrained_from:
        source = find_run(config.train.pretrained_from, run, config.seed)
        initial, _ = start_from(initial, source, config)
    filters: dict[str, np.ndarray] = {}
    for moment, params in ("initial", initial.params), ("final", variables["params"]):
        taps = model.apply({**variables, "params": params}, method="kernels")
        filters |= {f"{moment}/{name}": np.asarray(bank) for name, bank in taps.items()}
    return filters
