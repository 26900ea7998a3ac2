"""The multichannel Wiener filter that knows the sources."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.evaluation import masks
from sepjax.evaluation.device import float64_enabled
from sepjax.evaluation.masks import BLOCK_FRAMES, EPS
from sepjax.functional import spectral


def ideal_wiener_filter(
    references: np.ndarray,
    mixture: np.ndarray,
    *,
    n_fft: int = 2048,
    hop: int = 0,
    sisec18_bug: bool = False,
) -> np.ndarray:
    r"""Separate a mixture with the local Gaussian model of its own sources (MWF).

    Every bin f of source j has a spatial covariance
    :math:`R_j(f) = \sum_t C_j / (p_j + \epsilon)` with :math:`C_j = Y_j Y_j^H` and
    :math:`p_j` its mean over channels, scaled to trace I; its power is
    :math:`P_j(t, f) = \mathrm{Re}\,\mathrm{tr}(R_j^{-1} C_j) / I`, and

    .. math:: \hat s_j = P_j R_j \Big(\sum_k P_k R_k\Big)^{-1} X .

    Result and errors are those of :func:`~sepjax.evaluation.masks.ideal_ratio_mask`.

    Args:
        references: ``(sources, time, channels)``.
        mixture: ``(time, channels)``.
        n_fft: window length, samples.
        hop: samples between frames; 0 for half a window.
        sisec18_bug: scale all covariances by a vector from the first bins, as the
            released implementation does, whose scores (0.1 to 0.6 dB lower) the 2018
            campaign published.

    Example:
        >>> references = np.random.default_rng(0).normal(size=(2, 5000, 2))
        >>> ideal_wiener_filter(references, references.sum(0), n_fft=512).shape
        (2, 5000, 2)

    Reference:
        Duong, Vincent and Gribonval 2010; sigsep-mus-oracle.
    """
    hop = masks.check_shapes(references, mixture, n_fft, hop)
    covariance = _covariances(references, mixture, n_fft, hop, sisec18_bug)
    return masks.separate_blocks(
        _filtered(n_fft), references, mixture, covariance, n_fft=n_fft, hop=hop
    )


def _covariances(
    references: np.ndarray, mixture: np.ndarray, n_fft: int, hop: int, bug: bool
) -> np.ndarray:
    """(sources, bins, channels, channels), of trace ``channels``."""
    channels = mixture.shape[1]
    last = (len(mixture) - 1) // (BLOCK_FRAMES * hop)
    total = np.zeros((len(references), n_fft // 2 + 1, channels, channels), complex)
    with float64_enabled():
        pieces = masks.blocks(references, mixture, n_fft, hop)
        for index, (_, piece) in enumerate(pieces):
            # A frame counts in one block; those behind the last block are its own.
            frames = None if index == last else BLOCK_FRAMES
            total += np.asarray(_block_covariance(piece[:, :-1], n_fft, hop, frames))
    # The mean over frames differs from this sum by a factor, which the trace removes.
    axes = (1, 2) if bug else (2, 3)
    trace = np.trace(total, axis1=axes[0], axis2=axes[1])
    trace = trace[:, None, None] if bug else trace[..., None, None]
    # A source that is silent in a bin has no direction there.
    nothing = np.zeros_like(total)
    scaled = np.divide(total * channels, trace, out=nothing, where=trace != 0)
    return scaled + EPS * np.eye(channels)


@functools.partial(jax.jit, static_argnames=("n_fft", "hop", "frames"))
def _block_covariance(
    waves: jax.Array, n_fft: int, hop: int, frames: int | None
) -> jax.Array:
    spectra = spectral.stft(waves, n_fft=n_fft, hop=hop, center=False)
    spectra = spectra[:, :, :frames] * (2 / n_fft)
    power = jnp.square(spectra.real) + jnp.square(spectra.imag)
    weight = 1 / (EPS + jnp.mean(power, axis=0))
    return jnp.einsum("istf,jstf,stf->sfij", spectra, spectra.conj(), weight)


@functools.cache
def _filtered(n_fft: int):
    def masked(sources: jax.Array, mixture: jax.Array, covariance: jax.Array):
        channels = len(mixture)
        sources = sources * (2 / n_fft)
        inverse = _inverse(covariance)
        power = jnp.einsum("sfij,jstf,istf->stf", inverse, sources, sources.conj())
        power = power.real / channels
        whole = _inverse(jnp.einsum("stf,sfij->tfij", power, covariance))
        whitened = jnp.einsum("tfij,jtf->itf", whole, mixture)
        return jnp.einsum("stf,sfij,jtf->istf", power, covariance, whitened)

    return masked


def _inverse(matrices: jax.Array) -> jax.Array:
    """Inverse of small matrices; of two channels in closed form, det + eps."""
    if matrices.shape[-1] != 2:
        loading = EPS * jnp.eye(matrices.shape[-1])
        return jnp.linalg.inv(matrices + jnp.broadcast_to(loading, matrices.shape))
    (a, b), (c, d) = jnp.moveaxis(matrices, (-2, -1), (0, 1))
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2)
    return adjugate / (a * d - b * c + EPS)[..., None, None]
