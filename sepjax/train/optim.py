"""Optimisers: clipping, moments, decay of the right kind, an injectable rate."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from sepjax.config import OptimConfig
from sepjax.models.branches import CONSTANTS
from sepjax.registry import Registry
from sepjax.train.freeze import frozen_leaves
from sepjax.train.ranger import lookahead, scale_by_rectified_adam
from sepjax.train.restarts import cosine_restarts

OPTIMIZERS = Registry("optimizer")
OPTIMIZERS.register("adam")(optax.scale_by_adam)
OPTIMIZERS.register("radam")(optax.scale_by_radam)
OPTIMIZERS.register("ranger")(scale_by_rectified_adam)

# What an optimizer does to its steps after the learning rate.
LAST_LINKS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "ranger": lookahead
}


def decayed(params: Any, which: str = "kernels") -> Any:
    """Which leaves weight decay touches.

    Args:
        params: a tree of parameters.
        which: ``"kernels"``, those named ``kernel``: logits of filterbanks would be
            pulled to mid-range, gains of norms to zero; both, and PReLU slopes and
            biases, are left alone. ``"all"``, whatever can be trained, as PyTorch's
            optimisers do: not the mean and deviation of input statistics.

    Example:
        >>> decayed({"mask": {"kernel": 1.0, "bias": 0.0}})
        {'mask': {'bias': False, 'kernel': True}}
        >>> decayed({"input": {"mean": 1.0, "std": 1.0, "scale": 1.0}}, "all")
        {'input': {'mean': False, 'scale': True, 'std': False}}
    """

    def touched(path: tuple, leaf: Any) -> bool:
        name = getattr(path[-1], "key", None)
        return name not in CONSTANTS if which == "all" else name == "kernel"

    return jax.tree_util.tree_map_with_path(touched, params)


def make_optimizer(
    config: OptimConfig, *, freeze: Sequence[str] = ()
) -> optax.GradientTransformation:
    """The optimiser of a configuration.

    Decoupled decay is AdamW's, ``p -= lr * decay * p``; ``l2`` adds ``decay * p`` to
    the gradient before the moments, as PyTorch's Adam does. The learning rate lies in
    the state's ``hyperparams["learning_rate"]``, where it can be replaced without
    recompilation; with ``schedule="restarts"`` it is the rate of the last step, and
    follows from the steps counted there. What is frozen does not decay; its gradients
    are zero already.

    Raises:
        ValueError: unknown optimiser; the nearest names are suggested.

    Example:
        >>> optimizer = make_optimizer(OptimConfig(lr=0.25))
        >>> state = optimizer.init({"kernel": jax.numpy.ones(2)})
        >>> float(state.hyperparams["learning_rate"])
        0.25
    """
    moments = OPTIMIZERS.build(config.optimizer)
    steps = []
    if config.clip > 0:
        steps.append(optax.clip_by_global_norm(config.clip))

    def mask(params: Any) -> Any:
        frozen = frozen_leaves(params, freeze)
        chosen = decayed(params, config.decay)
        return jax.tree.map(lambda yes, no: yes and not no, chosen, frozen)

    decay = optax.add_decayed_weights(config.weight_decay, mask=mask)
    if config.weight_decay == 0:
        steps.append(moments)
    elif config.weight_decay_kind == "l2":
        steps += [decay, moments]
    else:
        steps += [moments, decay]

    last = [LAST_LINKS[config.optimizer]()] if config.optimizer in LAST_LINKS else []

    def build(learning_rate: float) -> optax.GradientTransformation:
        return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate), *last)

    return optax.inject_hyperparams(build)(learning_rate=_rate(config))


def _rate(config: OptimConfig) -> float | optax.Schedule:
    if config.schedule == "plateau":
        return config.lr
    every, decay = config.restart_every, config.restart_decay
    return cosine_restarts(config.lr, every=every, decay=decay)
