"""Separators: latent frames to one mask per source.

Contract: ``(batch, frames, latent) -> masks (batch, sources, frames, latent)``. With a
state, and which frames are valid, causal ones return the new state before the masks.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sepjax.functional.masking import ratio_mask
from sepjax.functional.norms import (
    cumulative_norm,
    cumulative_norm_state,
    cumulative_norm_step,
    frame_norm,
    global_norm,
    prelu,
)
from sepjax.functional.recurrent import init_lstm, lstm, lstm_state, lstm_step
from sepjax.functional.tcn import init_tcn, init_tcn_state, tcn, tcn_step
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.registry import SEPARATORS

INPUT_NORMS = {
    "global": global_norm,
    "frame": frame_norm,
    "cumulative": cumulative_norm,
}
MASK_ACTIVATIONS = {
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "linear": lambda logits: logits,
    "softmax": lambda logits: jax.nn.softmax(logits, axis=1),
}


class TcnSeparator(nn.Module):
    """Norm, 1x1, temporal convolutional network, PReLU, 1x1, activation.

    Matmuls and activations have ``compute_dtype``, parameters and the statistics of
    norms float32, masks the type of the latent.
    """

    config: TasNetConfig
    sources: int

    @nn.compact
    def __call__(
        self,
        latent: Float[Array, "batch frames latent"],
        state: Any = None,
        *valid: Array,
    ) -> Any:
        """Estimate the masks (thesis 2.3.4)."""
        config, width = self.config, latent.shape[-1]
        dtype = jnp.dtype(config.compute_dtype)
        gain = self.param("norm_gain", nn.initializers.ones, (width,))
        bias = self.param("norm_bias", nn.initializers.zeros, (width,))
        dense = dict(use_bias=config.bias, dtype=dtype)
        new = dict(state or {})
        if "norm" in new:
            norm = new["norm"], latent, gain, bias, *valid
            new["norm"], hidden = cumulative_norm_step(*norm)
        else:
            hidden = INPUT_NORMS[config.input_norm](latent, gain, bias)
        hidden, new["network"] = self._hidden(hidden, dense, new.get("network"), *valid)
        # Flat rows spare the gradients of the weights a transposed copy on CPU.
        hidden = hidden.reshape(-1, hidden.shape[-1])
        logits = nn.Dense(self.sources * width, name="mask", **dense)(hidden)
        logits = logits.reshape(*latent.shape[:-1], self.sources, width)
        masks = MASK_ACTIVATIONS[config.mask_act](jnp.moveaxis(logits, -2, 1))
        masks = masks.astype(latent.dtype)
        return masks if state is None else (new, masks)

    def init_state(self, batch: int) -> dict[str, Any]:
        """Return the state before the first frame: of the norm and of the network."""
        cumulative = self.config.input_norm == "cumulative"
        norm = {"norm": cumulative_norm_state(batch)} if cumulative else {}
        return norm | {"network": self._network_state(batch)}

    def _network_state(self, batch: int) -> Any:
        config = self.config
        shape = dict(layers=config.layers, stacks=config.stack, width=config.kernel)
        form = dict(norm=config.norm, dtype=config.compute_dtype)
        return init_tcn_state(batch, **shape, hidden=config.H, **form)

    def _hidden(
        self, normed: Array, dense: dict, state: Any, *valid: Array
    ) -> tuple[Array, Any]:
        config = self.config
        hidden = normed.reshape(-1, normed.shape[-1])
        hidden = nn.Dense(config.B, name="bottleneck", **dense)(hidden)
        hidden = hidden.reshape(*normed.shape[:-1], config.B)
        hidden, state = self._network(hidden, state, *valid)
        if config.skip or config.output_prelu:
            slope = self.param("prelu", nn.initializers.constant(0.25), ())
            hidden = prelu(hidden, slope)
        return hidden, state

    def _network(self, hidden: Array, state: Any, *valid: Array) -> tuple[Array, Any]:
        config = self.config
        shape = dict(layers=config.layers, stacks=config.stack)
        sizes = dict(bottleneck=config.B, hidden=config.H, width=config.kernel)
        sizes |= dict(skip=config.skip, bias=config.bias)
        params = self.param("tcn", functools.partial(init_tcn, **shape, **sizes))
        if state is not None:
            form = dict(stacks=config.stack, norm=config.norm)
            state, hidden = tcn_step(params, state, hidden, *valid, **form)
            return hidden, state
        form = dict(causal=config.causal, norm=config.norm)
        return tcn(params, hidden, **shape, **form), None


class LstmSeparator(TcnSeparator):
    r"""Norm, recurrent layers with a shortcut around every two, 1x1, activation.

    .. math:: h_{2i} = \mathrm{LSTM}(\mathrm{LSTM}(h_{2i-2})) + h_{2i-2}

    for :math:`i > 1`; the latent has no shortcut, as it has other channels: a guess. It
    hears both directions, the past alone where ``causal``.

    Reference:
        Luo and Mesgarani 2018, TasNet: time-domain audio separation network for
        real-time, single-channel speech separation.
    """

    def _network_state(self, batch: int) -> Any:
        config = self.config
        one = lstm_state(batch, config.lstm_hidden, config.compute_dtype)
        return [one] * config.lstm_layers

    def _hidden(
        self, normed: Array, dense: dict, state: Any, *valid: Array
    ) -> tuple[Array, Any]:
        config, x, before = self.config, normed.astype(dense["dtype"]), None
        sizes = dict(hidden=config.lstm_hidden, directions=2 - config.causal)
        new = []
        for layer in range(config.lstm_layers):
            draw = functools.partial(init_lstm, inputs=x.shape[-1], **sizes)
            params = self.param(f"lstm_{layer}", draw)
            if state is None:
                x = lstm(params, x)
            else:
                after, x = lstm_step(params, state[layer], x, *valid)
                new.append(after)
            if layer % 2:
                x = before = x if before is None else x + before
        return x, new


class SeparatorPerSource(nn.Module):
    """A whole separator for every source, side by side (thesis large_tcn).

    The same as one network of as many times the channels whose layers are divided into
    one group per source. Only the activation may join the sources.
    """

    config: TasNetConfig
    sources: int

    @nn.compact
    def __call__(
        self,
        latent: Float[Array, "batch frames latent"],
        state: Any = None,
        *valid: Array,
    ) -> Any:
        """Estimate the masks."""
        streams = state is not None
        each = nn.vmap(
            TcnSeparator,
            in_axes=(None, 0, *(None for _ in valid)) if streams else None,
            out_axes=(0, 1) if streams else 1,
            axis_size=self.sources,
            variable_axes={"params": 0},
            split_rngs={"params": True},
        )
        one = each(self._one, 1, name="each")
        if streams:
            state, logits = one(latent, state, *valid)
        else:
            logits = one(latent)
        masks = MASK_ACTIVATIONS[self.config.mask_act](logits[:, :, 0])
        return (state, masks) if streams else masks

    @property
    def _one(self) -> TasNetConfig:
        """The configuration of the separator of one source."""
        config = self.config
        shared = config.large_tcn_width == "total"
        hidden = config.H // self.sources if shared else config.H
        return dataclasses.replace(config, mask_act="linear", H=hidden)

    def init_state(self, batch: int) -> dict[str, Any]:
        """Return the states of all separators, along the leading axis."""
        state = TcnSeparator(self._one, 1, parent=None).init_state(batch)
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * self.sources), state)


@SEPARATORS.register("tcn")
def tcn_separator(
    config: TasNetConfig, sources: int
) -> TcnSeparator | SeparatorPerSource:
    """The separator of Conv-TasNet, or one of them for every source."""
    return (SeparatorPerSource if config.large_tcn else TcnSeparator)(config, sources)


@SEPARATORS.register("lstm")
def lstm_separator(config: TasNetConfig, sources: int) -> LstmSeparator:
    """One recurrent network for all sources."""
    return LstmSeparator(config, sources)


@SEPARATORS.register("ideal_mask")
def ideal_mask(config: TasNetConfig, sources: int) -> Callable[[Array], Array]:
    """Ideal ratio masks from the sources' own latents: FB-IRM (thesis eq. 5.1)."""
    return ratio_mask
