"""One optimiser step and one evaluation step, as pure functions."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sepjax.config import LossConfig
from sepjax.functional.augment import Excerpt, prepare_excerpts
from sepjax.losses import Whole, active_sources, source_si_sdr, whole_batch
from sepjax.models.contract import SeparationModel
from sepjax.train.mesh import merge, split
from sepjax.train.objective import (
    RNGS,
    Metrics,
    Objective,
    initial_memory,
    loss_terms,
    model_inputs,
)
from sepjax.train.optim.freeze import stop_gradients, unmoved


class TrainState(flax.struct.PyTreeNode):
    """All that an optimiser step changes or depends on, except the batch."""

    step: Array
    params: Any
    opt_state: optax.OptState
    # What a model remembers of the batches it saw, such as running statistics.
    memory: dict[str, Any] = flax.struct.field(default_factory=dict)
    # The moving average of the parameters, if the configuration asks for one.
    average: dict[str, Any] = flax.struct.field(default_factory=dict)
    # Values of varied fields (train.vary); part of the configuration, not saved.
    settings: dict[str, Array] = flax.struct.field(default_factory=dict)
    # Where each source is trained as if it were alone: what was best of each, and which
    # ones go on. The latter follows from the schedules and is not saved.
    best: dict[str, Any] = flax.struct.field(default_factory=dict)
    going: Any = ()

    @property
    def scored(self) -> Any:
        """The parameters for evaluation: the average if there is an average."""
        return self.average or self.params

    @property
    def learning_rate(self) -> Array:
        """The rate of the next step; with a schedule of steps that of the last one."""
        hyperparams = self.opt_state.hyperparams
        return hyperparams["learning_rate"] * hyperparams.get("warmup", 1.0)

    def with_learning_rate(self, rate: Any) -> "TrainState":
        """The same state with other rates, one or all; nothing is recompiled."""
        present = self.opt_state.hyperparams["learning_rate"]  # of members and sources
        rates = np.resize(rate, present.shape).astype(present.dtype)
        new = jax.device_put(rates, present.sharding)
        hyperparams = self.opt_state.hyperparams | {"learning_rate": new}
        return self.replace(opt_state=self.opt_state._replace(hyperparams=hyperparams))

    def with_ended(self, ended: Any) -> "TrainState":
        """The same state, in which some sources have ended; nothing is recompiled."""
        going = ~np.asarray(ended, bool).reshape(self.going.shape)
        return self.replace(going=jax.device_put(going, self.going.sharding))


def init_state(
    model: SeparationModel,
    optimizer: optax.GradientTransformation,
    key: Array,
    time: int,
    *,
    average: bool = False,
    per_source: bool = False,
) -> TrainState:
    """A fresh state for chunks of ``time`` samples."""
    variables = init_variables(model, key, time)
    params = variables["params"]
    state = TrainState(
        jnp.zeros((), jnp.int32),
        params,
        optimizer.init(params),
        initial_memory(model, variables, key),
        jax.tree.map(jnp.copy, params) if average else {},
    )
    if not per_source:
        return state
    best = jax.tree.map(jnp.copy, of_sources(state))
    count = len(jax.tree.leaves(params)[0])
    return state.replace(best=best, going=jnp.ones(count, bool))


def where_source(mask: Array, new: Any, old: Any) -> Any:
    """Return a tree with the arrays of ``new`` for some sources, of ``old`` for others.

    Example:
        >>> mask = jnp.array([True, False])
        >>> where_source(mask, {"a": jnp.ones((2, 1))}, {"a": jnp.zeros((2, 1))})
        {'a': Array([[1.],
               [0.]], dtype=float32)}
    """

    def pick(one: Array, other: Array) -> Array:
        shape = mask.shape + (1,) * (one.ndim - mask.ndim)  # members, sources
        return jnp.where(mask.reshape(shape), one, other)

    return jax.tree.map(pick, new, old)


def of_sources(state: TrainState) -> dict[str, Any]:
    """Return what evaluation needs of a state, all of it with an axis over sources."""
    return {"params": state.scored} | collections(state)


def collections(state: TrainState) -> dict[str, Any]:
    """Return what a model remembers, but for the key of its random streams."""
    return {name: tree for name, tree in state.memory.items() if name != RNGS}


def init_variables(model: SeparationModel, key: Array, time: int) -> dict[str, Any]:
    """Freshly drawn parameters and other variables of a model."""
    channels = model.audio_channels
    shape = (1, time) if channels == 1 else (1, channels, time)
    mixture = jnp.zeros(shape)
    sources = jnp.zeros((1, len(model.sources), *shape[1:]))
    return model.init(key, *model_inputs(model, Excerpt(mixture, sources)))


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    freeze: Sequence[str] = (),
    accumulate: int = 1,
    ema: float = 0.0,
) -> Callable[[TrainState, Excerpt], tuple[TrainState, Metrics]]:
    """Forward, loss, gradient, update.

    The same function runs on one device, and under ``jax.shard_map`` or
    ``jax.pmap(step, axis_name=...)`` on many, whose summed gradients are those of the
    whole batch.

    Args:
        objective: :func:`sepjax.train.objective.make_objective` of a model.
        optimizer: :func:`sepjax.train.optim.make_optimizer` of a configuration.
        axis_name: the axis of ``shard_map`` or ``pmap``, if any.
        freeze: parts that get no gradient, such as ``"encoder"``; the optimiser must
            know them too, for weight decay.
        accumulate: microbatches that a device takes one after another.
        ema: decay of the parameters' average (:func:`averaged`); 0: none.

    Returns:
        ``step(state, excerpt) -> (state, metrics)`` with metrics ``loss``, ``si_sdr``
        per source (dB) or what the loss calls its values, and ``grad_norm`` before
        clipping.

    Example:
        >>> from sepjax.config import OptimConfig
        >>> from sepjax.models import build_model
        >>> from sepjax.models.tasnet.config import TasNetConfig
        >>> from sepjax.train.objective import make_objective
        >>> from sepjax.train.optim import make_optimizer
        >>> small = TasNetConfig(encoding="simple", N=8, B=4, H=4, layers=1, stack=1)
        >>> model = build_model(small, sources=("voice", "rest"), sample_rate=8000)
        >>> optimizer = make_optimizer(OptimConfig())
        >>> begin = jax.jit(lambda key: init_state(model, optimizer, key, 400))
        >>> state = begin(jax.random.key(0))
        >>> sources = jax.random.normal(jax.random.key(1), (2, 2, 400))
        >>> step = jax.jit(make_train_step(make_objective(model), optimizer))
        >>> state, metrics = step(state, Excerpt(sources.sum(1), sources))
        >>> int(state.step), sorted(metrics)
        (1, ['grad_norm', 'loss', 'si_sdr'])
    """
    gradient = objective_gradient(
        objective, axis_name=axis_name, freeze=freeze, accumulate=accumulate
    )
    optimizer = optax.with_extra_args_support(optimizer)

    def step(state: TrainState, excerpt: Excerpt) -> tuple[TrainState, Metrics]:
        grads, metrics, memory = gradient(state.params, excerpt, state.memory)
        value = metrics.pop("each", metrics["loss"])
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.params, value=value
        )
        still = unmoved(state.params, freeze, objective.constants)
        moves = jax.tree.map(
            lambda x, no: jnp.zeros_like(x) if no else x, updates, still
        )
        params = optax.apply_updates(state.params, moves)
        metrics["grad_norm"] = optax.tree.norm(grads)
        average = averaged(state.average, params, state.step, ema) if ema else {}
        kept = dict(params=params, opt_state=opt_state, memory=memory, average=average)
        after = state.replace(step=state.step + 1, **kept)
        return unless_ended(state, after) if state.best else after, metrics

    return step


def unless_ended(before: TrainState, after: TrainState) -> TrainState:
    """Return the state after a step, in which sources that have ended did not move."""

    def parts(state: TrainState) -> dict[str, Any]:
        fields = dict(params=state.params, opt_state=state.opt_state)
        return fields | dict(average=state.average, memory=collections(state))

    new = where_source(before.going, parts(after), parts(before))
    return after.replace(**new | {"memory": after.memory | new["memory"]})


def averaged(average: Any, params: Any, step: Array, decay: float) -> Any:
    r"""Return the exponential moving average after one more step.

    .. math:: a_{n+1} = d_n a_n + (1 - d_n) p_{n+1}, \quad
              d_n = \min(d, \frac{1 + n}{10 + n})

    The first steps weigh more, so that an average of a short run is not one of freshly
    drawn parameters.

    Example:
        >>> old, new, step = jnp.array(0.0), jnp.array(1.0), jnp.array(0)
        >>> round(float(averaged(old, new, step, 0.999)), 3)
        0.9
    """
    rest = 1 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    # In this form what does not change stays as it is, bit for bit.
    return jax.tree.map(lambda a, p: a + rest * (p - a), average, params)


def objective_gradient(
    objective: Objective,
    *,
    axis_name: str | None = None,
    freeze: Sequence[str] = (),
    accumulate: int = 1,
) -> Callable[..., tuple[Any, Metrics, dict]]:
    """``(params, excerpt, memory) -> (gradients, metrics, memory)`` of an objective.

    The gradients of ``accumulate`` microbatches are added up. Where the loss compares
    items of the whole batch, all outputs are computed microbatch by microbatch, and
    once more for the gradient, which keeps as little of the network in memory.
    """
    joint = objective.joint and accumulate > 1

    def total(params: Any, memory: dict, excerpt: Excerpt, whole: Whole) -> tuple:
        params = stop_gradients(params, freeze)

        def outputs(part: Excerpt) -> tuple[Any, dict]:
            return objective.outputs(params, memory, part, axis_name)

        if joint:
            parts = jax.lax.map(jax.checkpoint(outputs), split(excerpt, accumulate))
            output, after = merge(parts[0]), memory
        else:
            output, after = outputs(excerpt)
        value, metrics = objective.loss(output, excerpt, whole)
        return value, ({"loss": value} | metrics, after)

    def gradient(params: Any, excerpt: Excerpt, memory: dict) -> tuple:
        shares = 1 if joint else accumulate
        whole = whole_batch(excerpt.sources, axis_name, shares)

        def share(memory: dict, part: Excerpt) -> tuple[dict, tuple]:
            differentiate = jax.grad(total, has_aux=True)
            grads, (metrics, memory) = differentiate(params, memory, part, whole)
            return memory, (grads, metrics)

        if shares == 1:
            memory, sums = share(memory, excerpt)
        else:
            memory, sums = add_up(share, memory, split(excerpt, shares))
        sums = sums if axis_name is None else jax.lax.psum(sums, axis_name)
        return *sums, memory

    return gradient


def add_up(function: Callable, carry: Any, parts: Any) -> tuple[Any, Any]:
    """The last carry and the sum of the results of a scan, one result in memory."""
    first = jax.tree.map(lambda x: x[0], parts)
    _, shapes = jax.eval_shape(function, carry, first)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def body(state: tuple, part: Any) -> tuple[tuple, None]:
        carry, result = function(state[0], part)
        return (carry, jax.tree.map(jnp.add, state[1], result)), None

    return jax.lax.scan(body, (carry, zeros), parts)[0]


def make_eval_step(
    model: SeparationModel,
    prepare: Callable[[dict], Excerpt] = prepare_excerpts,
    axis_name: str | None = None,
    loss: LossConfig | None = None,
) -> Callable[..., Metrics]:
    """``(params, batch, memory={}) -> sums`` over a batch's items, as in inference.

    ``si_sdr`` and ``count``, per source, over items in which the source is active;
    every other loss with values per source, under its name; and ``items``. The batch is
    a feeder's, with ``weight`` 0 for rows that only fill it up; ``prepare`` makes
    excerpts of it. ``axis_name`` as for :func:`make_train_step`.
    """
    loss = loss or LossConfig()
    terms = [term for _, term in loss_terms(loss, model.objective)]
    terms = [term for term in terms if not term.reduces and term.label != "si_sdr"]
    model = model.for_validation()

    def step(
        params: Any, batch: dict[str, Array], memory: dict | None = None
    ) -> Metrics:
        kept = {name: (memory or {})[name] for name in model.collections}
        variables, excerpt = {"params": params} | kept, prepare(batch)
        separation = model.apply(variables, *model_inputs(model, excerpt))
        estimates = separation.estimates[:, : excerpt.sources.shape[1]]
        facts = excerpt._asdict() | separation._asdict()
        facts |= dict(estimates=estimates, sample_rate=model.sample_rate)
        rows = batch["weight"][:, None] > 0
        active = active_sources(excerpt.sources) & rows
        values = source_si_sdr(excerpt.sources, estimates)
        sums = {"si_sdr": jnp.sum(jnp.where(active, values, 0.0), 0)}
        sums["count"] = jnp.sum(active, 0)
        for term in terms:
            for method in {model.outputs[n] for n in term.needs if n in model.outputs}:
                options = term.options(loss)
                facts |= model.apply(variables, *excerpt, **options, method=method)
            values = term.function(**{name: facts[name] for name in term.needs})
            counted = rows if term.counts_silence else active
            sums[term.label] = jnp.sum(jnp.where(counted, values, 0.0), 0)
            sums["items"] = jnp.sum(rows)
        return sums if axis_name is None else jax.lax.psum(sums, axis_name)

    return step
