"""A Wavenet that hears past and future and estimates all sources at once.

Reference: Lluís, Pons and Serra 2018, "End-to-end music source separation: is it
possible in the waveform domain?"; Rethage, Pons and Serra 2018, "A Wavenet for speech
denoising"; francesclluis/source-separation-wavenet.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.masking import waves_of_sources
from sepjax.functional.tcn import receptive_field
from sepjax.functional.tcn.depthwise import pad_frames, reach, tap_offsets, window
from sepjax.models.contract import Separation, SeparationModel
from sepjax.models.registry import MODELS
from sepjax.models.wavenet.config import WavenetConfig

XAVIER = nn.initializers.xavier_uniform(in_axis=-2, out_axis=-1, batch_axis=0)


def gated_blocks(
    dilated: Float[Array, "blocks taps channels gates"],
    output: Float[Array, "blocks channels outputs"],
    x: Float[Array, "batch time channels"],
    *,
    layers: int,
) -> Float[Array, "batch time skips"]:
    r"""Sum the skips of blocks of dilated convolutions with gates.

    .. math:: z = \tanh(V * x) \odot \sigma(W * x), \quad
              x \leftarrow x + A z, \quad s \leftarrow s + B z

    with the dilations 1, 2, 4 ... of ``layers`` blocks again and again; zeros stand
    before and after the signal.

    Args:
        dilated: V and W of every block, side by side.
        output: A and B of every block, side by side.
        x: input, to whose type the kernels are cast.
        layers: blocks until the dilation is 1 again.

    Example:
        >>> kernels = jnp.ones((2, 3, 4, 8)), jnp.ones((2, 4, 9))
        >>> gated_blocks(*kernels, jnp.ones((1, 10, 4)), layers=2).shape
        (1, 10, 5)
    """
    blocks, taps, channels, _ = dilated.shape
    left, right = reach(taps, 2 ** (layers - 1), causal=False)

    def block(carry: tuple[Array, Array], own: tuple) -> tuple[tuple, None]:
        (x, skips), (kernel, output, dilation) = carry, own
        padded = pad_frames(x, left, right)
        offsets = tap_offsets(taps, dilation, causal=False)
        pieces = [window(padded, left + offset, x.shape[1]) for offset in offsets]
        gates = jnp.concatenate(pieces, -1) @ kernel.reshape(taps * channels, -1)
        signal, gate = jnp.split(gates, 2, axis=-1)
        both = (jnp.tanh(signal) * jax.nn.sigmoid(gate)) @ output
        return (x + both[..., :channels], skips + both[..., channels:]), None

    dilations = 2 ** (jnp.arange(blocks) % layers)
    kernels = (dilated.astype(x.dtype), output.astype(x.dtype), dilations)
    skips = jnp.zeros((*x.shape[:-1], output.shape[-1] - channels), x.dtype)
    # Only what enters a block is kept for the backward pass.
    block = jax.checkpoint(block, prevent_cse=False)
    return jax.lax.scan(block, (x, skips), kernels)[0][1]


@MODELS.register("wavenet")
class Wavenet(SeparationModel):
    """Convolution, blocks with skips, ReLU, two more convolutions, 1x1.

    Convolutions have no biases but the last; kernels are Xavier-uniform. The last
    source is what the estimates leave of the mixture.

    Contract: ``(batch, time) -> Separation`` with ``estimates (batch, sources, time)``
    and neither masks nor latent; with ``audio_channels=2`` it takes ``(batch, 2,
    time)`` and estimates ``(batch, sources, 2, time)``. Any time will do.
    """

    config: WavenetConfig
    sources: tuple[str, ...]
    sample_rate: int
    objective = WavenetConfig.objective

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input."""
        return self.config.audio_channels

    @nn.compact
    def __call__(self, mixture: Float[Array, "batch *channels time"]) -> Separation:
        """Separate a batch of mixtures."""
        config, count = self.config, self.audio_channels
        x = jnp.swapaxes(mixture.reshape(len(mixture), count, -1), 1, 2)
        options = dict(kernel_init=nn.initializers.xavier_uniform())
        options |= dict(dtype=config.compute_dtype)

        def convolve(name: str, x: Array, width: int) -> Array:
            taps = (config.kernel,)
            return nn.Conv(width, taps, use_bias=False, name=name, **options)(x)

        x = convolve("input", x, config.channels)
        x = gated_blocks(**self.param("blocks", self._draw), x=x, layers=config.layers)
        x = convolve("hidden", nn.relu(x), config.hidden)
        x = convolve("last", nn.relu(x), config.last)
        difference = config.difference and len(self.sources) > 1
        outputs = len(self.sources) - difference
        x = nn.Dense(outputs * count, name="output", **options)(x)
        return Separation(waves_of_sources(x, mixture, difference=difference))

    def _draw(self, key: Array) -> Mapping[str, Array]:
        config, first, second = self.config, *jax.random.split(key)
        blocks, width = config.layers * config.stack, config.channels
        dilated = (blocks, config.kernel, width, 2 * width)
        output = (blocks, width, width + config.skip)
        return {"dilated": XAVIER(first, dilated), "output": XAVIER(second, output)}

    def decays(self, path: tuple[str, ...]) -> bool:
        """Return true for kernels, those of the blocks among them."""
        return path[-1] != "bias"

    def describe(self, time: int) -> dict[str, str]:
        """Return how many samples a sample of the blocks depends on."""
        config = self.config
        context = receptive_field(config.layers, config.stack, config.kernel)
        seconds = context / self.sample_rate
        return {"receptive field": f"{context} samples, {seconds:.2f} s"}
