"""The compiled parts of a run."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.sharding import Mesh

from sepjax.config import Config
from sepjax.functional.augment import Excerpt, prepare_excerpts
from sepjax.functional.live import LiveSettings
from sepjax.models import build_model
from sepjax.train.freeze import all_but
from sepjax.train.mesh import batch_sharding, replicated
from sepjax.train.objective import make_objective
from sepjax.train.optim import make_optimizer
from sepjax.train.seeds import map_seeds
from sepjax.train.step import (
    TrainState,
    init_state,
    init_variables,
    make_eval_step,
    make_step,
)


class Program(NamedTuple):
    """What a run compiles; ``init(key)`` makes the state of one seed.

    With several seeds, the state that the steps act on has a leading axis over seeds
    (:func:`sepjax.train.seeds.join`), and so have their metrics.
    """

    init: Callable[[jax.Array], TrainState]
    train_step: Callable[[TrainState, dict], tuple[TrainState, dict]]
    eval_step: Callable[[Any, dict, dict], dict]
    freeze: tuple[str, ...] = ()  # paths of what training leaves as it is


def make_program(config: Config, mesh: Mesh) -> Program:
    """Jit everything a run needs: batches split over the mesh, the state on all of it.

    Nothing is compiled before the first call of each part.

    Args:
        config: resolved, ``train.fit`` as :func:`sepjax.train.pretrained.fitted_parts`
            spells it out.
        mesh: of all devices.
    """
    model = build_model(config.model)
    time = round(config.data.chunk_seconds * config.data.sample_rate)
    freeze = frozen_parts(config, model, time)
    optimizer = make_optimizer(config.optim, freeze=freeze)
    step = make_step(
        make_objective(model, config.loss, freeze), optimizer, freeze=freeze
    )
    fraction, seeds = config.data.shuffle_fraction, config.train.seeds
    prepare = preparation(config)
    augment = functools.partial(prepare, shuffle_fraction=fraction)

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        return step(state, augment(batch))

    def train_steps(states: TrainState, batch: dict) -> tuple[TrainState, dict]:
        return jax.vmap(step)(states, map_seeds(augment, batch, seeds))

    # Whether a Wiener filter helps is asked of whole songs, not of every evaluation.
    unfiltered = dataclasses.replace(config.model, wiener_iterations=0)
    eval_step = make_eval_step(build_model(unfiltered), prepare)
    eval_steps = jax.vmap(eval_step, in_axes=(0, None, 0))
    every, rows = replicated(mesh), batch_sharding(mesh)
    return Program(
        jax.jit(
            lambda key: init_state(model, optimizer, key, time),
            out_shardings=every,
            # It runs once: optimized, it would compile longer than the step.
            compiler_options={"xla_backend_optimization_level": 0},
        ),
        jax.jit(
            train_step if seeds == 1 else train_steps,
            in_shardings=(every, rows),
            out_shardings=(every, every),
            donate_argnums=0,
        ),
        jax.jit(
            eval_step if seeds == 1 else eval_steps,
            in_shardings=(every, rows, every),
            out_shardings=every,
        ),
        freeze,
    )


def preparation(config: Config) -> Callable[..., Excerpt]:
    """What makes the excerpts that a configuration's model hears of a batch."""
    live = LiveSettings.of(config.live, config.data.sample_rate)
    return functools.partial(
        prepare_excerpts,
        channels=config.model.audio_channels,
        live=live if config.live.train else None,
        normalized=config.data.normalize,
    )


def frozen_parts(config: Config, model: nn.Module, time: int) -> tuple[str, ...]:
    """What ``train.freeze`` and ``train.fit`` together leave as it is."""
    if not config.train.fit:
        return config.train.freeze
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: init_variables(model, key, time))
    return config.train.freeze + all_but(shapes["params"], config.train.fit)
