"""Augmentations as pure functions of a key and of sources, and chains of them.

An augmentation is ``augment(key, sources, **settings) -> sources``, where sources are
(batch, sources, time) or (batch, sources, channels, time), mixtures not yet summed.
They run on the device, under ``jit`` and ``vmap``; a key decides all that is random.
sepjax's own training does the same by :mod:`sepjax.functional.augment`, with numbers
that the data pipeline draws; these functions are for loops of one's own.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from sepjax.functional import augment
from sepjax.functional.augment import Excerpt, left_and_right, select_channel

Sources = Float[Array, "batch sources *channels time"]
Augmentation = Callable[..., Sources]


def gain(
    key: Key[Array, ""], sources: Sources, low: float = 0.75, high: float = 1.25
) -> Sources:
    """Every source times a number of its own, uniform in [low, high) (thesis 5.1).

    Open-Unmix draws between 0.25 and 1.25.

    Example:
        >>> sources = jnp.ones((1, 2, 3))
        >>> gain(jax.random.key(0), sources, low=0.5, high=0.5)[0, :, 0]
        Array([0.5, 0.5], dtype=float32)
    """
    shape = (*sources.shape[:2], *[1] * (sources.ndim - 2))
    return sources * jax.random.uniform(key, shape, sources.dtype, low, high)


def channel(
    key: Key[Array, ""], sources: Float[Array, "batch sources channels time"]
) -> Float[Array, "batch sources time"]:
    """Mono of one channel, drawn for every source by itself (thesis 5.1).

    Example:
        >>> stereo = jnp.array([[[[1.0], [2.0]]] * 4])  # four sources, one sample
        >>> sorted(set(channel(jax.random.key(0), stereo).ravel().tolist()))
        [1.0, 2.0]
    """
    index = jax.random.randint(key, sources.shape[:2], 0, sources.shape[2])
    return select_channel(jnp.swapaxes(sources, 2, 3), index)


def swap_channels(
    key: Key[Array, ""],
    sources: Float[Array, "batch sources channels time"],
    probability: float = 0.5,
) -> Float[Array, "batch sources 2 time"]:
    """Left and right exchanged, for every source by itself (Open-Unmix).

    Raises:
        ValueError: the sources have more than two channels.

    Example:
        >>> stereo = jnp.array([[[[1.0], [2.0]]]])
        >>> swap_channels(jax.random.key(0), stereo, probability=1.0).ravel()
        Array([2., 1.], dtype=float32)
    """
    exchange = jax.random.bernoulli(key, probability, sources.shape[:2])
    return left_and_right(jnp.swapaxes(sources, 2, 3), exchange.astype(jnp.int32))


def shuffle(
    key: Key[Array, ""],
    sources: Shaped[Array, "batch sources *axes"],
    fraction: float = 0.5,
) -> Shaped[Array, "batch sources *axes"]:
    """Sources of different items mixed in part of the batch (thesis 5.1).

    Among the first ``floor(fraction * batch + 1/2)`` items each source is dealt out
    anew by a permutation of its own, as the schedule does
    (:func:`data_pipelines.feeding.schedule.shuffled_rows`). Each item of a source
    still occurs once.

    Example:
        >>> sources = jnp.tile(jnp.arange(8.0)[:, None, None], (1, 2, 1))
        >>> shuffled = shuffle(jax.random.key(0), sources)[:, 1, 0]
        >>> jnp.sort(shuffled[:4]), shuffled[4:]
        (Array([0., 1., 2., 3.], dtype=float32), Array([4., 5., 6., 7.], dtype=float32))
    """
    mixed = int(fraction * len(sources) + 0.5)
    orders = jax.vmap(lambda own: jax.random.permutation(own, mixed))
    donor = orders(jax.random.split(key, sources.shape[1])).T
    moved = augment.regroup(sources[:mixed], donor)
    return jnp.concatenate([moved, sources[mixed:]])


def mix(key: Key[Array, ""], sources: Sources) -> Sources:
    """Mix songs anew: every source's items in an order of its own (Open-Unmix).

    :func:`shuffle` of the whole batch. (The schedule's ``mix=random`` draws tracks and
    starts with replacement, from all of the training data.)

    Example:
        >>> sources = jnp.tile(jnp.arange(5.0)[:, None, None], (1, 2, 1))
        >>> jnp.sort(mix(jax.random.key(0), sources)[:, 1, 0])
        Array([0., 1., 2., 3., 4.], dtype=float32)
    """
    return shuffle(key, sources, fraction=1.0)


def normalize(key: Key[Array, ""], sources: Sources) -> Sources:
    """Sources over the standard deviation of their sum; draws nothing.

    Example:
        >>> normalize(jax.random.key(0), jnp.array([[[4.0, -4.0]]]))
        Array([[[ 1., -1.]]], dtype=float32)
    """
    del key
    return augment.normalize(Excerpt(jnp.sum(sources, axis=1), sources)).sources


def compose(*parts: Augmentation) -> Augmentation:
    """Augmentations one after another; the i-th draws from ``fold_in(key, i)``.

    Example:
        >>> augmented = jax.jit(compose(*OPEN_UNMIX))
        >>> key = jax.random.fold_in(jax.random.key(42), 7)  # a seed and a step
        >>> augmented(key, jnp.ones((4, 2, 2, 100))).shape
        (4, 2, 2, 100)
    """

    def composed(key: Key[Array, ""], sources: Sources) -> Float[Array, "..."]:
        for index, part in enumerate(parts):
            sources = part(jax.random.fold_in(key, index), sources)
        return sources

    return composed


# What section 5.1 of the thesis does to mono excerpts, and Open-Unmix to stereo ones.
THESIS = (channel, gain, shuffle, normalize)
OPEN_UNMIX = (mix, functools.partial(gain, low=0.25, high=1.25), swap_channels)
