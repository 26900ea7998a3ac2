"""Optimisers: clipping, moments, decay of the right kind, an injectable rate."""

from collections.abc import Sequence
from typing import Any

import jax
import optax

from sepjax.config import OptimConfig
from sepjax.registry import Registry
from sepjax.train.freeze import frozen_leaves

OPTIMIZERS = Registry("optimizer")
OPTIMIZERS.register("adam")(optax.scale_by_adam)
OPTIMIZERS.register("radam")(optax.scale_by_radam)


def decayed(params: Any) -> Any:
    """Which leaves weight decay touches: those named ``kernel``.

    Logits of filterbanks would be pulled to mid-range, gains of norms to zero; both,
    and PReLU slopes and biases, are left alone.

    Example:
        >>> decayed({"mask": {"kernel": 1.0, "bias": 0.0}})
        {'mask': {'bias': False, 'kernel': True}}
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: getattr(path[-1], "key", None) == "kernel", params
    )


def make_optimizer(
    config: OptimConfig, *, freeze: Sequence[str] = ()
) -> optax.GradientTransformation:
    """The optimiser of a configuration.

    Decoupled decay is AdamW's, ``p -= lr * decay * p``; ``l2`` adds ``decay * p`` to
    the gradient before the moments, as PyTorch's Adam does. The learning rate lies in
    the state's ``hyperparams["learning_rate"]``, where it can be replaced without
    recompilation. What is frozen does not decay; its gradients are zero already.

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
        return jax.tree.map(lambda yes, no: yes and not no, decayed(params), frozen)

    decay = optax.add_decayed_weights(config.weight_decay, mask=mask)
    if config.weight_decay == 0:
        steps.append(moments)
    elif config.weight_decay_kind == "l2":
        steps += [decay, moments]
    else:
        steps += [moments, decay]

    def build(learning_rate: float) -> optax.GradientTransformation:
        return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate))

    return optax.inject_hyperparams(build)(learning_rate=config.lr)
