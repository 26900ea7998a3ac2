"""The noise of an audience: voices that swell, and applause that comes and goes."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.live.hall import quick_size, reverberate

LOW, FULL = 100.0, 250.0
"""Hz: voices rise to the second and fall by 3 dB per octave beyond; nothing below."""
SWELL = 2.0
"""Seconds between the random levels that voices and applause pass through."""
CLAPS = 40.0
"""Claps per second at the height of the applause."""
CLAP = 0.003
"""Seconds in which a clap falls to 1 / e."""
PITCH = 2000.0
"""Hz around which it sounds."""


def crowd(key: jax.Array, time: int, *, sample_rate: int) -> Float[Array, " time"]:
    """Noise of an audience, its root mean square one.

    Voices are noise with a spectrum that falls as ``1 / f`` in power, their level a
    slow random course of 4 dB; claps are short bursts at random moments, the density
    of which comes and goes with another.

    ``time``, in samples, and the rate, in Hz, are static under ``jit``.

    Example:
        >>> draw = jax.jit(lambda key: crowd(key, 16000, sample_rate=8000))
        >>> wave = draw(jax.random.key(0))
        >>> wave.shape, round(float((wave**2).mean()), 3)
        ((16000,), 1.0)
    """
    voice, swell, when, applause, clap = jax.random.split(key, 5)
    level = jnp.exp(0.45 * _course(swell, time, sample_rate))
    voices = _noise(voice, time, sample_rate, _voices) * level
    density = jax.nn.sigmoid(3 * _course(applause, time, sample_rate) - 2)
    wave = voices + _claps(when, clap, density, sample_rate)
    return wave / jnp.sqrt(jnp.maximum(jnp.mean(wave**2), 1e-20))


def _voices(hertz: np.ndarray) -> np.ndarray:
    rise = np.clip((hertz - LOW) / (FULL - LOW), 0, 1)
    return rise / np.sqrt(np.maximum(hertz, FULL))


def _claps(
    when: jax.Array, clap: jax.Array, density: Array, sample_rate: int
) -> Float[Array, " time"]:
    """Bursts around 2 kHz, half as loud as the voices at the applause's height."""
    taps = round(6 * CLAP * sample_rate)
    decay = jnp.exp(-jnp.arange(taps, dtype=density.dtype) / (CLAP * sample_rate))
    burst = decay * _noise(clap, taps, sample_rate, lambda f: f / (f**2 + PITCH**2))
    burst = burst / jnp.sqrt(jnp.sum(burst**2))
    chance, loudness = jax.random.uniform(when, (2, *density.shape))
    rate = CLAPS / sample_rate
    events = jnp.where(chance < rate * density, 0.5 + loudness, 0.0)
    return reverberate(events * np.float32(0.5 / np.sqrt(rate)), burst)


def _noise(
    key: jax.Array, time: int, sample_rate: int, shape: Callable
) -> Float[Array, " time"]:
    """Gaussian noise of variance one with a spectrum of this shape over Hz."""
    size = quick_size(time)
    gains = shape(np.fft.rfftfreq(size, 1 / sample_rate))
    spectrum = jnp.fft.rfft(jax.random.normal(key, (size,)))
    gains = jnp.asarray(gains / np.sqrt(np.mean(gains**2)), spectrum.dtype)
    return jnp.fft.irfft(spectrum * gains, n=size)[:time]


def _course(key: jax.Array, time: int, sample_rate: int) -> Float[Array, " time"]:
    """Standard normal levels every :data:`SWELL` seconds, and lines between them."""
    moment = jnp.arange(time, dtype=jnp.float32) / (SWELL * sample_rate)
    knots = int(time / (SWELL * sample_rate)) + 2
    levels = jax.random.normal(key, (knots,))
    return jnp.interp(moment, jnp.arange(knots, dtype=jnp.float32), levels)
