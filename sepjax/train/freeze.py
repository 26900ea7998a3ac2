"""Parts of a model that training leaves as they are."""

from collections.abc import Sequence
from typing import Any

import jax

from sepjax.registry import nearest


def frozen_leaves(params: Any, freeze: Sequence[str]) -> Any:
    """Which leaves lie in one of the named parts.

    Args:
        params: a tree of parameters.
        freeze: paths in it, such as ``"encoder"`` or ``"separator/mask"``.

    Raises:
        ValueError: a path leads to nothing (the nearest ones are suggested), or
            nothing is left to be trained.

    Example:
        >>> params = {"encoder": {"kernel": 1.0}, "decoder": {"kernel": 1.0}}
        >>> frozen_leaves(params, ["encoder"])
        {'decoder': {'kernel': False}, 'encoder': {'kernel': True}}
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves]
    for path in freeze:
        if not any(_within(name, path) for name in names):
            parts = {name.rsplit("/", depth)[0] for name in names for depth in (1, 2)}
            parts |= {name.split("/")[0] for name in names}
            raise ValueError(
                f"train.freeze: the model has no part {path!r}: {nearest(path, parts)}"
            )
    if names and all(any(_within(name, path) for path in freeze) for name in names):
        raise ValueError(f"train.freeze={tuple(freeze)} leaves nothing to train")
    inside = [any(_within(name, path) for path in freeze) for name in names]
    return jax.tree_util.tree_unflatten(structure, inside)


def stop_gradients(params: Any, freeze: Sequence[str]) -> Any:
    """The same values, those of the named parts constant to differentiation.

    Example:
        >>> def loss(params): return sum(stop_gradients(params, ["a"]).values())
        >>> grads = jax.grad(loss)({"a": 1.0, "b": 1.0})
        >>> float(grads["a"]), float(grads["b"])
        (0.0, 1.0)
    """
    return jax.tree.map(
        lambda leaf, stop: jax.lax.stop_gradient(leaf) if stop else leaf,
        params,
        frozen_leaves(params, freeze),
    )


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(path + "/")
