"""The masking network of Meta-TasNet for one source, as a pure function.

Kernels and norms may differ between sources (:mod:`~sepjax.functional.generation`),
the slopes of the PReLUs are shared by all.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.norms import group_norm, prelu
from sepjax.functional.tcn import init_tcn, tcn

GROUPS = 8
SLOPE = 0.25


def init_ends(
    key: PRNGKeyArray, *, inputs: int, latent: int, bottleneck: int
) -> dict[str, dict[str, Array]]:
    r"""Draw the layers before and behind the blocks, for one source.

    Kernels are uniform within :math:`\pm 1 / \sqrt{fan\ in}`, norms the identity.

    Example:
        >>> ends = init_ends(jax.random.key(0), inputs=24, latent=16, bottleneck=8)
        >>> ends["input"]["kernel"].shape, ends["mask"]["kernel"].shape
        ((24, 8), (8, 16))
    """
    keys = iter(jax.random.split(key, 2))

    def kernel(fan_in: int, width: int) -> dict[str, Array]:
        bound = fan_in**-0.5
        shape = (fan_in, width)
        drawn = jax.random.uniform(next(keys), shape, minval=-bound, maxval=bound)
        return {"kernel": drawn}

    def norm(width: int) -> dict[str, Array]:
        return {"gain": jnp.ones(width), "bias": jnp.zeros(width)}

    return {
        "input_norm": norm(inputs),
        "input": kernel(inputs, bottleneck),
        "bottleneck_norm": norm(bottleneck),
        "skip_norm": norm(bottleneck),
        "mask": kernel(bottleneck, latent),
        "mask_norm": norm(latent),
    }


def init_block(
    key: PRNGKeyArray, *, bottleneck: int, hidden: int, width: int, bias: bool = False
) -> dict[str, dict[str, Array]]:
    """Draw one block for one source: a block of the TCN without its PReLU slopes.

    ``width`` counts the taps of the depthwise convolution; with ``bias`` the residual
    and the skip convolution have biases.

    Example:
        >>> key = jax.random.key(0)
        >>> block = init_block(key, bottleneck=4, hidden=8, width=3)
        >>> sorted(block)
        ['depthwise', 'input', 'norm_1', 'norm_2', 'residual', 'skip']
    """
    drawn = init_tcn(
        key, layers=1, stacks=1, bottleneck=bottleneck, hidden=hidden, width=width
    )
    block = jax.tree.map(lambda leaf: leaf[0], drawn)
    output = block["output"] if bias else {"kernel": block["output"]["kernel"]}
    return {
        "input": {"kernel": block["input"]["kernel"]},
        "norm_1": block["norm_1"],
        "depthwise": {"kernel": block["depthwise"]["kernel"]},
        "norm_2": block["norm_2"],
        "residual": jax.tree.map(lambda leaf: leaf[..., :bottleneck], output),
        "skip": jax.tree.map(lambda leaf: leaf[..., bottleneck:], output),
    }


def init_slopes(blocks: int) -> dict[str, Array]:
    """The PReLU slopes of the network, 0.25 each.

    Example:
        >>> init_slopes(18)["prelu_1"].shape
        (18,)
    """
    ends = dict.fromkeys(("input", "bottleneck", "skip", "mask"), jnp.array(SLOPE))
    inner = dict.fromkeys(("prelu_1", "prelu_2"), jnp.full(blocks, SLOPE))
    return ends | inner


def mask_network(
    ends: dict,
    blocks: dict,
    slopes: Mapping[str, Array],
    x: Float[Array, "batch frames inputs"],
    *,
    layers: int,
    stacks: int,
    dtype: jnp.dtype | str = "float32",
) -> Float[Array, "batch frames latent"]:
    """Compute a source's mask before the activation over all sources.

    PReLU, norm, 1x1, PReLU, norm, ``stacks`` times ``layers`` blocks, and of the sum of
    their skips PReLU, norm, 1x1, PReLU, norm. Every norm has eight groups.

    Args:
        ends: as :func:`init_ends` draws it.
        blocks: as :func:`init_block`, each leaf with a leading axis over blocks.
        slopes: as :func:`init_slopes`.
        x: what the source's network hears.
        layers: blocks per stack, of dilation 1, 2, 4, ...
        stacks: repetitions of the stack.
        dtype: of the matmuls; the statistics of norms are float32.

    Example:
        >>> @jax.jit
        ... def masks(key, x):
        ...     keys = jax.random.split(key, 3)
        ...     ends = init_ends(keys[0], inputs=24, latent=16, bottleneck=8)
        ...     block = lambda key: init_block(key, bottleneck=8, hidden=8, width=3)
        ...     blocks, slopes = jax.vmap(block)(keys[1:]), init_slopes(2)
        ...     return mask_network(ends, blocks, slopes, x, layers=2, stacks=1)
        >>> masks(jax.random.key(0), jnp.ones((1, 50, 24))).shape
        (1, 50, 16)

    Reference:
        Samuel, Ganeshan and Naradowsky 2020, Meta-learning extractors for music source
        separation; the order of operations is that of its published code.
    """

    def active(x: Array, name: str) -> Array:
        normed = group_norm(
            prelu(x, slopes[name]), **ends[f"{name}_norm"], groups=GROUPS
        )
        return normed.astype(dtype)

    def project(x: Array, name: str) -> Array:
        return x @ ends[name]["kernel"].astype(dtype)

    hidden = active(project(active(x, "input"), "input"), "bottleneck")
    run = functools.partial(tcn, layers=layers, stacks=stacks)
    skips = run(_tcn_parameters(blocks, slopes), hidden, norm="group", groups=GROUPS)
    return active(project(active(skips, "skip"), "mask"), "mask").astype(x.dtype)


def _tcn_parameters(blocks: dict, slopes: Mapping[str, Array]) -> dict:
    """The form of :func:`sepjax.functional.tcn.tcn`: both outputs side by side."""
    params = {name: slopes[name] for name in ("prelu_1", "prelu_2")} | blocks
    ends = params.pop("residual"), params.pop("skip")
    output = jax.tree.map(lambda *pair: jnp.concatenate(pair, -1), *ends)
    return params | {"output": output}
