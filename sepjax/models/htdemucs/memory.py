"""What residual branches of Hybrid Demucs remember: a recurrent network, and attention.

Reference: Défossez 2021, "Hybrid spectrogram and waveform source separation".
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.dense import dense
from sepjax.functional.framing import fit, frame
from sepjax.functional.recurrent import lstm
from sepjax.models.htdemucs.config import HEADS

Image = Float[Array, "batch _ _ _"]
Tokens = Float[Array, "batch _ _"]
Part = Mapping[str, Any]

DECAYS = 4  # of local attention
WINDOW = 200  # frames that a recurrent network hears at once


def remember(part: Part, x: Image) -> Image:
    """Run LSTM and attention over the frames of every place."""
    batch, frames, places, channels = x.shape
    y = jnp.swapaxes(x, 1, 2).reshape(batch * places, frames, channels)
    if "lstm" in part:
        y = recur(part["lstm"], y)
    if "attention" in part:
        y = attend_locally(part["attention"], y)
    return jnp.swapaxes(y.reshape(batch, places, frames, channels), 1, 2)


def recur(part: Part, x: Tokens) -> Tokens:
    """Add what two recurrent layers in both directions hear, through a dense layer.

    More than 200 frames are heard in windows of 200, 100 apart: of the first window
    150 frames stay, of others the middle 100 and what is left at the end.
    """
    batch, frames, channels = x.shape
    y = x
    if frames > WINDOW:
        half = WINDOW // 2
        count = -(-frames // half)
        rows = jnp.swapaxes(x, 1, 2)  # (batch, channels, frames)
        rows = frame(fit(rows, (count + 1) * half), WINDOW, half)
        y = jnp.moveaxis(rows, 1, -1).reshape(batch * count, WINDOW, channels)
    for n in range(2):
        y = lstm(part[f"layer_{n}"], y)
    y = dense(part["linear"], y)
    if frames > WINDOW:
        y = y.reshape(batch, count, WINDOW, channels)
        edge = half // 2
        middle = y[:, :, edge:-edge].reshape(batch, count * half, channels)
        joined = [y[:, 0, :edge], middle, y[:, -1, -edge:]]
        y = jnp.concatenate(joined, axis=1)[:, :frames]
    return x + y


def attention(
    queries: Image, keys: Image, values: Image, bias: Array | None = None
) -> Image:
    """Scaled dot-product attention of ``(batch, tokens, heads, channels)``."""
    # Weights are float32, which JAX's own code promotes to by itself.
    with jax.numpy_dtype_promotion("standard"):
        return jax.nn.dot_product_attention(queries, keys, values, bias)


def attend_locally(part: Part, x: Tokens) -> Tokens:
    r"""Add attention that decays with the distance of frames.

    .. math::
        a(t, s) = \frac{k_t \cdot q_s}{\sqrt{d}}
            - |t - s| \sum_{f=1}^{4} \frac{f}{\sqrt 4} \frac{\sigma(\delta_{f s})}{2}

    with four heads; a frame does not hear itself.
    """
    batch, frames, channels = x.shape
    names = ("query", "key", "content")
    shape = (batch, frames, HEADS, channels // HEADS)
    query, key, content = (dense(part[name], x).reshape(shape) for name in names)
    decays = dense(part["query_decay"], x).reshape(batch, frames, HEADS, DECAYS)
    decays = jax.nn.sigmoid(decays.astype(jnp.float32)) / 2
    slopes = jnp.arange(1.0, DECAYS + 1) / DECAYS**0.5
    decay = jnp.swapaxes((decays * slopes[None, None, None]).sum(-1), 1, 2)
    place = np.arange(frames, dtype=np.float32)
    distance = jnp.asarray(abs(place[:, None] - place))[None, None]
    bias = -distance * decay[..., None] - 100 * jnp.eye(frames)[None, None]
    heard = attention(query, key, content, bias.astype(x.dtype))
    return x + dense(part["proj"], heard.reshape(x.shape))
