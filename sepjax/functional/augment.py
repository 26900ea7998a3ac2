"""From stored 16-bit chunks to mixtures and sources, on the device.

Nothing is random: gains and channels come with the batch, from the pipeline's schedule.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int16, Shaped

from sepjax.functional.live import LiveSettings, simulate_live

FULL_SCALE = 32768.0


class Excerpt(NamedTuple):
    """The input of a training step: mixtures and the sources that sum to them.

    Mono without an axis for channels, stereo with one of two.
    """

    mixture: Float[Array, "batch *channels time"]
    sources: Float[Array, "batch sources *channels time"]


def apply_gains(
    chunks: Int16[Array, "batch sources time channels"],
    gains: Float[Array, "batch sources gains"],
) -> Float[Array, "batch sources time channels_out"]:
    """Full scale to 1, times one gain per output channel; mono chunks take a pan.

    Example:
        >>> chunks = jnp.full((1, 1, 2, 1), 16384, jnp.int16)
        >>> apply_gains(chunks, jnp.array([[[1.0, 0.5]]]))[0, 0, 0]
        Array([0.5 , 0.25], dtype=float32)
    """
    return chunks.astype(jnp.float32) / FULL_SCALE * gains[:, :, None, :]


def select_channel(
    waves: Float[Array, "batch sources time channels"],
    channel: Int[Array, "batch sources"],
) -> Float[Array, "batch sources time"]:
    """One channel per source (thesis 5.1), or the mean of all where it is negative.

    Example:
        >>> waves = jnp.array([[[[1.0, 3.0]]]])
        >>> [float(select_channel(waves, jnp.array([[c]])).sum()) for c in (-1, 0, 1)]
        [2.0, 1.0, 3.0]
    """
    channels = waves.shape[-1]
    one = jax.nn.one_hot(channel % channels, channels, dtype=waves.dtype)
    weights = jnp.where((channel < 0)[..., None], 1 / channels, one)
    # Slice by slice: on a CPU a product or sum over an axis of two is ten times slower.
    shares = (waves[..., c] * weights[..., c, None] for c in range(channels))
    return functools.reduce(jnp.add, shares)


def left_and_right(
    waves: Float[Array, "batch sources time channels"],
    channel: Int[Array, "batch sources"],
) -> Float[Array, "batch sources 2 time"]:
    """Both channels of every source, exchanged where ``channel`` is 1.

    A mono source is the same on both sides.

    Raises:
        ValueError: the sources have more than two channels.

    Example:
        >>> waves = jnp.array([[[[1.0, 3.0]]]])
        >>> [left_and_right(waves, jnp.array([[c]])).ravel().tolist() for c in (0, 1)]
        [[1.0, 3.0], [3.0, 1.0]]
    """
    if waves.shape[-1] > 2:
        raise ValueError(
            f"the sources have {waves.shape[-1]} channels, stereo is 2: mix them down"
        )
    # The axes first: on a CPU the transpose of what is chosen is computed twice.
    waves = jnp.swapaxes(jnp.broadcast_to(waves, (*waves.shape[:-1], 2)), -1, -2)
    exchanged = (channel == 1)[..., None, None]
    return jnp.where(exchanged, waves[..., ::-1, :], waves)


def regroup(
    sources: Shaped[Array, "batch sources *rest"], donor: Int[Array, "batch sources"]
) -> Shaped[Array, "batch sources *rest"]:
    """Source ``c`` of item ``i`` taken from item ``donor[i, c]``.

    Example:
        >>> regroup(jnp.array([[1, 2], [3, 4]]), jnp.array([[1, 0], [1, 1]]))
        Array([[3, 2],
               [3, 4]], dtype=int32)
    """
    return sources[donor, jnp.arange(sources.shape[1])[None]]


def normalize(excerpt: Excerpt, eps: float = 1e-8) -> Excerpt:
    """Mixture and sources over the mixture's standard deviation; silence stays silent.

    One factor for all channels of an item.

    Example:
        >>> wave = jnp.array([[4.0, -4.0]])
        >>> normalize(Excerpt(wave, wave[:, None])).mixture
        Array([[ 1., -1.]], dtype=float32)
    """
    axes = tuple(range(1, excerpt.mixture.ndim))
    deviation = jnp.std(excerpt.mixture, axis=axes, keepdims=True)
    factor = jnp.where(deviation > eps, 1 / jnp.maximum(deviation, eps), 1.0)
    return Excerpt(excerpt.mixture * factor, excerpt.sources * factor[:, None])


def perform(
    sources: Float[Array, "batch sources *channels time"],
    batch: Mapping[str, Array],
    settings: LiveSettings,
) -> Excerpt:
    """Sources as a concert's microphones record them, or clean in its mixture.

    Microphones are mono: stereo sources are averaged before and equal after.
    """
    mono = jnp.mean(sources, axis=2) if sources.ndim == 4 else sources
    own = {name: batch[name] for name in ("tails", "recordings") if name in batch}
    live = simulate_live(mono, batch["draws"], settings, **own)
    excerpt = Excerpt(live.mixture, live.references(settings.targets))
    if sources.ndim == 3:
        return excerpt
    return Excerpt(*(jnp.stack([wave, wave], axis=-2) for wave in excerpt))


def prepare_excerpts(
    batch: Mapping[str, Array],
    *,
    channels: int = 1,
    live: LiveSettings | None = None,
    normalized: bool = True,
    groups: tuple[tuple[int, ...], ...] = (),
) -> Excerpt:
    """A feeder's batch as mixtures and sources.

    Args:
        batch: ``chunks`` int16 (batch, sources, time, file channels), ``gains`` float32
            (batch, sources, gains) and ``channel`` int32 (batch, sources): in mono the
            channel that is used, -1 for the mean of all, in stereo 1 where left and
            right are exchanged.
        channels: 1, excerpts without an axis for channels, or 2, stereo ones.
        live: makes concerts of them; the batch then has ``draws`` as well, and perhaps
            ``tails`` and ``recordings`` (:func:`sepjax.functional.live.simulate_live`).
        normalized: by :func:`normalize`; without, as loud as recorded.
        groups: sources of the batch, by place, whose sums are the sources; all apart
            if empty.

    Example:
        >>> batch = {
        ...     "chunks": jnp.ones((4, 2, 8, 1), jnp.int16),
        ...     "gains": jnp.ones((4, 2, 1)),
        ...     "channel": jnp.zeros((4, 2), int),
        ... }
        >>> prepare_excerpts(batch).mixture.shape
        (4, 8)
        >>> prepare_excerpts(batch, channels=2).sources.shape
        (4, 2, 2, 8)
    """
    choose = select_channel if channels == 1 else left_and_right
    sources = choose(apply_gains(batch["chunks"], batch["gains"]), batch["channel"])
    if groups:
        sums = [functools.reduce(jnp.add, [sources[:, i] for i in g]) for g in groups]
        sources = jnp.stack(sums, axis=1)
    if live is None:
        excerpt = Excerpt(jnp.sum(sources, axis=1), sources)
    else:
        excerpt = perform(sources, batch, live)
    return normalize(excerpt) if normalized else excerpt
