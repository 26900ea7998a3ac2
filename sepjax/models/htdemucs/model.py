"""Hybrid Transformer Demucs (v4) and Hybrid Demucs (v3), contract and whole network.

Reference: Rouard, Massa and Défossez 2023, "Hybrid transformers for music source
separation"; Défossez 2021, "Hybrid spectrogram and waveform source separation";
facebookresearch/demucs 4.1.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from sepjax.functional.framing import fit, overlap_add
from sepjax.functional.spectral import hann, stft
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.htdemucs.config import (
    KERNEL,
    STRIDE,
    HDemucsConfig,
    HTDemucsConfig,
    HybridConfig,
    Layer,
)
from sepjax.models.htdemucs.layers import (
    Image,
    Part,
    decode,
    draw_conv,
    draw_decoder,
    draw_encoder,
    draw_norm,
    encode,
)
from sepjax.models.htdemucs.transformer import draw_transformer, transform
from sepjax.models.registry import MODELS

EMBEDDING_SCALE = 10.0  # by which the stored embedding is smaller than its meaning

Wave = Float[Array, "batch channels time"]


def analyze(wave: Wave, n_fft: int) -> Image:
    r"""Return ``ceil(time / hop)`` frames of a spectrogram, without complex numbers.

    The hop is a quarter of the window, the transform is divided by
    :math:`\sqrt{n_{fft}}`, and the last bin is left out. The ends are reflected by one
    hop and a half and what is missing; a signal that is too short has zeros first.

    Returns:
        ``(batch, frames, bins, 2 * channels)``: real and imaginary part of the first
        channel, then of the others.

    Example:
        >>> analyze(jnp.ones((1, 2, 1000)), 512).shape
        (1, 8, 256, 4)
    """
    time, hop = wave.shape[-1], n_fft // 4
    frames = -(-time // hop)
    left, right = 3 * hop // 2, 3 * hop // 2 + frames * hop - time
    if (missing := max(left, right) + 1 - time) > 0:
        behind = min(right, missing)
        edges = (missing - behind, behind)
        wave = jnp.pad(wave, ((0, 0), (0, 0), edges))
        left, right = left - edges[0], right - edges[1]
    wave = jnp.pad(wave, ((0, 0), (0, 0), (left, right)), mode="reflect")
    # Another reflection, of centred frames, reaches only those that are left out.
    spectra = stft(wave, n_fft=n_fft, hop=hop, center=False)[..., :-1]
    parts = jnp.stack([spectra.real, spectra.imag], axis=2) / n_fft**0.5
    parts = parts.reshape(len(wave), -1, *parts.shape[3:])
    return jnp.moveaxis(parts, 1, -1)


def synthesize(x: Image, n_fft: int, time: int) -> Wave:
    """Invert :func:`analyze`: pairs of channels to waves ``(batch, channels, time)``.

    Frames beyond the ends are silent, so that the outermost hop and a half fades, and
    what was in the last bin is lost.

    Example:
        >>> wave = jnp.sin(jnp.arange(1000.0)).reshape(1, 1, 1000)
        >>> again = synthesize(analyze(wave, 64), 64, 1000)
        >>> bool(jnp.abs(again - wave)[..., 64:-64].max() < 1e-4)
        True
    """
    parts = jnp.moveaxis(x, -1, 1)
    spectra = jax.lax.complex(parts[:, 0::2], parts[:, 1::2])
    frames = jnp.fft.irfft(jnp.pad(spectra, [(0, 0)] * 3 + [(0, 1)]), n_fft)
    # The squares of a periodic Hann window sum to 3/2 where four overlap.
    window = (hann(n_fft) * (n_fft**0.5 * 2 / 3)).astype(frames.dtype)
    waves = overlap_add(frames * window[None, None, None], n_fft // 4)
    return fit(waves[..., 3 * n_fft // 8 :], time)


def standardize(x: Array) -> tuple[Array, Array, Array]:
    """Return (x - mean) / (1e-5 + deviation) of each item, mean and deviation.

    The variance is unbiased.
    """
    axes = tuple(range(1, x.ndim))
    mean = x.mean(axes, keepdims=True)
    deviation = x.std(axes, keepdims=True, ddof=1)
    return (x - mean) / (1e-5 + deviation), mean, deviation


def network_parts(
    config: HybridConfig, sources: int
) -> dict[str, Callable[[PRNGKeyArray], dict[str, Any]]]:
    """Return, for each part of the parameters, the function that draws the part.

    Layers are counted from the outside, ``time_`` ones are those of the waveform.
    """
    parts: dict[str, Callable[[PRNGKeyArray], dict[str, Any]]] = {}
    for n, layer in enumerate(config.layers()):
        form = dict(layer=layer, config=config)
        outputs = layer.inputs if n else sources * layer.inputs
        parts[f"encoder_{n}"] = functools.partial(
            draw_encoder, inputs=layer.inputs, **form
        )
        axes = 1 if layer.place == "after" else 2
        parts[f"decoder_{n}"] = functools.partial(
            draw_decoder, outputs=outputs, axes=axes, **form
        )
        if layer.place == "after":
            continue
        ratio = 1 if n else 2  # a wave has half the channels of complex numbers
        form["layer"] = layer = along_time(layer)
        inputs, outputs = layer.inputs // ratio, outputs // ratio
        names = f"time_encoder_{n}", f"time_decoder_{n}"
        if layer.place == "merge":
            parts[names[0]], parts[names[1]] = _merging_parts(inputs, layer)
            continue
        parts[names[0]] = functools.partial(draw_encoder, inputs=inputs, **form)
        parts[names[1]] = functools.partial(
            draw_decoder, outputs=outputs, axes=1, **form
        )
    width = config.layers()[0].outputs
    if config.freq_emb:
        parts["frequency_embedding"] = functools.partial(
            draw_embedding, bins=config.n_fft // 2 // STRIDE, width=width
        )
    if isinstance(config, HTDemucsConfig):
        parts["transformer"] = functools.partial(draw_transformer, config=config)
    return parts


def along_time(layer: Layer) -> Layer:
    """Return a layer of the spectrogram as that of the waveform."""
    return layer._replace(kernel=KERNEL, stride=STRIDE, edge=STRIDE // 2)


def _merging_parts(inputs: int, layer: Layer) -> tuple[Callable, Callable]:
    """Of the waveform, where branches merge: convolutions alone."""
    taps, width = layer.kernel, layer.outputs

    def encoder(key: PRNGKeyArray) -> dict[str, Any]:
        return {"conv": draw_conv(key, inputs, width, taps)}

    def decoder(key: PRNGKeyArray) -> dict[str, Any]:
        fan_in = taps * inputs
        part = {"conv": draw_conv(key, width, inputs, taps, fan_in=fan_in)}
        return part | ({"norm2": draw_norm(inputs)} if layer.norm else {})

    return encoder, decoder


def draw_embedding(key: PRNGKeyArray, *, bins: int, width: int) -> dict[str, Array]:
    r"""Draw the embedding of bins: a random walk over them, over :math:`10 \sqrt{k}`.

    Example:
        >>> draw_embedding(jax.random.key(0), bins=512, width=48)["table"].shape
        (512, 48)
    """
    walk = jnp.cumsum(jax.random.normal(key, (bins, width)), axis=0)
    steps = jnp.arange(1.0, bins + 1)[:, None]
    return {"table": walk / jnp.sqrt(steps) / EMBEDDING_SCALE}


def hybrid_network(params: Part, mixture: Wave, config: HybridConfig) -> Array:
    """Estimate all sources.

    Args:
        params: of :func:`network_parts`, drawn.
        mixture: waves.
        config: of the model.

    Returns:
        ``(batch, sources * channels, time)``.
    """
    dtype, time = jnp.dtype(config.compute_dtype), mixture.shape[-1]
    spectrum, *moments = standardize(analyze(mixture, config.n_fft))
    samples, *time_moments = standardize(jnp.swapaxes(mixture, 1, 2)[:, None])
    given = spectrum.astype(dtype), samples.astype(dtype)
    x, wave, skips = _encoded(params, *given, config)
    if isinstance(config, HTDemucsConfig):
        x, wave = transform(params["transformer"], x, wave, config)
    else:
        x, wave = jnp.zeros_like(x), jnp.zeros_like(wave)
    x, wave = _decoded(params, x, wave, skips, config)
    mean, deviation = moments
    x = x.astype(mixture.dtype) * deviation + mean
    mean, deviation = time_moments
    wave = wave.astype(mixture.dtype) * deviation + mean
    return synthesize(x, config.n_fft, time) + jnp.swapaxes(wave[:, 0], 1, 2)


def _run(function: Callable, config: HybridConfig, **form: Any) -> Callable:
    form |= dict(groups=config.norm_groups, remat=config.remat)
    return functools.partial(function, **form)


def _encoded(
    params: Part, x: Image, wave: Image, config: HybridConfig
) -> tuple[Image, Image, list[tuple[Image, Image | None, int]]]:
    """Both branches at the bottom; skips of both, and places before each layer."""
    skips: list[tuple[Image, Image | None, int]] = []
    for n, layer in enumerate(config.layers()):
        own, joined, length = params[f"encoder_{n}"], None, x.shape[2]
        if layer.place != "after":
            length, form = wave.shape[2], dict(layer=along_time(layer), along=True)
            wave = _run(encode, config, **form)(params[f"time_encoder_{n}"], wave)
        if layer.place == "merge":
            joined = jnp.swapaxes(wave, 1, 2)
        form = dict(layer=layer, along=layer.place == "after")
        x = _run(encode, config, **form)(own, x, joined=joined)
        if n == 0 and "frequency_embedding" in params:
            table = params["frequency_embedding"]["table"].astype(x.dtype)
            x = x + config.freq_emb * EMBEDDING_SCALE * table[None, None]
        skips.append((x, wave if layer.place == "before" else None, length))
        if layer.place == "merge":
            x = jnp.swapaxes(x, 1, 2)  # frames are places from here on
    return x, wave, skips


def _decoded(
    params: Part, x: Image, wave: Image, skips: list, config: HybridConfig
) -> tuple[Image, Image]:
    """Both branches at the outside, as real and imaginary parts and as samples."""
    layers = config.layers()
    for n in reversed(range(config.depth)):
        layer, (skip, time_skip, length) = layers[n], skips[n]
        if layer.place == "merge":
            x = jnp.swapaxes(x, 1, 2)
        after = layer.place == "after"
        places = (
            length if after else (n and skips[n - 1][0].shape[2]) or config.n_fft // 2
        )
        form = dict(layer=layer, along=after, length=places, last=n == 0)
        x, before = _run(decode, config, **form)(params[f"decoder_{n}"], x, skip)
        if not after:
            if layer.place == "merge":
                wave = jnp.swapaxes(before, 1, 2)
            form |= dict(layer=along_time(layer), along=True, length=length)
            part = params[f"time_decoder_{n}"]
            wave, _ = _run(decode, config, **form)(part, wave, time_skip)
    return x, wave


class HybridDemucs(SeparationModel):
    """Hybrid Demucs, with or without the transformer.

    Contract: ``(batch, 2, time) -> Separation`` with ``estimates (batch, sources, 2,
    time)`` and neither masks nor latent, or ``(batch, time)`` with one audio channel.
    Any time will do; what is shorter than ``config.segment`` is padded by zeros, which
    mean, deviation and attention hear, as in the source. Parameters of several
    networks lie along a leading axis.
    """

    config: HybridConfig
    sources: tuple[str, ...]
    sample_rate: int
    objective = HybridConfig.objective

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    @property
    def segment(self) -> int:
        """Samples to which shorter inputs are padded."""
        # A fraction of seconds is rounded down, what a float has lost is not.
        return int(self.config.segment * self.sample_rate + 1e-6)

    def setup(self) -> None:
        """Declare the parameters."""
        config, count = self.config, self.config.networks

        def several(draw: Callable) -> Callable:
            return lambda key: jax.vmap(draw)(jax.random.split(key, count))

        parts = network_parts(config, len(self.sources))
        self.parts = {
            name: self.param(name, several(draw) if count > 1 else draw)
            for name, draw in parts.items()
        }

    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures."""
        time = mixture.shape[-1]
        wave = mixture.reshape(len(mixture), self.audio_channels, time)
        wave = fit(wave, max(time, self.segment))
        network = functools.partial(hybrid_network, mixture=wave, config=self.config)
        shape = (len(mixture), len(self.sources), *mixture.shape[1:-1], -1)
        if self.config.networks == 1:
            estimates = network(self.parts).reshape(shape)
        else:
            each = jax.lax.map(network, dict(self.parts))
            each = each.reshape(len(each), len(mixture), len(self.sources), -1)
            each = self._shares().astype(each.dtype)[:, None, :, None] * each
            estimates = each.sum(0).reshape(shape)
        return Separation(estimates[..., :time])

    def _shares(self) -> Float[Array, "networks sources"]:
        """Weights of the networks, which sum to one for every source."""
        count, sources = self.config.networks, len(self.sources)
        weights = np.array(self.config.weights or (1.0,) * (count * sources))
        weights = weights.reshape(count, sources)
        return jnp.asarray(weights / weights.sum(0))

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """The taps of the waveform's first layer, channel after channel, for plots."""
        taps = self.parts["time_encoder_0"]["conv"]["kernel"]
        taps = jnp.moveaxis(taps, -3, 0)
        return {"encoder/filters": taps.reshape(len(taps), -1)}


@MODELS.register("htdemucs")
def hybrid_demucs(
    config: HTDemucsConfig | HDemucsConfig,
    *,
    sources: tuple[str, ...],
    sample_rate: int,
) -> HybridDemucs:
    """Hybrid Demucs of the configured kind and size."""
    return HybridDemucs(config, sources, sample_rate)
