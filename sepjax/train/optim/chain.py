"""Optimisers: clipping, moments, decay of the right kind, an injectable rate."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float, Int

from sepjax.config import OptimConfig
from sepjax.models.contract import SeparationModel
from sepjax.registry import Registry, nearest
from sepjax.train.optim.freeze import frozen_leaves
from sepjax.train.optim.low_rank import low_rank
from sepjax.train.optim.matrices import matrix_axes
from sepjax.train.optim.ranger import lookahead, scale_by_rectified_adam

OPTIMIZERS = Registry("optimizer")
"""Optimisers by name; those of optax are known without an entry."""
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
LAST_LINKS = {"ranger": lookahead}


def decayed(
    params: Any, which: str = "kernels", model: SeparationModel | None = None
) -> Any:
    """Return which leaves weight decay shrinks.

    Args:
        params: a tree of parameters.
        which: ``"kernels"``, those that the model says decay, by default those named
            ``kernel``: logits of filterbanks would be pulled to mid-range, gains of
            norms to zero. ``"all"``, as PyTorch's optimisers do: all but the model's
            constants.
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
    return {
        name: value
        for name, value in (vars(optax) | vars(optax.contrib)).items()
        if inspect.isfunction(value)
        and name not in UNSUITED
        and not name.startswith(("_", "scale_by"))
        and next(iter(inspect.signature(value).parameters), "") == "learning_rate"
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
    if name not in (known := {*named_optimizers(), *OPTIMIZERS}):
        raise ValueError(f"optim.optimizer={name!r}: {nearest(name, known)}")


def find_optimizer(name: str) -> Callable[..., optax.GradientTransformation]:
    """``learning_rate -> transformation`` of an optimiser of optax, without decay.

    Raises:
        ValueError: unknown optimiser; the nearest names are suggested.
    """
    require_optimizer(name)
    factory = named_optimizers()[name]
    decays = {"weight_decay", "weight_decay_rate"}
    options: dict[str, Any] = dict.fromkeys(
        decays & inspect.signature(factory).parameters.keys(), 0.0
    )
    if name == "muon":
        options["muon_weight_dimension_numbers"] = matrix_axes
    return functools.partial(factory, **options)


def make_optimizer(
    config: OptimConfig,
    *,
    freeze: Sequence[str] = (),
    steps: int = 0,
    model: SeparationModel | None = None,
    rank: int = 0,
    seed: int = 0,
) -> optax.GradientTransformation:
    """Make the optimiser of a configuration.

    Decoupled decay is AdamW's, ``p -= lr * decay * p``; ``l2`` adds ``decay * p`` to
    the gradient before the moments, as PyTorch's Adam does. The learning rate lies in
    the state's ``hyperparams["learning_rate"]``, where it can be replaced without
    recompilation; with a schedule of steps (:func:`learning_rate`) it is the rate of
    the last step. Frozen parameters do not decay; their gradients are zero already.

    Args:
        config: its numbers may be arrays, as those of ``train.vary`` are.
        freeze: paths of the parts that training leaves as they are.
        steps: of the run, for a cosine over all of it.
        model: says which of its parameters decay.
        rank: of what is learned of each matrix (:func:`~.low_rank.low_rank`); 0: all.
            Factors of low rank do not decay.
        seed: of the factors.

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
        if rank or not is_used(config.weight_decay):
            return []
        return [optax.add_decayed_weights(factor * config.weight_decay, mask=mask)]

    def build(learning_rate: Any) -> optax.GradientTransformation:
        chain = links_of(learning_rate)
        return low_rank(chain, rank, freeze=freeze, seed=seed) if rank else chain

    def links_of(learning_rate: Any) -> optax.GradientTransformation:
        clip = is_used(config.clip)
        links = [optax.clip_by_global_norm(config.clip)] if clip else []
        links += decay() if l2 else []
        if complete:
            links.append(complete(learning_rate))
            return optax.chain(*links, *([] if l2 else decay(-learning_rate)))
        links += [OPTIMIZERS.build(name), *([] if l2 else decay())]
        links.append(optax.scale_by_learning_rate(learning_rate))
        links += [LAST_LINKS[name]()] if name in LAST_LINKS else []
        return optax.chain(*links)

    return _scheduled(build, config, steps)


def _scheduled(
    build: Callable[[Any], optax.GradientTransformation],
    config: OptimConfig,
    steps: int,
) -> optax.GradientTransformation:
    """The optimiser of a rate, with the rate in its state."""
    rate, growth = learning_rate(config, steps), config.warmup_steps
    if not growth:
        return optax.inject_hyperparams(build)(rate)
    return optax.inject_hyperparams(
        lambda learning_rate, warmup: build(learning_rate * warmup)
    )(rate, lambda count: jnp.minimum(1.0, (count + 1) / growth))


def per_source(
    optimizer: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """Return the optimiser that keeps a state, and a rate, of its own for each source.

    All arrays have a leading axis over sources (``ModelConfig.per_source``).

    Example:
        >>> clip = per_source(optax.clip_by_global_norm(1.0))
        >>> gradients = {"kernel": jnp.array([[4.0, 0.0], [0.0, 0.5]])}
        >>> clip.update(gradients, clip.init(gradients))[0]["kernel"].tolist()
        [[1.0, 0.0], [0.0, 0.5]]
    """
    own = optax.with_extra_args_support(optimizer)

    def update(updates: Any, state: Any, params: Any = None, **more: Any) -> tuple:
        return jax.vmap(own.update)(updates, state, params, **more)

    return optax.GradientTransformationExtraArgs(jax.vmap(own.init), update)


def is_used(value: Any) -> bool:
    """Return whether a number makes a difference: an array always does."""
    return isinstance(value, jax.Array) or value > 0


def learning_rate(config: OptimConfig, steps: int) -> float | optax.Schedule:
    """The rate, or for schedules of steps a function of the steps already taken.

    ``plateau``: a number, lowered from outside. ``restarts``: a cosine that starts
    again (:func:`cosine_restarts`). ``cosine``: ``lr (1 + cos(pi n / N)) / 2`` with
    ``N = optim.cosine_steps``, or all ``steps``. ``optim.warmup_steps`` lets all of
    them grow linearly from zero at first.
    """
    if config.schedule == "plateau":
        return config.lr
    if config.schedule == "cosine":
        steps = config.cosine_steps or max(steps, 1)
        return optax.cosine_decay_schedule(config.lr, steps)
    every, decay = config.restart_every, config.restart_decay
    return cosine_restarts(config.lr, every=every, decay=decay)


def cosine_restarts(
    lr: float, *, every: int = 200_000, decay: float = 0.85
) -> optax.Schedule:
    """Return the rate of each step of gradient descent with warm restarts.

    ``rate(n) = lr decay^j (1 + cos(pi (n / every - j))) / 2``, ``j = floor(n / every)``

    for step ``n``, counted from 1, with a restart ``every`` so many steps. The
    schedule's argument is the number of steps already taken, ``n - 1``.

    Example:
        >>> rate = cosine_restarts(1.0, every=4, decay=0.5)
        >>> [round(float(rate(jnp.array(count))), 3) for count in range(5)]
        [0.854, 0.5, 0.146, 0.5, 0.427]

    Reference:
        Loshchilov and Hutter 2017, SGDR: stochastic gradient descent with warm
        restarts; counted and decayed as in Meta-TasNet.
    """

    def rate(count: Int[Array, ""]) -> Float[Array, ""]:
        step = count + 1
        # (1 + cos(pi x)) / 2 = sin(pi (1 - x) / 2)^2, which keeps its digits near 0.
        left = (every - step % every) / every
        return lr * decay ** (step // every) * jnp.sin(jnp.pi / 2 * left) ** 2

    return rate
