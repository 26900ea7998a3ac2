"""What a spectral mask can reach at best: ideal masks of chapters 2 and 4."""

import functools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from sepjax.evaluation.device import float64_enabled
from sepjax.functional import masking, spectral

EPS = 2.2e-16  # of the reference implementation, sigsep-mus-oracle
BLOCK_FRAMES = 256  # processed at once: bounds memory, and one shape is compiled


def fft_size(sample_rate: int) -> int:
    """Power of two whose duration is nearest (in ratio) to 2048 samples at 44.1 kHz.

    Example:
        >>> fft_size(44100), fft_size(16000), fft_size(8000)
        (2048, 1024, 512)
    """
    return 2 ** round(math.log2(2048 * sample_rate / 44100))


def ideal_ratio_mask(
    references: np.ndarray,
    mixture: np.ndarray,
    *,
    power: float = 2.0,
    n_fft: int = 2048,
    hop: int = 0,
) -> np.ndarray:
    r"""Separate a mixture with the ratio masks of its own sources.

    .. math:: M_j = \frac{|Y_j|^\alpha}{\sum_k |Y_k|^\alpha + \epsilon}, \qquad
        \hat s_j = \mathrm{istft}(M_j X)

    with the transforms :math:`Y_j` of the references and :math:`X` of the mixture,
    every channel on its own: periodic Hann window, zeros beyond both ends. With the
    default hop this is what ``scipy.signal.stft`` and ``istft`` do by default.

    Args:
        references: ``(sources, time, channels)``, the true sources.
        mixture: ``(time, channels)``.
        power: the exponent :math:`\alpha`.
        n_fft: window length, samples; see :func:`fft_size` for other rates.
        hop: samples between frames, a divisor of ``n_fft``; 0 for half a window.

    Returns:
        ``(sources, time, channels)`` in the dtype of the references, computed in
        float64. The sum over sources is the mixture wherever any source has energy.

    Raises:
        ValueError: the shapes do not fit, or the hop does not divide the window.

    Example:
        >>> references = np.random.default_rng(0).normal(size=(2, 5000, 1))
        >>> mixture = references.sum(0)
        >>> estimates = ideal_ratio_mask(references, mixture, n_fft=512)
        >>> np.allclose(estimates.sum(0), mixture)
        True

    Reference:
        Stöter, Liutkus and Ito 2018, "The 2018 signal separation evaluation
        campaign"; thesis sections 2 and 4.
    """
    mask = _masked("ratio", power, n_fft)
    return separate_blocks(mask, references, mixture, n_fft=n_fft, hop=hop)


def ideal_binary_mask(
    references: np.ndarray,
    mixture: np.ndarray,
    *,
    power: float = 1.0,
    n_fft: int = 2048,
    hop: int = 0,
) -> np.ndarray:
    r"""Separate a mixture by giving each bin to the sources that make up half of it.

    .. math:: M_j = \left[ \frac{|Y_j|^\alpha}{|X|^\alpha + \epsilon} \ge
        \frac12 \right]

    Several sources, or none, may claim a bin: the estimates need not sum to the
    mixture. Arguments, result and errors are those of :func:`ideal_ratio_mask`.

    Example:
        >>> references = np.random.default_rng(0).normal(size=(2, 5000, 1))
        >>> ideal_binary_mask(references, references.sum(0), n_fft=512).shape
        (2, 5000, 1)
    """
    mask = _masked("binary", power, n_fft)
    return separate_blocks(mask, references, mixture, n_fft=n_fft, hop=hop)


def mixture_as_estimate(references: np.ndarray, mixture: np.ndarray) -> np.ndarray:
    """Return the mixture in equal shares: the score of doing nothing (MIX).

    Example:
        >>> mixture_as_estimate(np.zeros((2, 3, 1)), np.ones((3, 1)))[0, 0]
        array([0.5])
    """
    return np.broadcast_to(mixture / len(references), references.shape)


def separate_blocks(
    masked: Callable[..., jax.Array],
    references: np.ndarray,
    mixture: np.ndarray,
    *constants: np.ndarray,
    n_fft: int,
    hop: int = 0,
) -> np.ndarray:
    """Apply a function of spectra to a track of any length, block by block.

    The function can be jitted and hashed: ``masked(references (channels, sources,
    frames, bins), mixture (channels, frames, bins), *constants) -> estimates``, shaped
    as the references.
    """
    hop = check_shapes(references, mixture, n_fft, hop)
    estimates = np.empty(references.shape, references.dtype)
    with float64_enabled():
        for start, piece in blocks(references, mixture, n_fft, hop):
            separated = _mask_block(piece, constants, masked, n_fft, hop)
            part = estimates[:, start : start + BLOCK_FRAMES * hop]
            part[:] = np.moveaxis(separated, 0, -1)[:, : part.shape[1]]
    return estimates


def check_shapes(
    references: np.ndarray, mixture: np.ndarray, n_fft: int, hop: int
) -> int:
    """Return the hop, after a check that all shapes fit together."""
    hop = hop or n_fft // 2
    if n_fft % hop:
        raise ValueError(f"hop={hop} must divide n_fft={n_fft}")
    if references.ndim != 3 or references.shape[1:] != mixture.shape:
        raise ValueError(
            f"references {references.shape} must be (sources, time, channels) of the "
            f"mixture (time, channels) {mixture.shape}"
        )
    return hop


def blocks(
    references: np.ndarray, mixture: np.ndarray, n_fft: int, hop: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces (channels, sources + 1, time), the mixture last, in float64.

    Each is a block of ``BLOCK_FRAMES`` hops and ``n_fft`` samples on both sides, which
    its frames reach into; the number is where the block starts in the track.
    """
    time, block = mixture.shape[0], BLOCK_FRAMES * hop
    padded = -(-time // block) * block
    edges = ((0, 0), (n_fft, padded - time + n_fft), (0, 0))
    waves = np.pad(np.concatenate([references, mixture[None]]), edges)
    for start in range(0, padded, block):
        piece = waves[:, start : start + block + 2 * n_fft].astype(np.float64)
        yield start, np.moveaxis(piece, -1, 0)


@functools.partial(jax.jit, static_argnames=("masked", "n_fft", "hop"))
def _mask_block(
    waves: jax.Array, constants: tuple, masked: Callable, n_fft: int, hop: int
) -> jax.Array:
    """(channels, sources + 1, time) -> (channels, sources, time - 2 n_fft)."""
    spectra = spectral.stft(waves, n_fft=n_fft, hop=hop, center=False)
    estimates = masked(spectra[:, :-1], spectra[:, -1], *constants)
    time = waves.shape[-1]
    separated = spectral.istft(estimates, n_fft=n_fft, hop=hop, time=time, center=False)
    return separated[..., n_fft:-n_fft]


@functools.cache  # so that a mask is compiled once
def _masked(kind: str, power: float, n_fft: int) -> Callable[..., jax.Array]:
    # An integer power is a few products, any other a logarithm and an exponential.
    power = int(power) if power == int(power) else power
    # The reference implementation divides transforms by the sum of the window, which
    # matters only beside eps.
    scale = 2 / n_fft

    def ratio(sources: jax.Array, mixture: jax.Array) -> jax.Array:
        masks = masking.ratio_mask(jnp.abs(sources * scale), power=power, eps=EPS)
        return mixture[:, None] * masks

    def binary(sources: jax.Array, mixture: jax.Array) -> jax.Array:
        part, whole = (jnp.abs(x * scale) ** power for x in (sources, mixture))
        return (part / (EPS + whole[:, None]) >= 0.5) * mixture[:, None]

    return ratio if kind == "ratio" else binary
