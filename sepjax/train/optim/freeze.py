"""Parts of a model that training leaves as they are."""

from collections.abc import Sequence
from typing import Any

import jax

from sepjax.registry import nearest


def frozen_leaves(params: Any, freeze: Sequence[str]) -> Any:
    """Return which leaves lie in one of the named parts.

    ``freeze`` has paths in the tree, such as ``"encoder"`` or ``"separator/mask"``.

    Raises:
        ValueError: a path leads to nothing (the nearest ones are suggested), or
            nothing is left to be trained.

    Example:
        >>> params = {"encoder": {"kernel": 1.0}, "decoder": {"kernel": 1.0}}
        >>> frozen_leaves(params, ["encoder"])
        {'decoder': {'kernel': False}, 'encoder': {'kernel': True}}
    """
    structure, names = jax.tree.structure(params), leaf_names(params)
    for path in freeze:
        if not any(within(name, path) for name in names):
            parts = {name.rsplit("/", depth)[0] for name in names for depth in (1, 2)}
            parts |= {name.split("/")[0] for name in names}
            raise ValueError(
                f"train.freeze: the model has no part {path!r}: {nearest(path, parts)}"
            )
    inside = [any(within(name, path) for path in freeze) for name in names]
    if names and all(inside):
        raise ValueError(f"train.freeze={tuple(freeze)} leaves nothing to train")
    return jax.tree_util.tree_unflatten(structure, inside)


def unmoved(params: Any, freeze: Sequence[str], constants: Sequence[str] = ()) -> Any:
    """Return which leaves no optimiser moves: frozen parts, and facts about the data.

    Some optimisers move parameters without a gradient: by noise, by rescaling, or back
    to where they began.

    Example:
        >>> unmoved({"a": {"kernel": 1.0, "mean": 1.0}, "b": 1.0}, ["b"], ["mean"])
        {'a': {'kernel': False, 'mean': True}, 'b': True}
    """

    def still(path: tuple, frozen: bool) -> bool:
        return frozen or getattr(path[-1], "key", None) in constants

    return jax.tree_util.tree_map_with_path(still, frozen_leaves(params, freeze))


def all_but(params: Any, fit: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of all leaves outside of the parts to fit.

    ``fit`` has parts of paths, such as ``"embedding"`` or ``"embedding/wind"``,
    wherever in the tree they occur; empty: everything is fitted.

    Raises:
        ValueError: a name occurs nowhere.

    Example:
        >>> params = {"encoder": {"kernel": 1.0}, "embedding": {"wind": 1.0}}
        >>> all_but(params, ["embedding/wind"])
        ('encoder/kernel',)
    """
    names = leaf_names(params)
    for part in fit:
        if not any(_contains(name, part) for name in names):
            known = {step for name in names for step in name.split("/")}
            raise ValueError(
                f"train.fit: the model has no part {part!r}: {nearest(part, known)}"
            )
    return tuple(
        name for name in names if fit and not any(_contains(name, part) for part in fit)
    )


def stop_gradients(params: Any, freeze: Sequence[str]) -> Any:
    """Return the same values; gradients stop at the named parts.

    Example:
        >>> def loss(params): return sum(stop_gradients(params, ["a"]).values())
        >>> grads = jax.grad(loss)({"a": 1.0, "b": 1.0})
        >>> float(grads["a"]), float(grads["b"])
        (0.0, 1.0)
    """

    def stopped(leaf: Any, frozen: bool) -> Any:
        return jax.lax.stop_gradient(leaf) if frozen else leaf

    return jax.tree.map(stopped, params, frozen_leaves(params, freeze))


def leaf_names(params: Any) -> list[str]:
    """Return the paths of all leaves, such as ``encoder/kernel``."""
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in leaves]


def _contains(name: str, part: str) -> bool:
    return f"/{part}/" in f"/{name}/"


def within(name: str, path: str) -> bool:
    """Return whether a leaf is the part, or lies in the part."""
    return name == path or name.startswith(path + "/")
