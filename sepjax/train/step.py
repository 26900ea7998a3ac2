"""One optimiser step and one evaluation step, as pure functions."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from sepjax.functional.augment import Excerpt, prepare_excerpts
from sepjax.losses import active_sources, source_si_sdr
from sepjax.train.freeze import stop_gradients
from sepjax.train.objective import (
    Metrics,
    Objective,
    estimate_objective,
    initial_memory,
    model_inputs,
    spectral_errors,
)


class TrainState(flax.struct.PyTreeNode):
    """What an optimiser step changes, and all that it depends on but the batch."""

    step: Array
    params: Any
    opt_state: optax.OptState
    # What a model remembers of the batches it saw, such as running statistics.
    memory: dict[str, Any] = flax.struct.field(default_factory=dict)

    @property
    def learning_rate(self) -> Array:
        """The rate of the next step; with ``schedule="restarts"`` of the last one."""
        return self.opt_state.hyperparams["learning_rate"]

    def with_learning_rate(self, rate: float | Sequence[float]) -> "TrainState":
        """The same state with another rate; nothing is recompiled."""
        present = self.learning_rate  # one rate, or one per seed
        new = jax.device_put(jnp.asarray(rate, present.dtype), present.sharding)
        hyperparams = self.opt_state.hyperparams | {"learning_rate": new}
        return self.replace(opt_state=self.opt_state._replace(hyperparams=hyperparams))


def init_state(
    model: nn.Module, optimizer: optax.GradientTransformation, key: Array, time: int
) -> TrainState:
    """A fresh state for chunks of ``time`` samples."""
    variables = init_variables(model, key, time)
    params = variables["params"]
    return TrainState(
        jnp.zeros((), jnp.int32),
        params,
        optimizer.init(params),
        initial_memory(model, variables, key),
    )


def init_variables(model: nn.Module, key: Array, time: int) -> dict[str, Any]:
    """Freshly drawn parameters and other variables of a model."""
    channels = model.audio_channels
    shape = (1, time) if channels == 1 else (1, channels, time)
    mixture = jnp.zeros(shape)
    sources = jnp.zeros((1, len(model.sources), *shape[1:]))
    return model.init(key, *model_inputs(model, Excerpt(mixture, sources)))


def make_train_step(
    model: nn.Module,
    loss: Callable[..., tuple[Array, Metrics]],
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    freeze: Sequence[str] = (),
) -> Callable[[TrainState, Excerpt], tuple[TrainState, Metrics]]:
    """Forward, loss, gradient, update.

    The same function runs on one device, under ``jit`` with sharded batches, and under
    ``jax.pmap(step, axis_name=...)``: there every device computes its share of the
    *global* mean (the number of active items per source is summed over devices first),
    so that the summed gradients are those of the whole batch.

    Args:
        model: takes ``(params, mixture)`` and returns a ``Separation``.
        loss: ``loss(reference, estimate, counts=None) -> (scalar, metrics)``.
        optimizer: as :func:`sepjax.train.optim.make_optimizer` makes it.
        axis_name: the axis of ``pmap``, if any.
        freeze: parts of the model that get no gradient, such as ``"encoder"``; the
            optimiser must know them too, for weight decay.

    Returns:
        ``step(state, excerpt) -> (state, metrics)`` with metrics ``loss``, ``si_sdr``
        per source (dB) and ``grad_norm`` before clipping.

    Example:
        >>> from sepjax.config import ModelConfig, OptimConfig
        >>> from sepjax.losses import separation_loss
        >>> from sepjax.models import build_model
        >>> from sepjax.train.optim import make_optimizer
        >>> model = build_model(ModelConfig(N=8, B=4, H=4, layers=1, stack=1))
        >>> optimizer = make_optimizer(OptimConfig())
        >>> state = init_state(model, optimizer, jax.random.key(0), 400)
        >>> sources = jax.random.normal(jax.random.key(1), (2, 4, 400))
        >>> step = jax.jit(make_train_step(model, separation_loss, optimizer))
        >>> state, metrics = step(state, Excerpt(sources.sum(1), sources))
        >>> int(state.step), sorted(metrics)
        (1, ['grad_norm', 'loss', 'si_sdr'])
    """
    objective = estimate_objective(model, loss)
    return make_step(objective, optimizer, axis_name=axis_name, freeze=freeze)


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None = None,
    freeze: Sequence[str] = (),
) -> Callable[[TrainState, Excerpt], tuple[TrainState, Metrics]]:
    """As :func:`make_train_step`, of any objective."""
    gradient = objective_gradient(objective, axis_name=axis_name, freeze=freeze)

    def step(state: TrainState, excerpt: Excerpt) -> tuple[TrainState, Metrics]:
        grads, metrics, memory = gradient(state.params, excerpt, state.memory)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics["grad_norm"] = optax.tree.norm(grads)
        return TrainState(state.step + 1, params, opt_state, memory), metrics

    return step


def make_gradient(
    model: nn.Module,
    loss: Callable[..., tuple[Array, Metrics]],
    *,
    axis_name: str | None = None,
    freeze: Sequence[str] = (),
) -> Callable[[Any, Excerpt], tuple[Any, Metrics]]:
    """``(params, excerpt) -> (gradients, metrics)`` of the whole batch's loss."""
    objective = estimate_objective(model, loss)
    gradient = objective_gradient(objective, axis_name=axis_name, freeze=freeze)
    return lambda params, excerpt: gradient(params, excerpt, {})[:2]


def objective_gradient(
    objective: Objective,
    *,
    axis_name: str | None = None,
    freeze: Sequence[str] = (),
) -> Callable[..., tuple[Any, Metrics, dict]]:
    """``(params, excerpt, memory) -> (gradients, metrics, memory)`` of an objective."""

    def total(params: Any, memory: dict, excerpt: Excerpt, counts: Array) -> tuple:
        if freeze:
            params = stop_gradients(params, freeze)
        return objective(params, memory, excerpt, counts)

    def gradient(
        params: Any, excerpt: Excerpt, memory: dict
    ) -> tuple[Any, Metrics, dict]:
        counts = jnp.sum(active_sources(excerpt.sources), axis=0, dtype=jnp.float32)
        if axis_name is not None:
            counts = jax.lax.psum(counts, axis_name)
        differentiate = jax.value_and_grad(total, has_aux=True)
        (value, (metrics, memory)), grads = differentiate(
            params, memory, excerpt, counts
        )
        metrics = {"loss": value} | metrics
        if axis_name is not None:
            grads, metrics = jax.lax.psum((grads, metrics), axis_name)
        return grads, metrics, memory

    return gradient


def make_eval_step(
    model: nn.Module, prepare: Callable[[dict], Excerpt] = prepare_excerpts
) -> Callable[..., Metrics]:
    """``(params, batch, memory={}) -> sums`` over the items of a batch.

    ``si_sdr`` and ``count``, per source, of items in which it is active, and of models
    that are trained on spectra ``mse`` and ``items``. The batch is a feeder's, with
    ``weight`` 0 for rows that only fill it up; ``prepare`` makes excerpts of it.
    """

    def step(
        params: Any, batch: dict[str, Array], memory: dict | None = None
    ) -> Metrics:
        excerpt = prepare(batch)
        variables = {"params": params} | (memory or {})
        output = model.apply(variables, *model_inputs(model, excerpt))
        targets = excerpt.sources.shape[1]
        values = source_si_sdr(excerpt.sources, output.estimates[:, :targets])
        heard = batch["weight"] > 0
        counted = active_sources(excerpt.sources) & heard[:, None]
        sums = {
            "si_sdr": jnp.sum(jnp.where(counted, values, 0.0), 0),
            "count": jnp.sum(counted, 0),
        }
        if hasattr(model, "spectra"):
            spectra = model.apply(variables, *excerpt, train=False, method="spectra")
            errors = jnp.where(heard[:, None], spectral_errors(*spectra), 0.0)
            sums |= {"mse": jnp.sum(errors, 0), "items": jnp.sum(heard)}
        return sums

    return step
