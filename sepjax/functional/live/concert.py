r"""Concerts made of clean stems: bleed, the hall and its audience, on the device.

A concert is recorded with one microphone for each source :math:`s_c`. Microphone m
stands close to source m, hears the others too, and all of it in a hall with people:

.. math::
    x_m = h_m * \Big(s_m + \sum_{c \ne m} g_{mc}\, s_c(t - \tau_{mc})\Big) + w_m n,
    \qquad x = \sum_m x_m

with gains :math:`g`, delays :math:`\tau`, responses :math:`h_m` that begin with the
direct sound, of gain one and without delay, and shares :math:`w`, in sum one, of the
audience's noise :math:`n`. Hence :math:`s_m` is what a clean recording would have held
in place of :math:`x_m`, at the same gain: the difference is the damage.

Nothing is random but for uniform numbers that are given, so that a batch remains a
function of (seed, step). Where there is bleed or an audience, no microphone is ever
silent, not even that of a silent source: in live data every class is active always.

Reference: the thesis, chapter 6, whose recordings of concerts had no clean references.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sepjax.functional.live.audience import crowd
from sepjax.functional.live.hall import (
    hall_impulse_response,
    reverberate,
    with_direct_sound,
)

DELAYS = (0.003, 0.02)
"""Seconds of sound's way from one place of a stage to another: one to seven meters."""
FLOOR = 1e-3
"""The audience does not fall silent with the music: below -60 dB of full scale, music
counts as that loud."""


class LiveSettings(NamedTuple):
    """What concerts are like; each is drawn uniformly between its bounds."""

    sample_rate: int = 8000  # Hz
    bleed_low: float = -30.0  # dB, gain of a source at another's microphone
    bleed_high: float = -15.0
    reverb_low: float = 0.6  # seconds in which the hall's sound falls by 60 dB
    reverb_high: float = 1.8  # 0: no hall
    direct_low: float = 9.0  # dB, direct over reverberant energy at a microphone
    direct_high: float = 18.0
    crowd_low: float = 15.0  # dB, of the audience below the music; inf: no audience
    crowd_high: float = 35.0
    targets: str = "recorded"  # recorded | clean: what a separator should find

    @classmethod
    def of(cls, section: Any, sample_rate: int) -> "LiveSettings":
        """Take the fields of the same names from a configuration's section.

        Example:
            >>> LiveSettings.of(LiveSettings(crowd_low=12.0), 16000).crowd_low
            12.0
        """
        named = {name: getattr(section, name) for name in cls._fields[1:]}
        return cls(sample_rate, **named)

    @property
    def taps(self) -> int:
        """Samples of a hall's response; 0: no hall."""
        return round(self.reverb_high * self.sample_rate)


class LiveExcerpt(NamedTuple):
    """A concert: the sum of its microphones, what they recorded, what was played."""

    mixture: Float[Array, "batch time"]
    sources: Float[Array, "batch sources time"]  # as recorded
    clean: Float[Array, "batch sources time"]

    def references(self, targets: str) -> Float[Array, "batch sources time"]:
        """The references: as ``recorded``, or as played, ``clean``."""
        return self.clean if targets == "clean" else self.sources


class _Draws(NamedTuple):
    bleed: Array  # (batch, sources, sources)
    delay: Array  # (batch, sources, sources)
    reverb: Array  # (batch,)
    direct: Array  # (batch, sources)
    crowd: Array  # (batch,)
    shares: Array  # (batch, sources)
    key: Array  # (batch, 2)


def draw_count(sources: int) -> int:
    """Return how many uniform numbers a concert of so many microphones takes.

    Example:
        >>> draw_count(4)
        44
    """
    return 2 * sources**2 + 2 * sources + 4


def _split(draws: Array, sources: int) -> _Draws:
    pair = (sources, sources)
    shapes = (pair, pair, (), (sources,), (), (sources,), (2,))
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = jnp.split(draws, ends[:-1], axis=-1)
    return _Draws(*(p.reshape(-1, *shape) for p, shape in zip(parts, shapes)))


def _between(low: float, high: float, draws: Array) -> Array:
    # Equal bounds may be infinite, whose difference is not a number.
    return jnp.full_like(draws, low) if low == high else low + (high - low) * draws


def _key(draws: Float[Array, "2"]) -> jax.Array:
    key = jax.random.key(0, impl="threefry2x32")
    words = (draws * 2**24).astype(jnp.uint32)  # all bits of a float32 below one
    return jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1])


def bleed(
    sources: Float[Array, "batch sources time"],
    amounts: Float[Array, "batch sources sources"],
    delays: Int[Array, "batch sources sources"],
    *,
    longest: int,
) -> Float[Array, "batch sources time"]:
    r"""Every microphone hears all sources, :math:`y_m = \sum_c g_{mc} s_c(t - d_{mc})`.

    A microphone's own source has gain one and no delay, whatever the diagonals say.

    Args:
        sources: what is played.
        amounts: gains of source c at microphone m, ``[:, m, c]``, in dB; -inf: none.
        delays: in samples, from 0 to ``longest``.
        longest: static under ``jit``.

    Example:
        >>> sources = jnp.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
        >>> amounts, delays = jnp.full((1, 2, 2), -20.0), jnp.ones((1, 2, 2), int)
        >>> bleed(sources, amounts, delays, longest=1)[0, 1]
        Array([0. , 0.1, 0. ], dtype=float32)
    """
    count, time = sources.shape[1:]
    own = jnp.eye(count, dtype=bool)[None]
    gains = jnp.where(own, 1.0, 10.0 ** (amounts / 20))
    delays = jnp.where(own, 0, delays)
    padded = jnp.pad(sources, ((0, 0), (0, 0), (longest, 0)))

    def delayed(wave: Array, delay: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(wave, longest - delay, time)

    def hear(sound: Array, source: tuple[Array, ...]) -> tuple[Array, None]:
        wave, gain, delay = source
        late = jax.vmap(jax.vmap(delayed, (None, 0)))(wave, delay)
        return sound + gain[..., None] * late, None

    # One source after the other: a song at all pairs at once would not fit.
    each = padded.swapaxes(0, 1), jnp.moveaxis(gains, 2, 0), jnp.moveaxis(delays, 2, 0)
    return jax.lax.scan(hear, jnp.zeros_like(sources), each)[0]


def simulate_live(
    sources: Float[Array, "batch sources time"],
    draws: Float[Array, "batch draws"],
    settings: LiveSettings,
    *,
    tails: Float[Array, "batch sources taps"] | None = None,
    recordings: Float[Array, "batch time"] | None = None,
) -> LiveExcerpt:
    """Clean mono sources as the microphones of a concert would record them.

    The formula stands at the top of this module. Without bleed, hall and audience
    (``bleed_high`` -inf, ``reverb_high`` 0, ``crowd_low`` inf) mixture and sources are
    the clean music.

    Args:
        sources: full scale is 1.
        draws: in [0, 1), :func:`draw_count` of them for every item.
        settings: static under ``jit``.
        tails: of measured halls, instead of the synthetic ones: what follows the direct
            sound, as :func:`sepjax.functional.live.hall.with_direct_sound` takes it.
        recordings: of an audience, instead of the synthetic one, at any level.

    Raises:
        ValueError: the number of draws is not :func:`draw_count`.

    Example:
        >>> from functools import partial
        >>> sources, draws = jnp.zeros((2, 3, 800)), jnp.zeros((2, draw_count(3)))
        >>> simulate = partial(simulate_live, settings=LiveSettings())
        >>> live = jax.eval_shape(simulate, sources, draws)  # or jax.jit(simulate)(...)
        >>> live.mixture.shape, live.sources.shape
        ((2, 800), (2, 3, 800))
    """
    count = sources.shape[1]
    if draws.shape[-1] != draw_count(count):
        raise ValueError(
            f"draws has {draws.shape[-1]} numbers per item: {count} sources need"
            f" {draw_count(count)}, as draw_count says"
        )
    numbers = _split(draws, count)
    keys = jax.vmap(lambda words: jax.random.split(_key(words)))(numbers.key)
    rate = settings.sample_rate
    delays = jnp.round(_between(*DELAYS, numbers.delay) * rate).astype(jnp.int32)
    amounts = _between(settings.bleed_low, settings.bleed_high, numbers.bleed)
    waves = bleed(sources, amounts, delays, longest=round(DELAYS[1] * rate))
    if tails is not None or settings.taps:
        waves = reverberate(waves, _responses(numbers, keys[:, 0], settings, tails))
    if settings.crowd_low != np.inf:
        waves = waves + _audience(waves, numbers, keys[:, 1], settings, recordings)
    return LiveExcerpt(jnp.sum(waves, axis=1), waves, sources)


def _responses(
    numbers: _Draws, keys: jax.Array, settings: LiveSettings, tails: Array | None
) -> Float[Array, "batch sources taps"]:
    """One hall for each item, heard at different places by its microphones."""
    direct = _between(settings.direct_low, settings.direct_high, numbers.direct)
    if tails is not None:
        return with_direct_sound(tails, direct)
    seconds = _between(settings.reverb_low, settings.reverb_high, numbers.reverb)

    def respond(key: jax.Array, seconds: Array, direct: Array) -> Array:
        return hall_impulse_response(
            key, seconds, direct, sample_rate=settings.sample_rate, taps=settings.taps
        )

    places = jax.vmap(lambda key: jax.random.split(key, direct.shape[1]))(keys)
    return jax.vmap(jax.vmap(respond, (0, None, 0)))(places, seconds, direct)


def _audience(
    waves: Array,
    numbers: _Draws,
    keys: jax.Array,
    settings: LiveSettings,
    recordings: Array | None,
) -> Float[Array, "batch sources time"]:
    """The share of every microphone, at most three times that of another."""
    noise, rate = recordings, settings.sample_rate
    if noise is None:
        time = waves.shape[-1]
        noise = jax.vmap(lambda key: crowd(key, time, sample_rate=rate))(keys)
    below = _between(settings.crowd_low, settings.crowd_high, numbers.crowd)
    music = jnp.maximum(_rms(jnp.sum(waves, axis=1)), FLOOR)
    level = music * 10.0 ** (-below / 20)[:, None] / jnp.maximum(_rms(noise), 1e-8)
    weights = 0.5 + numbers.shares
    shares = weights / jnp.sum(weights, axis=1, keepdims=True)
    return shares[..., None] * (level * noise)[:, None]


def _rms(waves: Float[Array, "*batch time"]) -> Float[Array, "*batch 1"]:
    return jnp.sqrt(jnp.mean(waves**2, axis=-1, keepdims=True))
