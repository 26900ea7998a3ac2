"""What a spectral mask can reach at best: the ideal ratio mask of chapters 2 and 4."""

import functools
import math

import jax
import numpy as np

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
    hop = hop or n_fft // 2
    # An integer power is a few products, any other a logarithm and an exponential.
    power = int(power) if power == int(power) else power
    if n_fft % hop:
        raise ValueError(f"hop={hop} must divide n_fft={n_fft}")
    if references.ndim != 3 or references.shape[1:] != mixture.shape:
        raise ValueError(
            f"references {references.shape} must be (sources, time, channels) of the "
            f"mixture (time, channels) {mixture.shape}"
        )
    time, block = mixture.shape[0], BLOCK_FRAMES * hop
    padded = -(-time // block) * block
    # Frames reach n_fft into the neighbouring blocks; what they see there is cut off.
    edges = ((0, 0), (n_fft, padded - time + n_fft), (0, 0))
    waves = np.pad(np.concatenate([references, mixture[None]]), edges)
    estimates = np.empty_like(waves[:-1, :padded])
    with jax.enable_x64(True):
        for start in range(0, padded, block):
            piece = waves[:, start : start + block + 2 * n_fft].astype(np.float64)
            separated = _mask_block(np.moveaxis(piece, -1, 0), power, n_fft, hop)
            estimates[:, start : start + block] = np.moveaxis(separated, 0, -1)
    return estimates[:, :time]


@functools.partial(jax.jit, static_argnames=("power", "n_fft", "hop"))
def _mask_block(waves: jax.Array, power: float, n_fft: int, hop: int) -> jax.Array:
    """(channels, sources + 1, time) -> (channels, sources, time - 2 n_fft)."""
    spectra = spectral.stft(waves, n_fft=n_fft, hop=hop, center=False)
    # The reference implementation divides the transform by the sum of the window,
    # which matters only beside eps.
    scaled = spectra[:, :-1] * (2 / n_fft)
    masks = masking.ratio_mask(scaled, power=power, eps=EPS)
    masked = masking.apply_masks(spectra[:, -1], masks)
    time = waves.shape[-1]
    separated = spectral.istft(masked, n_fft=n_fft, hop=hop, time=time, center=False)
    return separated[..., n_fft:-n_fft]
