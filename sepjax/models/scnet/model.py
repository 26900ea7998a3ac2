"""SCNet: spectra by a network that compresses bands, the higher the more.

Images are ``(batch, frames, bins, channels)``.

Reference: Tong et al. 2024, "SCNet: sparse compression network for music source
separation"; starrytong/SCNet.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sepjax.functional.dense import dense
from sepjax.functional.framing import center, fit, frame, overlap_add
from sepjax.functional.norms import gelu, place_norm
from sepjax.functional.recurrent import init_lstm, lstm
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.demucs.model import convolve, convolve_transposed
from sepjax.models.htdemucs import layers
from sepjax.models.htdemucs.layers import Image, Part
from sepjax.models.htdemucs.model import standardize
from sepjax.models.registry import MODELS
from sepjax.models.scnet.config import ScnetConfig

AXES = {"bins": 2, "frames": 1}  # along which a dual path has recurrent layers


def _draw(key: Array, form: Any) -> Any:
    """Draw trees of norms (channels), layers (*taps, inputs, outputs), and stacks."""
    if isinstance(form, dict):
        keys = jax.random.split(key, len(form))
        return {name: _draw(k, each) for k, (name, each) in zip(keys, form.items())}
    if not isinstance(form, tuple):
        return layers.draw_norm(form) if isinstance(form, int) else form(key)
    if isinstance(form[1], dict):  # how many, and of what
        each = functools.partial(_draw, form=form[1])
        return jax.vmap(each)(jax.random.split(key, form[0]))
    part = layers.draw_linear(key, int(np.prod(form[:-1])), form[-1])
    return {**part, "kernel": part["kernel"].reshape(form)}


def network_parts(config: ScnetConfig, sources: int) -> dict[str, Callable]:
    """Return, for each part of the parameters, the function that draws the part.

    Layers are counted from the outside. All ``residuals`` of a layer's bands lie along
    a leading axis, and so do ``pairs`` of dual paths, of frames and of their spectrum.
    """
    forms, taps = dict[str, Any](), config.branch_kernel
    before = 2 * config.audio_channels  # channels: real and imaginary parts
    for n, width in enumerate(config.channels):
        hidden, outputs = width // config.compress, before if n else sources * before
        residual = {"norm1": width, "norm2": hidden, "output": (hidden, width)}
        residual |= {"conv": (taps, width, 2 * hidden), "depthwise": (taps, hidden)}
        bands = {f"band_{b}": bins for b, bins in enumerate(config.kernels)}
        forms[f"encoder_{n}"] = {b: (bins, before, width) for b, bins in bands.items()}
        forms[f"encoder_{n}"] |= {"residuals": (sum(config.depths), residual)}
        forms[f"encoder_{n}"] |= {"join": (3, 3, width, width)}
        forms[f"decoder_{n}"] = {b: (bins, width, outputs) for b, bins in bands.items()}
        forms[f"decoder_{n}"] |= {"mix": (3, 3, 2 * width, 2 * width)}
        before = width
    pair = dict[str, Any]()
    for name, width in (("plain", before), ("spectral", 2 * before)):
        hidden = width * config.expand
        recurrent = functools.partial(init_lstm, inputs=width, hidden=hidden)
        form = {"norm": width, "lstm": recurrent, "linear": (2 * hidden, width)}
        pair[name] = dict.fromkeys(AXES, form)
    forms["pairs"] = (config.dual_paths // 2, pair)
    return {name: functools.partial(_draw, form=form) for name, form in forms.items()}


def encode(part: Part, x: Image, bands: list, depths: tuple[int, ...]) -> Image:
    """Compress bands (:meth:`ScnetConfig.bands`) by their strides, side by side."""
    made, ends = list[Image](), [0, *np.cumsum(depths)]
    cut = jnp.split(x, np.cumsum([size for size, *_ in bands])[:-1], axis=2)
    for n, (y, (size, taps, stride)) in enumerate(zip(cut, bands)):
        missing = -size % stride if n else taps - 1
        edges = (missing // 2, missing - missing // 2)
        y = jnp.pad(y, ((0, 0), (0, 0), edges, (0, 0)))
        y = jax.vmap(functools.partial(convolve, part[f"band_{n}"], stride=stride))(y)
        own = jax.tree.map(lambda p, n=n: p[ends[n] : ends[n + 1]], part["residuals"])
        y, _ = jax.lax.scan(lambda y, p: (add_residual(p, y), None), y, own)
        made.append(gelu(y))
    return jnp.concatenate(made, axis=2)


def add_residual(part: Part, x: Image) -> Image:
    """Add convolutions along the frames of every bin: gated, depthwise, and dense."""

    def norm(name: str, y: Image) -> Image:
        return place_norm(y, part[name]["gain"], part[name]["bias"], layers.EPSILON)

    y = jax.nn.glu(layers.convolve_rows(part["conv"], norm("norm1", x), 1))
    taps, bias = (part["depthwise"][n].astype(x.dtype) for n in ("kernel", "bias"))
    y = jnp.pad(y, ((0, 0), (len(taps) // 2,) * 2, (0, 0), (0, 0)))
    rows = (y[:, n : n + x.shape[1]] * t[None, None, None] for n, t in enumerate(taps))
    y = jax.nn.silu(norm("norm2", sum(rows) + bias[None, None, None]))
    return x + dense(part["output"], y)


def run_pair(part: Part, x: Image) -> Image:
    """Run two dual paths, the second over the orthonormal spectrum of the frames."""
    x = dual_path(part["plain"], x)
    spectrum = jnp.fft.rfft(x.astype(jnp.float32), axis=1, norm="ortho")
    y = jnp.concatenate([spectrum.real, spectrum.imag], axis=-1).astype(x.dtype)
    parts = jnp.split(dual_path(part["spectral"], y).astype(jnp.float32), 2, axis=-1)
    y = jnp.fft.irfft(jax.lax.complex(*parts), x.shape[1], axis=1, norm="ortho")
    return y.astype(x.dtype)


def dual_path(part: Part, x: Image) -> Image:
    """Add what recurrent layers hear along the bins, and then along the frames."""
    for name, axis in AXES.items():
        y = jnp.moveaxis(layers.norm(part[name]["norm"], x), axis, 2)
        rows = lstm(part[name]["lstm"], y.reshape(-1, *y.shape[2:]))
        rows = dense(part[name]["linear"], rows).reshape(y.shape)
        x = x + jnp.moveaxis(rows, 2, axis)
    return x


def decode(part: Part, x: Image, bands: list) -> Image:
    """Undo :func:`encode`, of the sum of what comes and what it made."""
    # Channels stand there twice: kernels of both halves are one.
    kernel = sum(jnp.split(part["mix"]["kernel"], 2, axis=2))
    x = jax.nn.glu(layers.convolve({**part["mix"], "kernel": kernel}, x))
    made, ends = list[Image](), np.cumsum([-(-n // stride) for n, _, stride in bands])
    for n, y in enumerate(jnp.split(x, ends[:-1], axis=2)):
        form = functools.partial(convolve_transposed, part[f"band_{n}"])
        y = jax.vmap(functools.partial(form, stride=bands[n][2]))(y)
        made.append(center(y, bands[n][0], axis=2))
    return jnp.concatenate(made, axis=2)


@MODELS.register("scnet")
class Scnet(SeparationModel):
    """SCNet: ``(batch, 2, time)`` to estimates ``(batch, sources, 2, time)``.

    With one audio channel ``(batch, time)`` to ``(batch, sources, time)``. Any time
    will do; there are neither masks nor latent.
    """

    config: ScnetConfig
    sources: tuple[str, ...]
    sample_rate: int
    objective = ScnetConfig.objective

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    def setup(self) -> None:
        """Declare the parameters."""
        parts = network_parts(self.config, len(self.sources))
        self.parts = {name: self.param(name, part) for name, part in parts.items()}

    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures."""
        config, (batch, *wave, time) = self.config, mixture.shape
        # An even number of frames; a reflection needs more samples than half a frame.
        hops = max(time // config.hop, config.n_fft // 2 // config.hop) + 1 | 1
        x = fit(mixture.reshape(batch, -1, time), hops * config.hop)
        edge, scale = config.n_fft // 2, config.n_fft**0.5
        x = jnp.pad(x, ((0, 0), (0, 0), (edge, edge)), mode="reflect")
        # The window is rectangular, and the transform orthonormal.
        spectra = jnp.fft.rfft(frame(x, config.n_fft, config.hop)) / scale
        x = jnp.stack([spectra.real, spectra.imag], axis=2)
        x = jnp.moveaxis(x.reshape(batch, -1, *x.shape[3:]), 1, -1)
        x, mean, deviation = standardize(x) if config.standardize else (x, 0.0, 1.0)
        y = self.network(x.astype(config.compute_dtype)).astype(x.dtype)
        y = jnp.moveaxis(y * deviation + mean, -1, 1) * scale
        frames = jnp.fft.irfft(jax.lax.complex(y[:, 0::2], y[:, 1::2]), config.n_fft)
        count = overlap_add(jnp.ones(frames.shape[-2:], x.dtype), config.hop)
        waves = overlap_add(frames, config.hop) / count[None, None]
        return Separation(fit(waves[..., edge:], time).reshape(batch, -1, *wave, time))

    def network(self, x: Image) -> Image:
        """Real and imaginary parts of all sources, of those of an even frame count."""
        parts, bands, skips = self.parts, self.config.bands(), list[Image]()
        for n, layer in enumerate(bands):
            skips.append(encode(parts[f"encoder_{n}"], x, layer, self.config.depths))
            x = layers.convolve(parts[f"encoder_{n}"]["join"], skips[-1])
        run = jax.checkpoint(run_pair) if self.config.remat else run_pair
        x, _ = jax.lax.scan(lambda x, part: (run(part, x), None), x, parts["pairs"])
        for n in reversed(range(len(bands))):
            x = decode(parts[f"decoder_{n}"], x + skips[n], bands[n])
        return x
