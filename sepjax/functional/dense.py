"""The dense layer of networks whose parameters are mappings."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Float


def dense(
    params: Mapping[str, Any], x: Float[Array, "*axes inputs"]
) -> Float[Array, "*axes outputs"]:
    """Matrix product of the channels, and a bias where there is one.

    The gradient of a product over several axes would transpose copies of all of them;
    that of rows does not.

    Args:
        params: ``kernel (inputs, outputs)``, with axes of one before them or not, and
            ``bias (outputs,)``; cast to the type of ``x``.
        x: channels last.

    Example:
        >>> import jax.numpy as jnp
        >>> dense({"kernel": jnp.ones((2, 3))}, jnp.ones((1, 4, 2))).shape
        (1, 4, 3)
    """
    kernel = params["kernel"].reshape(params["kernel"].shape[-2:]).astype(x.dtype)
    rows = x.reshape(-1, x.shape[-1]) @ kernel
    if "bias" in params:
        rows = rows + params["bias"].astype(x.dtype)[None]
    return rows.reshape(*x.shape[:-1], -1)
