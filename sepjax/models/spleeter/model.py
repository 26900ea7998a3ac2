"""Spleeter: a U-Net of magnitudes for each source, and ratio masks between them.

Reference: Hennequin, Khlif, Voituret and Moussallam 2020, "Spleeter: a fast and
efficient music source separation tool with pre-trained models"; deezer/spleeter 2.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from sepjax.functional.framing import fit, overlap_add
from sepjax.functional.spectral import hann, stft
from sepjax.functional.wiener import wiener_em
from sepjax.models.contract import Separation, Tiling, Variables
from sepjax.models.magnitudes import MagnitudeSeparation
from sepjax.models.registry import MODELS
from sepjax.models.spleeter.config import SpleeterConfig
from sepjax.models.spleeter.network import halve, transform_kernels, u_net, u_net_parts

PREPARED = "prepared"  # collection of what a CPU separates with
Magnitudes = Float[Array, "batch frames channels bins"]
Estimates = Float[Array, "targets batch channels frames bins"]


def ratio_masks(estimates: Estimates) -> Estimates:
    r"""Return each target's share of the power.

    .. math:: R_i = \frac{E_i^2 + 10^{-10} / I}{\sum_j E_j^2 + 10^{-10}}

    Example:
        >>> masks = ratio_masks(jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1, 1))
        >>> (10 * masks).round().ravel().tolist()
        [1.0, 9.0]
    """
    power = jnp.square(estimates)
    whole = functools.reduce(jnp.add, power)[None]  # quicker than a sum
    return (power + 1e-10 / len(power)) / (whole + 1e-10)


class Spleeter(MagnitudeSeparation):
    """Spleeter for all sources; parameters have a leading axis over sources.

    Contract as :class:`~sepjax.models.magnitudes.MagnitudeSeparation`. The networks
    hear patches of frames, which see nothing of each other, and the last of which ends
    in zeros: so the estimates depend on where a song begins. :meth:`tile` is one patch.
    """

    statistics = MappingProxyType[str, Callable[[Any, Any], Any]]({})
    objective = SpleeterConfig.objective
    rngs = ("dropout",)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the estimates."""
        return self.targets

    @property
    def heard(self) -> int:
        """Number of the lowest bins that the networks hear."""
        return self.config.bins

    @property
    def batch_norms(self) -> tuple[str, ...]:
        """Names of the norms: all but the last layer of the encoder have one."""
        depth = range(1, len(self.config.filters) + 1)
        encoder = [f"encoder_norm_{n}" for n in depth[:-1]]
        return (*encoder, *(f"decoder_norm_{n}" for n in depth))

    @property
    def tiling(self) -> Tiling | None:
        """A patch, as samples; with a Wiener filter songs are separated as wholes."""
        return None if self.config.wiener_iterations else self._patches

    @property
    def _patches(self) -> Tiling:
        config = self.config
        hop = config.patch_frames * config.hop
        before = config.n_fft if config.padded else 0
        return Tiling(hop + config.n_fft - config.hop, hop, before)

    def setup(self) -> None:
        """Declare parameters and statistics, those of all targets side by side."""
        config = self.config
        self._declare(u_net_parts(channels=self.audio_channels, filters=config.filters))

    def magnitudes(
        self, mixture: Magnitudes, *, train: bool = False, axis_name: str | None = None
    ) -> Float[Array, "batch targets frames channels bins"]:
        """Estimate the magnitudes of every target, in the bins that are heard."""
        # Gradients of kernels within a loop are slow on CPUs.
        options = dict(train=train, axis_name=axis_name, unroll=True)
        estimates = self._estimates(jnp.swapaxes(mixture, 1, 2), **options)
        return estimates.transpose(1, 0, 3, 2, 4)

    def _estimates(
        self, spectra: Float[Array, "batch channels frames all_bins"], **options: Any
    ) -> Estimates:
        """Magnitudes of every target.

        Frames are split into patches; fewer than a patch are one short patch, with
        zeros behind.
        """
        batch, channels, frames, _ = spectra.shape
        step = 2 ** len(self.config.filters)
        size = min(self.config.patch_frames, -(-frames // step) * step)
        padding = ((0, 0), (0, -frames % size), (0, 0), (0, 0))
        heard = jnp.moveaxis(spectra[..., : self.heard], 1, -1)
        image = jnp.pad(heard, padding).reshape(-1, size, self.heard, channels)
        estimates = self._masks(image, **options) * image[None]
        estimates = estimates.reshape(
            -1, batch, frames + padding[1][1], *heard.shape[2:]
        )
        return jnp.moveaxis(estimates[:, :, :frames], -1, 2)

    def _masks(
        self, image: Array, *, train: bool, axis_name: str | None, unroll: bool = False
    ) -> Float[Array, "targets batch frames bins channels"]:
        config, count = self.config, len(self.targets)
        noisy = train and config.dropout
        keys = jax.random.split(self.make_rng("dropout"), count) if noisy else None
        options = dict(train=train, axis_name=axis_name, activation=config.activation)
        options |= dict(dropout=config.dropout, dtype=config.compute_dtype)

        # One after the other: side by side their convolutions would be grouped, which
        # CPUs are slow at.
        def of_one(_: None, own: tuple) -> tuple:
            params, statistics, key = own
            return None, u_net(params, statistics, image, key=key, **options)

        if not train and self.has_variable(PREPARED, "networks"):
            networks = self.get_variable(PREPARED, "networks")
            logits = jnp.stack(self._in_turn(networks, image, options))
        else:
            each = dict(self.parts), self._known(), keys
            _, (logits, new) = jax.lax.scan(of_one, None, each, unroll=unroll)
            self._keep(new, train)
        if config.mask == "softmax":
            return jax.nn.softmax(logits, axis=0)
        return jax.nn.sigmoid(logits)

    def _in_turn(self, networks: Sequence, image: Array, options: dict) -> list[Array]:
        """The logits of all networks, one after the other."""
        # A convolution to the filters of two is quicker than one to those of one.
        layers = [params["encoder_1"] for params, _ in networks]
        kernel, bias = (
            jnp.concatenate([layer[name] for layer in layers], axis=-1)
            for name in ("kernel", "bias")
        )
        firsts = jnp.split(
            halve(image.astype(kernel.dtype), kernel, bias), len(networks), axis=-1
        )
        return [
            u_net(params, statistics, image, first=first, **options)[0]
            for first, (params, statistics) in zip(firsts, networks)
        ]

    def prepared(self, variables: Variables) -> Variables:
        """On a CPU: networks one by one, with kernels that multiply less."""
        if jax.default_backend() != "cpu" or self.config.compute_dtype != "float32":
            return variables
        known = jax.device_get((variables["params"], variables["batch_stats"]))
        networks = []
        for target in range(len(self.targets)):
            params, statistics = jax.tree.map(operator.itemgetter(target), known)
            networks.append((transform_kernels(params), statistics))
        return {**variables, PREPARED: {"networks": jax.device_put(networks)}}

    def __call__(
        self,
        mixture: Float[Array, "batch *channels time"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Separation:
        """Separate whole songs; ``train`` and ``axis_name`` as for ``spectra``.

        Raises:
            ValueError: another number of channels than the model's.
        """
        time = mixture.shape[-1]
        length, hop, before = self._patches
        total = -(-(before + time) // hop) * hop + length - hop
        padding = [(0, 0)] * (mixture.ndim - 1) + [(before, total - before - time)]
        waves = jnp.pad(mixture, padding)
        estimates = self.tile(waves, train=train, axis_name=axis_name).estimates
        return Separation(estimates[..., before : before + time])

    def tile(
        self,
        mixture: Float[Array, "batch *channels time"],
        *,
        train: bool = False,
        axis_name: str | None = None,
    ) -> Separation:
        """Separate the frames within a signal; where they overlap others, add them."""
        config = self.config
        windows = dict(n_fft=config.n_fft, hop=config.hop)
        spectra = stft(self._channels(mixture), **windows, center=False)
        options = dict(train=train, axis_name=axis_name)
        estimates = self._estimates(jnp.abs(spectra), **options)
        frames = jnp.fft.irfft(self._filtered(estimates, spectra), config.n_fft)
        # The squares of a periodic Hann window sum to 3/2 where four overlap.
        window = (hann(config.n_fft) * (2 / 3)).astype(frames.dtype)
        waves = overlap_add(frames * jnp.broadcast_to(window, frames.shape), config.hop)
        waves = jnp.swapaxes(fit(waves, mixture.shape[-1]), 0, 1)
        return Separation(waves.reshape(*waves.shape[:2], *mixture.shape[1:]))

    def _filtered(
        self,
        estimates: Estimates,
        spectra: Complex[Array, "batch channels frames all_bins"],
    ) -> Complex[Array, "targets batch channels frames some_bins"]:
        """Spectra of the targets; bins above those heard are left out where zero."""
        config, bins = self.config, spectra.shape[-1]
        above = [(0, 0)] * 4 + [(0, bins - estimates.shape[-1])]
        if config.wiener_iterations:
            separated = wiener_em(
                jnp.moveaxis(jnp.pad(estimates, above), (0, 2), (1, -1)),
                jnp.moveaxis(spectra, 1, -1),
                iterations=config.wiener_iterations,
                softmask=True,
                variant="norbert",
                excerpt_frames=0,
            )
            return jnp.moveaxis(separated, (1, -1), (0, 2))
        masks = ratio_masks(estimates)
        if config.extension == "average":
            mean = masks.mean(-1, keepdims=True)
            masks = jnp.where(
                jnp.arange(bins) < self.heard, jnp.pad(masks, above), mean
            )
        return masks * spectra[None, ..., : masks.shape[-1]]

    def _heard(self, waves: Array, lead: int) -> Array:
        return super()._heard(waves, lead)[..., : self.heard]

    def observe(self, mixture: Float[Array, "batch *channels time"]) -> None:
        """Nothing: the networks hear magnitudes as they are."""


@MODELS.register("spleeter")
def spleeter(
    config: SpleeterConfig, *, sources: tuple[str, ...], sample_rate: int
) -> Spleeter:
    """Spleeter of the configured size, a network for each of the sources."""
    return Spleeter(sources, sample_rate, config)
