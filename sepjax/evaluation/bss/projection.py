r"""Least-squares projection onto delayed references, and what it leaves: energies.

The estimate :math:`\hat s` is projected onto the span of the references' channels
:math:`x_k`, each delayed by :math:`0 \ldots L - 1` samples. Normal equations:

.. math:: \sum_{l,b} r_{kl}(a - b)\, c_{lb} = r_{k \hat s}(a), \qquad
    r_{xy}(\tau) = \sum_t x(t)\, y(t + \tau)

with one block-Toeplitz matrix for all estimates (:math:`P`), and one of its diagonal
blocks for each source alone (:math:`P_j`). Everything is float64: in float32 the
matrix loses its definiteness. Trace these functions under ``jax.enable_x64``.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# What is added to the unit diagonal, one after the other, until Cholesky succeeds:
# white noise at -100 and -80 dB of every reference channel.
LOADINGS = (0.0, 1e-10, 1e-8)
# Below this ratio of eigenvalues the filters are rounding noise in some directions.
SINGULAR = 1e-14
# Two channels whose residual to one another has less energy span the same space: the
# Gram matrix cannot tell them apart, and one of them is enough.
PROPORTIONAL = 1e-13
ENERGIES = (
    *("signal", "error", "spatial", "filtered"),
    *("interference", "rest", "projected", "artifacts"),
)


class Projection(NamedTuple):
    """Filters of all sources together and of each alone, and how they were solved."""

    together: Array  # (sources * channels, sources * channels of estimates, filters)
    alone: Array  # (sources, channels, estimates, channels of estimates, filters)
    loading: Array  # largest diagonal loading that was needed
    eigenvalue_ratio: Array  # smallest over largest, least of all systems
    dropped: Array  # (sources, channels): silent, or a multiple of an earlier one


def channels_first(wave: Array) -> Array:
    """(sources, time, channels) to (sources * channels, time) float64 at full scale."""
    scale = 1 / 32768 if wave.dtype == jnp.int16 else 1.0
    flat = wave.transpose(0, 2, 1).reshape(-1, wave.shape[1])
    return flat.astype(jnp.float64) * scale


def _cut(wave: Array, block: int, size: int) -> Array:
    """(channels, time) to overlapping (channels, blocks, size), one every ``block``."""
    count = (wave.shape[-1] - size) // block + 1
    return jnp.stack([wave[:, i * block : i * block + size] for i in range(count)], 1)


@functools.partial(jax.jit, static_argnames=("filters", "fft_size"), donate_argnums=0)
def add_cross_spectra(
    total: Array, reference: Array, estimate: Array, *, filters: int, fft_size: int
) -> Array:
    """Add the cross spectra of some blocks; lags 0 to ``filters - 1`` come out right.

    Args:
        total: ``(K, K + E, fft_size / 2 + 1)`` complex, the sum so far.
        reference: ``(sources, blocks * block + filters - 1, channels)``.
        estimate: the same stretch.
        filters: length of the filters.
        fft_size: ``block + filters - 1``.
    """
    block = fft_size - filters + 1
    first = channels_first(reference)
    second = jnp.concatenate([first, channels_first(estimate)])
    later = jnp.fft.rfft(_cut(second, block, fft_size))[None]
    now = jnp.fft.rfft(_cut(first, block, fft_size)[..., :block], fft_size)[:, None]
    # Written out over blocks the compiler makes one pass over the result; an einsum or
    # a sum over the axis is 2 to 10 times slower.
    return total + sum(
        now[:, :, i].conj() * later[:, :, i] for i in range(later.shape[2])
    )


@functools.partial(
    jax.jit, static_argnames=("filters", "fft_size", "sources", "permute")
)
def solve_filters(
    spectra: Array, *, filters: int, fft_size: int, sources: int, permute: bool
) -> Projection:
    """Projection filters from cross spectra, by Cholesky of the equilibrated matrix."""
    lags = jnp.fft.irfft(spectra, fft_size)[..., :filters]
    width = lags.shape[0]
    channels = width // sources
    power = jnp.diagonal(lags[:, :width, 0])
    scale = jnp.where(power > 0, 1 / jnp.sqrt(jnp.where(power > 0, power, 1)), 0)
    between = lags[:, :width] * scale[:, None, None] * scale[None, :, None]
    towards = lags[:, width:] * scale[:, None, None]
    keep = _independent(between[..., 0], power > 0)
    together, *found = _project(between, towards, keep)
    mine = [slice(j * channels, (j + 1) * channels) for j in range(sources)]
    own = jnp.stack([between[part][:, part] for part in mine])
    sounds = power.reshape(sources, channels) > 0
    own_keep = jax.vmap(_independent)(own[..., 0], sounds)
    right = towards.reshape(sources, channels, sources * channels, filters)
    if not permute:
        right = jnp.stack([right[j][:, part] for j, part in enumerate(mine)])
    if sources == 1:
        alone, own_found = together[None], [jnp.stack([value]) for value in found]
    else:
        alone, *own_found = lax.map(lambda a: _project(*a), (own, right, own_keep))
    alone = alone * scale.reshape(sources, channels, 1, 1)
    return Projection(
        together * scale[:, None, None],
        alone.reshape(sources, channels, -1, channels, filters),
        jnp.maximum(found[0], own_found[0].max()),
        jnp.minimum(found[1], own_found[1].min()),
        ~own_keep,
    )


def _independent(correlation: Array, sounds: Array) -> Array:
    """Channels that sound and are no multiple of an earlier one that does."""
    proportional = 1 - jnp.square(correlation) < PROPORTIONAL
    earlier = np.tri(len(correlation), k=-1, dtype=bool)
    return sounds & ~(proportional & earlier & sounds[None]).any(1)


def _project(between: Array, towards: Array, keep: Array) -> tuple[Array, ...]:
    """Filters, the loading used and the ratio of eigenvalues of one system."""
    # Channels that are not kept get a unit diagonal and no right-hand side, which makes
    # their filters zero without changing a shape.
    width, columns, filters = towards.shape
    between = between * (keep[:, None] & keep[None])[..., None]
    between = between.at[np.arange(width), np.arange(width), 0].set(1.0)
    towards = towards * keep[:, None, None]
    factor, loading = _factorize(between)
    right = towards.transpose(0, 2, 1).reshape(width * filters, columns)
    solution = _solve(factor, right).reshape(width, filters, columns)
    return solution.transpose(0, 2, 1), loading, _eigenvalue_ratio(factor)


def _gram(between: Array) -> Array:
    """Block-Toeplitz matrix, row (k, a) and column (l, b): lag a - b of (k, l)."""
    width, _, filters = between.shape
    # Lag -t of (k, l) is lag t of (l, k).
    before = between.transpose(1, 0, 2)[..., :0:-1]
    lags = jnp.concatenate([before, between], -1)
    delay, channel = np.arange(filters), np.arange(width)
    index = delay[:, None, None] - delay[None, None, :] + filters - 1
    rows, columns = channel[:, None, None, None], channel[None, None, :, None]
    matrix = lags[rows, columns, index[None]]
    return matrix.reshape(width * filters, width * filters)


def _factorize(between: Array) -> tuple[Array, Array]:
    """Lower Cholesky factor with the first of LOADINGS that makes it finite."""
    attempt = jax.jit(_attempt)  # traced once for all loadings
    # Branches rather than a loop, and the attempt as the first of them: the compiler
    # then holds two matrices at a time instead of four.
    factor, used = attempt(between, LOADINGS[0]), jnp.float64(LOADINGS[0])
    for loading in LOADINGS[1:]:
        failed = ~jnp.isfinite(jnp.diagonal(factor)).all()
        used = jnp.where(failed, loading, used)
        again = lambda _, loading=loading: attempt(between, loading)  # noqa: E731
        factor = lax.cond(failed, again, lambda factor: factor, factor)
    return factor, used


def _attempt(between: Array, loading: float) -> Array:
    diagonal = np.arange(between.shape[0])
    loaded = between.at[diagonal, diagonal, 0].add(loading)
    return lax.linalg.cholesky(_gram(loaded), symmetrize_input=False)


def _solve(factor: Array, right: Array) -> Array:
    solve = functools.partial(lax.linalg.triangular_solve, left_side=True, lower=True)
    return solve(factor, solve(factor, right), transpose_a=True)


def _eigenvalue_ratio(factor: Array, iterations: int = 5) -> Array:
    """Smallest over largest eigenvalue, by (inverse) power iteration on the factor."""
    # A chirp has something of every eigenvector, and no generator to be compiled.
    start = jnp.cos(jnp.square(jnp.arange(len(factor), dtype=float)))[:, None]
    start = start / jnp.linalg.norm(start)

    def step(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        large, small = state[:2]
        large, small = factor @ (large.T @ factor).T, _solve(factor, small)
        norms = jnp.linalg.norm(large), jnp.linalg.norm(small)
        return large / norms[0], small / norms[1], norms[0] * norms[1]

    condition = lax.fori_loop(0, iterations, step, (start, start, jnp.ones(())))[2]
    return 1 / condition


@functools.partial(jax.jit, static_argnames="fft_size")
def filter_spectra(
    together: Array, alone: Array, *, fft_size: int
) -> tuple[Array, Array]:
    """Transforms of both filters, for :func:`window_energies`."""
    return jnp.fft.rfft(together, fft_size), jnp.fft.rfft(alone, fft_size)


@functools.partial(jax.jit, static_argnames=("filters", "fft_size"))
def window_energies(
    spectra: tuple[Array, Array],
    reference: Array,
    estimate: Array,
    *,
    filters: int,
    fft_size: int,
) -> Array:
    """Energies of the parts of the estimates in some blocks (overlap-save).

    Args:
        spectra: of the filters, see :func:`filter_spectra`.
        reference: ``(sources, filters - 1 + blocks * block, channels)``: the first
            ``filters - 1`` samples are history only.
        estimate: the same stretch.
        filters: length of the filters.
        fft_size: ``block + filters - 1``.

    Returns:
        ``(len(ENERGIES), sources, estimates)``, summed over channels and samples.
    """
    together, alone = spectra
    sources, _, channels = reference.shape
    block = fft_size - filters + 1

    def filtered(spectrum: Array) -> Array:
        return jnp.fft.irfft(spectrum, fft_size)[..., filters - 1 :]

    def paired(wave: Array) -> Array:
        lead = (sources, 1) if alone.shape[2] == 1 else (1, sources)
        return wave.reshape(*lead, channels, -1, block)

    x = channels_first(reference)
    spectrum = jnp.fft.rfft(_cut(x, block, fft_size))  # (channels, blocks, frequencies)
    parts = spectrum.reshape(sources, channels, 1, 1, -1, spectrum.shape[-1])
    own = filtered((parts * alone[..., None, :]).sum(1))
    if sources == 1:  # the two projections are one, to the last digit
        whole = own
    else:
        whole = paired(filtered((spectrum[:, None] * together[:, :, None]).sum(0)))
    s = x[:, filters - 1 :].reshape(sources, 1, channels, -1, block)
    e = paired(channels_first(estimate)[:, filters - 1 :])
    waves = (s, e - s, own - s, own, whole - own, e - own, whole, e - whole)
    sums = (jnp.square(wave).sum((2, 3, 4)) for wave in waves)
    return jnp.stack([jnp.broadcast_to(energy, own.shape[:2]) for energy in sums])
