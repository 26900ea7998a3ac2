"""The compiled parts of a run."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from sepjax.config import Config, member_configs, variations, with_values
from sepjax.functional.augment import Excerpt, prepare_excerpts
from sepjax.functional.live import LiveSettings
from sepjax.models.build import model_of
from sepjax.models.contract import SeparationModel
from sepjax.train.mesh import AXIS, replicated, spread
from sepjax.train.objective import make_objective
from sepjax.train.optim import make_optimizer
from sepjax.train.optim.chain import per_source
from sepjax.train.optim.freeze import all_but, leaf_names
from sepjax.train.optim.matrices import matrices
from sepjax.train.seeds import map_members, map_seeds
from sepjax.train.step import (
    TrainState,
    init_state,
    init_variables,
    make_eval_step,
    make_train_step,
)


class Program(NamedTuple):
    """The compiled functions of a run; ``init(key)`` makes the state of one seed.

    With several members (``train.seeds``, ``train.vary``), the state that the steps act
    on has a leading axis over them (:func:`sepjax.train.seeds.join`), and so have their
    metrics.
    """

    init: Callable[[jax.Array], TrainState]
    train_step: Callable[[TrainState, dict], tuple[TrainState, dict]]
    eval_step: Callable[[Any, dict, dict], dict]
    mesh: Mesh
    freeze: tuple[str, ...] = ()  # paths of what training leaves as it is
    varied: tuple[str, ...] = ()  # fields whose values are data, in state.settings
    init_optimizer: Callable[[Any], Any] = dict  # its state for given parameters


def make_program(config: Config, mesh: Mesh) -> Program:
    """Compile all functions of a run: batches split over the mesh, the state on all.

    Each device runs the same program on its rows (:func:`sepjax.train.mesh.spread`, in
    the form of ``train.parallel``). Nothing is compiled before the first call of each
    part. ``config`` is resolved, and its ``train.fit`` spelled out
    (:func:`sepjax.train.pretrained.fitted_parts`).

    Raises:
        ValueError: microbatches where norms take their statistics from the whole batch.
    """
    model, train = model_of(config), config.train
    time = round(config.data.chunk_seconds * config.data.sample_rate)
    freeze = frozen_parts(config, model, time)
    axis = AXIS if train.parallel == "pmap" or mesh.size > 1 else None
    objective = make_objective(model, config.loss, freeze, config.per_source)
    if train.accumulate > 1 and objective.pooled:
        raise ValueError(
            "train.accumulate > 1: this model's norms use the statistics of the whole "
            "batch, of which a microbatch has a part. Use more devices, a smaller "
            f"train.batch_size or train.freeze={','.join(model.batch_norms)}"
        )
    # A varied number is an array here too, so that no link of the chain is left out.
    values = {path: jnp.float32(v) for path, v in variations(config)[0].items()}
    optimizer = optimizer_of(with_values(config, values), freeze, model)
    kinds = dict(average=config.optim.ema > 0, per_source=config.per_source)
    step = train_step(config, model, freeze, axis)
    return Program(
        jax.jit(
            lambda key: init_state(model, optimizer, key, time, **kinds),
            out_shardings=replicated(mesh),
            # It runs once: optimized, it would compile longer than the step.
            compiler_options={"xla_backend_optimization_level": 0},
        ),
        spread(step, mesh, train.parallel, donate=True),
        spread(eval_step(config, model, axis), mesh, train.parallel, more=1),
        mesh,
        freeze,
        tuple(values),
        jax.jit(optimizer.init, out_shardings=replicated(mesh)),
    )


def train_step(
    config: Config, model: SeparationModel, freeze: Sequence[str], axis: str | None
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """``(state, rows) -> (state, metrics)`` of one device, for all members."""
    prepare, members = preparation(config), len(member_configs(config))

    def step(state: TrainState, excerpt: Excerpt) -> tuple[TrainState, dict]:
        own = with_values(config, state.settings)
        update = make_train_step(
            make_objective(model, own.loss, freeze, config.per_source),
            optimizer_of(own, freeze, model),
            axis_name=axis,
            freeze=freeze,
            accumulate=config.train.accumulate,
            ema=config.optim.ema,
        )
        return update(state, excerpt)

    def steps(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        if members == 1:
            return step(state, prepare(batch))
        excerpts = map_seeds(prepare, batch, config.train.seeds)
        return map_members(step, state, excerpts, members)

    return steps


def eval_step(
    config: Config, model: SeparationModel, axis: str | None
) -> Callable[[Any, dict, dict], dict]:
    """``(params, rows, memory) -> sums`` of one device, for all members."""
    score = make_eval_step(model, preparation(config), axis, config.loss)
    several = len(member_configs(config)) > 1
    return jax.vmap(score, in_axes=(0, None, 0)) if several else score


def optimizer_of(
    config: Config, freeze: Sequence[str], model: SeparationModel
) -> optax.GradientTransformation:
    """The optimiser of a run."""
    options: dict[str, Any] = dict(freeze=freeze, steps=config.train.steps, model=model)
    options |= dict(rank=config.train.lora, seed=config.seed)
    optimizer = make_optimizer(config.optim, **options)
    return per_source(optimizer) if config.per_source else optimizer


def state_shapes(program: Program, members: int) -> TrainState:
    """Shapes of the state that ``program.train_step`` takes; nothing is computed."""
    state = jax.eval_shape(program.init, jax.random.key(0))
    number = jax.ShapeDtypeStruct((), jnp.float32)
    state = state.replace(settings=dict.fromkeys(program.varied, number))
    axes = (members,) if members > 1 else ()
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((*axes, *leaf.shape), leaf.dtype), state
    )


def preparation(config: Config) -> Callable[..., Excerpt]:
    """Return the function from a feeder's batch to the excerpts of a model."""
    live = LiveSettings.of(config.live, config.data.sample_rate)
    place, members = config.data.recorded.index, config.data.members.values()
    groups = tuple(tuple(map(place, names)) for names in members)
    return functools.partial(
        prepare_excerpts,
        groups=groups if config.data.sums else (),
        channels=config.model.audio_channels,
        live=live if config.live.train else None,
        normalized=config.data.normalize,
    )


def frozen_parts(config: Config, model: SeparationModel, time: int) -> tuple[str, ...]:
    """Return what ``train.freeze``, ``fit`` and ``lora`` leave as it is."""
    train, key = config.train, jax.random.key(0)
    if not (train.fit or train.lora):
        return train.freeze
    params = jax.eval_shape(lambda: init_variables(model, key, time))["params"]
    freeze, changed = train.freeze + all_but(params, train.fit), matrices(params)
    rest = (name for name in leaf_names(params) if name not in changed)
    return freeze + (tuple(rest) if train.lora else ())
