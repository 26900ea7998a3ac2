"""Optimisers: clipping, moments, decay of the right kind, an injectable rate."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array

from sepjax.config import OptimConfig
from sepjax.models.contract import SeparationModel
from sepjax.registry import Registry, nearest
from sepjax.train.optim.freeze import frozen_leaves
from sepjax.train.optim.ranger import lookahead, scale_by_rectified_adam
from sepjax.train.optim.restarts import cosine_restarts

OPTIMIZERS = Registry("optimizer")
OPTIMIZERS.register("adam")(optax.scale_by_adam)
OPTIMIZERS.register("radam")(optax.scale_by_radam)
OPTIMIZERS.register("ranger")(scale_by_rectified_adam)

# They need more than gradients and a loss, are evaluated at other parameters, ignore
# the learning rate after the first step, or fail for scalars or in checkpoints.
UNSUITED = (
    *("dpsgd", "lbfgs", "sophia", "schedule_free_adamw", "schedule_free_sgd"),
    *("rprop", "sm3", "galore"),
)

# What an optimizer does to its steps after the learning rate.
LAST_LINKS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "ranger": lookahead
}


def decayed(
    params: Any, which: str = "kernels", model: SeparationModel | None = None
) -> Any:
    """Return which leaves weight decay shrinks.

    Args:
        params: a tree of parameters.
        which: ``"kernels"``, those that the model says decay, by default those named
            ``kernel``: logits of filterbanks would be pulled to mid-range, gains of
            norms to zero; both, and PReLU slopes and biases, are left alone.
            ``"all"``, whatever can be trained, as PyTorch's optimisers do: all but the
            model's constants.
        model: of the parameters.

    Example:
        >>> decayed({"mask": {"kernel": 1.0, "bias": 0.0}})
        {'mask': {'bias': False, 'kernel': True}}
        >>> decayed({"input": {"scale": 1.0}}, "all")
        {'input': {'scale': True}}
    """

    def touched(path: tuple, leaf: Any) -> bool:
        names = tuple(str(getattr(part, "key", part)) for part in path)
        if which == "all":
            return names[-1] not in (model.constants if model else ())
        return model.decays(names) if model else names[-1] == "kernel"

    return jax.tree_util.tree_map_with_path(touched, params)


def named_optimizers() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """The complete optimisers of optax and ``optax.contrib``, by name.

    For a name in both, ``optax.contrib`` counts.

    Example:
        >>> {"muon", "lion", "prodigy"} <= set(named_optimizers())
        True
    """
    pairs = {
        name: value
        for module in (optax, optax.contrib)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and name not in UNSUITED
    }
    return {
        name: value
        for name, value in pairs.items()
        if next(iter(inspect.signature(value).parameters), "") == "learning_rate"
        and not name.startswith(("_", "scale_by"))
    }


def require_optimizer(name: str) -> None:
    """Refuse a name that is not an optimiser's.

    Raises:
        ValueError: unknown optimiser; the nearest names are suggested.
    """
    if name in UNSUITED:
        raise ValueError(
            f"optim.optimizer={name!r} does not fit this training step: it needs more "
            "than gradients and a loss, or its state cannot be kept"
        )
    known = {*named_optimizers(), *OPTIMIZERS}
    if name not in known:
        raise ValueError(f"optim.optimizer={name!r}: {nearest(name, known)}")


def find_optimizer(name: str) -> Callable[..., optax.GradientTransformation]:
    """``learning_rate -> transformation`` of an optimiser of optax, without decay.

    Raises:
        ValueError: unknown optimiser; the nearest names are suggested.
    """
    require_optimizer(name)
    factory = named_optimizers()[name]
    options: dict[str, Any] = {}
    for field in ("weight_decay", "weight_decay_rate"):
        if field in inspect.signature(factory).parameters:
            options[field] = 0.0
    if name == "muon":
        options["muon_weight_dimension_numbers"] = matrix_axes
    return lambda learning_rate: factory(learning_rate, **options)


def matrix_axes(params: Any) -> Any:
    """Return which leaves Muon orthogonalizes: matrices, one by one if stacked.

    Leaves named ``kernel`` with at least two axes, but for depthwise filters, which are
    no matrices, and the weights of recurrent layers. Their last two axes are inputs and
    outputs. Adam takes the rest.

    Example:
        >>> stacked = {"kernel": jnp.ones((40, 8, 4)), "bias": jnp.ones((40, 4))}
        >>> axes = matrix_axes(stacked)
        >>> axes["kernel"].output_axis, axes["bias"]
        (2, None)
    """

    def axes(path: tuple, leaf: Array) -> Any:
        names = ["", *(getattr(part, "key", "") for part in path)]
        recurrent = names[-2].startswith("lstm") and names[-1] in ("input", "state")
        matrix = names[-1] == "kernel" and names[-2] != "depthwise"
        if leaf.ndim < 2 or not (recurrent or matrix):
            return None
        return optax.contrib.MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)


def make_optimizer(
    config: OptimConfig,
    *,
    freeze: Sequence[str] = (),
    steps: int = 0,
    model: SeparationModel | None = None,
) -> optax.GradientTransformation:
    """Make the optimiser of a configuration.

    Decoupled decay is AdamW's, ``p -= lr * decay * p``; ``l2`` adds ``decay * p`` to
    the gradient before the moments, as PyTorch's Adam does. The learning rate lies in
    the state's ``hyperparams["learning_rate"]``, where it can be replaced without
    recompilation; with a schedule of steps (:func:`learning_rate`) it is the rate of
    the last step. Frozen parameters do not decay; their gradients are zero already.

    Args:
        config: its numbers may be arrays, as those of ``train.vary`` are.
        freeze: paths of what training leaves as it is.
        steps: of the run, for a cosine over all of it.
        model: says which of its parameters decay.

    Raises:
        ValueError: unknown optimiser; the nearest names are suggested.

    Example:
        >>> optimizer = make_optimizer(OptimConfig(lr=0.25))
        >>> state = optimizer.init({"kernel": jax.numpy.ones(2)})
        >>> float(state.hyperparams["learning_rate"])
        0.25
    """
    name, l2 = config.optimizer, config.weight_decay_kind == "l2"
    # Those of optax are complete; the others are directions, which need a rate.
    complete = None if name in OPTIMIZERS else find_optimizer(name)

    def mask(params: Any) -> Any:
        frozen = frozen_leaves(params, freeze)
        chosen = decayed(params, config.decay, model)
        return jax.tree.map(lambda yes, no: yes and not no, chosen, frozen)

    def decay(factor: Any = 1.0) -> list[optax.GradientTransformation]:
        if not is_used(config.weight_decay):
            return []
        return [optax.add_decayed_weights(factor * config.weight_decay, mask=mask)]

    def build(rate: Any) -> optax.GradientTransformation:
        links = []
        if is_used(config.clip):
            links.append(optax.clip_by_global_norm(config.clip))
        links += decay() if l2 else []
        if complete:
            return optax.chain(*links, complete(rate), *([] if l2 else decay(-rate)))
        links += [OPTIMIZERS.build(name), *([] if l2 else decay())]
        links.append(optax.scale_by_learning_rate(rate))
        links += [LAST_LINKS[name]()] if name in LAST_LINKS else []
        return optax.chain(*links)

    rate, growth = learning_rate(config, steps), config.warmup_steps
    if not growth:
        return optax.inject_hyperparams(lambda learning_rate: build(learning_rate))(
            rate
        )
    return optax.inject_hyperparams(
        lambda learning_rate, warmup: build(learning_rate * warmup)
    )(rate, lambda count: jnp.minimum(1.0, (count + 1) / growth))


def is_used(value: Any) -> bool:
    """Return whether a number makes a difference: an array always does."""
    return isinstance(value, jax.Array) or value > 0


def learning_rate(config: OptimConfig, steps: int) -> float | optax.Schedule:
    """The rate, or for schedules of steps a function of the steps already taken.

    ``plateau``: a number, lowered from outside. ``restarts``: a cosine that starts
    again (:func:`sepjax.train.optim.restarts.cosine_restarts`). ``cosine``:
    ``lr (1 + cos(pi n / N)) / 2`` with ``N = optim.cosine_steps``, or all ``steps``.
    ``optim.warmup_steps`` lets all of them grow linearly from zero at first.
    """
    if config.schedule == "plateau":
        return config.lr
    if config.schedule == "cosine":
        steps = config.cosine_steps or max(steps, 1)
        return optax.cosine_decay_schedule(config.lr, steps)
    every, decay = config.restart_every, config.restart_decay
    return cosine_restarts(config.lr, every=every, decay=decay)
