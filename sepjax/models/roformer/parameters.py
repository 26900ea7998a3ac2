"""The parameters of a RoFormer as they are drawn."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from sepjax.models.roformer.bands import Bands
from sepjax.models.roformer.config import KINDS, RoformerConfig


def draw_parameters(
    key: PRNGKeyArray, config: RoformerConfig, bands: Bands, sources: int
) -> dict[str, Any]:
    """Draw kernels and biases as PyTorch does: uniform within one over the root of n.

    n is the number of inputs. Gains and temperatures begin with one. The ``rows`` of
    the bands' first and last layers lie one band after the other, as they have other
    sizes; ``rows`` of the last are of value and gate.

    Args:
        key: random.
        config: of the model.
        bands: its tables.
        sources: that have networks.

    Example:
        >>> from sepjax.models.roformer.bands import consecutive, make_bands
        >>> config = RoformerConfig(n_fft=8, hop=2, bands=(2, 3), channels=6, blocks=2)
        >>> form = dict(config=config, bands=make_bands(consecutive((2, 3)), 2))
        >>> draw = functools.partial(draw_parameters, **form, sources=3)
        >>> tree = jax.eval_shape(draw, jax.random.key(0))
        >>> tree["split"]["rows"].shape, tree["masks"]["output"]["rows"].shape
        ((20, 6), (3, 20, 2, 24))
    """
    draw, width = _Draw(key), config.channels
    count, numbers = len(bands.sizes), int(bands.sizes.sum())
    layers = dict(zip(KINDS, (config.linear_layers, config.time_layers)))
    layers["frequency"] = config.frequency_layers
    kinds = {kind: (config.blocks, n) for kind, n in layers.items() if n}
    params: dict[str, Any] = {
        "blocks": {k: _transformer(draw, config, k, lead) for k, lead in kinds.items()}
    }
    if config.values != "own":
        params["mix"] = {
            kind: draw.dense(blocks - 1, n, width, config.heads)
            for kind, (blocks, n) in kinds.items()
        }
    if config.norms == "network":
        params["norm"] = jnp.ones(width)
    scale = bands.sizes.astype(np.float32)[:, None] ** -0.5
    rows = draw(numbers, width) * np.repeat(scale, bands.sizes, axis=0)
    bias = draw(count, width) * scale
    params["split"] = {"gain": jnp.ones(numbers), "rows": rows, "bias": bias}
    hidden = [width * config.mask_expansion] * (config.mask_layers - 1)
    widths = [width, *hidden]
    masks = {
        f"hidden_{n}": draw.dense(sources, count, *pair)
        for n, pair in enumerate(itertools.pairwise(widths))
    }
    rows, bias = (
        draw(sources, numbers, 2, *end, inputs=widths[-1]) for end in (widths[-1:], ())
    )
    return params | {"masks": masks | {"output": {"rows": rows, "bias": bias}}}


class _Draw:
    """Uniform numbers, from another key each time."""

    def __init__(self, key: PRNGKeyArray) -> None:
        self.keys = map(functools.partial(jax.random.fold_in, key), itertools.count())

    def __call__(self, *shape: int, inputs: int = 1) -> Array:
        span = inputs**-0.5
        return jax.random.uniform(next(self.keys), shape, minval=-span, maxval=span)

    def dense(self, *shape: int, bias: bool = True) -> dict[str, Array]:
        *lead, inputs, outputs = shape
        layer = {"kernel": self(*shape, inputs=inputs)}
        return layer | ({"bias": self(*lead, outputs, inputs=inputs)} if bias else {})


def _transformer(
    draw: _Draw, config: RoformerConfig, kind: str, lead: tuple[int, int]
) -> dict[str, Any]:
    width, inner = config.channels, config.heads * config.head_channels
    heads = {
        "gain": jnp.ones((*lead, width)),
        "qkv": draw.dense(*lead, width, 3 * inner, bias=False),
        "output": draw.dense(*lead, inner, width, bias=False),
    }
    if kind == "linear":
        heads["temperature"] = jnp.ones((*lead, config.heads))
    else:
        heads["gates"] = draw.dense(*lead, width, config.heads)
    wide = {
        "gain": jnp.ones((*lead, width)),
        "inner": draw.dense(*lead, width, 4 * width),
        "outer": draw.dense(*lead, 4 * width, width),
    }
    norm = {"norm": jnp.ones((lead[0], width))}
    own = norm if config.norms == "transformer" else {}
    return {"attention": heads, "feed_forward": wide} | own
