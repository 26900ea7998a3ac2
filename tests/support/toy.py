"""A model of a thousand weights and music that needs no files."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from sepjax.config import Config, resolve, to_dict
from sepjax.functional.augment import Excerpt
from sepjax.models.build import model_of
from sepjax.train import checkpoint, init_state, loop, make_optimizer
from sepjax.train.log import read_log
from sepjax.train.optim.plateau import PlateauState
from sepjax.train.program import make_program
from sepjax.train.start import spelled_out
from tests.support.models import config_of

TIME = 2000


def toy_config(**fields) -> Config:
    """Two classes, a quarter of a second at 8 kHz; ``section__field=value`` changes."""
    config = config_of(fields.pop("model__name", "tasnet"))
    config.name, config.seed = "toy", 1
    config.data.sources = ("bass", "vocals")
    config.data.chunk_seconds = 0.25
    model = config.model
    if model.name in ("tasnet", "meta_tasnet"):
        for name, size in dict(N=16, B=8, H=16, layers=2, stack=1).items():
            setattr(model, name, size)
    if model.name == "tasnet":
        model.encoding = "simple"  # compiles quickest
    train = config.train
    train.steps, train.batch_size = 12, 4
    train.eval_every, train.checkpoint_every, train.log_every = 4, 3, 2
    config.optim.lr = 1e-2
    for name, value in fields.items():
        section, field = name.split("__")
        setattr(getattr(config, section), field, value)
    return resolve(config)


def one_device():
    """A mesh of the first device: compiles quicker than one of four."""
    return jax.make_mesh(
        (1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1]
    )


def toy_excerpt(batch: int, sources: int = 2, time: int = TIME, seed: int = 0):
    """Tones below 400 Hz, above 1 kHz, and so on, with random phases and levels."""
    rng = np.random.default_rng(seed)
    shape = (batch, sources, 1)
    hertz = 120 * 3.7 ** np.arange(sources)[:, None] * rng.uniform(0.8, 1.2, shape)
    phase, level = rng.uniform(0, 2 * np.pi, shape), rng.uniform(0.5, 1.0, shape)
    waves = level * np.sin(2 * np.pi * hertz * np.arange(time) / 8000 + phase)
    waves = waves.astype(np.float32)
    return Excerpt(waves.sum(1), waves)


@dataclasses.dataclass
class ToyData:
    """Batches as a function of the step; ``before(step)`` runs ahead of each."""

    config: Config
    before: Callable[[int], None] = lambda step: None
    spoil: Callable[[int, dict], dict] = lambda step, batch: batch
    silent_valid: bool = False
    resident_bytes = 0

    def first_batch(self):
        return next(self.train_batches(0, 1))

    def train_batches(self, start, stop, process_index=0, process_count=1):
        for step in range(start, stop):
            self.before(step)
            rows = self.spoil(step, self.batch(step))
            # Every seed sees the same song: row b K + k is row b of seed k.
            count = self.config.train.seeds
            yield {name: np.repeat(x, count, axis=0) for name, x in rows.items()}

    def valid_batches(self, batch_size, process_index=0, process_count=1):
        for seed in (10_000, 10_001):
            batch = self.batch(seed)
            if self.silent_valid:
                batch["chunks"] = np.zeros_like(batch["chunks"])
            rows = {name: x[:batch_size] for name, x in batch.items()}
            yield rows | {"weight": np.ones(batch_size, np.float32)}

    def track_names(self, step):
        return [f"song_{step}"]

    def batch(self, seed):
        size, sources = self.config.train.batch_size, len(self.config.data.sources)
        waves = toy_excerpt(size, sources, TIME, seed).sources
        return {
            "chunks": (8000 * waves[..., None]).astype(np.int16),
            "gains": np.ones((size, sources, 1), np.float32),
            "channel": np.zeros((size, sources), np.int32),
        }


def run(folder, config, mesh=None, data=None, **how) -> bool:
    """Train on toy music; runs of a process share what they compile."""
    folder.mkdir(exist_ok=True, parents=True)
    mesh, data = mesh or one_device(), data or ToyData(config, **how)
    program = shared_program(spelled_out(config, folder), mesh)
    record = {"commit": "x", "data_sha256": "d" * 64}
    return loop.train(config, folder, data, mesh, provenance=record, program=program)


PROGRAMS = {}


def shared_program(config, mesh):
    """One program for all runs that have the same model, data and updates."""
    tree = to_dict(config)
    # What neither the steps nor the first state depend on.
    if config.optim.schedule == "cosine":
        tree["steps"] = config.train.steps
    for name in ("seed", "name", "train", "eval"):
        del tree[name]
    for name in ("gain_low", "feeder", "root"):
        del tree["data"][name]
    for name in ("patience", "gamma"):
        del tree["optim"][f"lr_decay_{name}"]
    del tree["optim"]["plateau_threshold"]
    train = config.train
    parts = train.freeze, train.fit, train.vary, train.accumulate, train.parallel
    parts += (train.per_source,)
    key = (json.dumps(tree), train.batch_size, train.seeds, parts, mesh)
    if key not in PROGRAMS:
        PROGRAMS[key] = make_program(config, mesh)
    return PROGRAMS[key]


def stop() -> None:
    """As a signal asks a run to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


def log(folder) -> list[dict]:
    """The records of a run but for their times."""
    records = read_log(folder / "metrics.jsonl")
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records]


def latest(folder):
    """The parameters of a run's last checkpoint."""
    return checkpoint.load(folder, which="latest")[1]["params"]


def untrained():
    """A configuration and its first state."""
    # Arrays below a kilobyte lie where tensorstore has sums of its own.
    config = toy_config(model__N=64, model__B=64, model__H=64)
    model, optimizer = model_of(config), make_optimizer(config.optim)
    init = jax.jit(lambda key: init_state(model, optimizer, key, TIME))
    return config, init(jax.random.key(0))


def save_untrained(run, config, state):
    """Save the state as the best checkpoint, of step 2, and the latest, of step 4."""
    record = {"config": to_dict(config), "provenance": {"git": "abc"}}
    with checkpoint.open_manager(run, create=True) as manager:
        for step, loss in ((2, -3.0), (4, -1.0)):
            progress = checkpoint.Progress(PlateauState(0.1), 2, -3.0)
            new = state.replace(step=jnp.asarray(step, jnp.int32))
            checkpoint.save(manager, new, progress, loss, record)
        checkpoint.finish(manager)
