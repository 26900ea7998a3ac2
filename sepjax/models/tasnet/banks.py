"""Banks: modules that own the parameters of a kernel and return its taps.

Contract: a bank called without arguments returns a kernel ``(length, filters)``. An
encoder and a decoder may share one bank; a pseudo-inverse does so.
"""

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from sepjax.functional import filterbanks
from sepjax.functional.inverse import pinv_kernel
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.registry import BANKS


def declare(module: nn.Module, init: dict[str, Array]) -> dict[str, Array]:
    """Parameters of a module that start at given values and need no randomness."""
    return {
        name: module.param(name, lambda key, value=value: value)
        for name, value in init.items()
    }


class ConvBank(nn.Module):
    """Free taps, Xavier-normal or initialised as gammatones (thesis gammatone_init).

    Xavier's variance is 2 / (L (N + 1)); gammatones are as loud.
    """

    filters: int
    length: int
    sample_rate: int
    gammatone_init: bool = False
    init_type: str = "mel"

    @nn.compact
    def __call__(self) -> Float[Array, "length filters"]:
        """The taps themselves."""
        return self.param("kernel", self._init)

    def _init(self, key: Array) -> Float[Array, "length filters"]:
        scale = (2 / (self.length * (self.filters + 1))) ** 0.5
        if not self.gammatone_init:
            return scale * jax.random.normal(key, (self.length, self.filters))
        params = filterbanks.init_gammatone(
            self.filters, sample_rate=self.sample_rate, spacing=self.init_type
        )
        physical = filterbanks.gammatone_params_to_physical(params)
        return filterbanks.gammatone_kernel(*physical, self.length) * scale


@BANKS.register("param_sinc")
class SincBank(nn.Module):
    """Band-pass filters with learnable edges, as even and odd pairs by default."""

    config: TasNetConfig
    filters: int
    length: int
    sample_rate: int

    @nn.compact
    def __call__(self) -> Float[Array, "length filters"]:
        """Taps computed from the present edges."""
        config, rate = self.config, self.sample_rate
        bands = -(-self.filters // 2) if config.phase == "analytic" else self.filters
        layout = dict(sample_rate=rate, spacing=config.init_type)
        if config.fb_parameters == "hz":
            params = declare(self, filterbanks.init_sinc_hz(bands, **layout))
            low, high = filterbanks.sinc_hz_to_bands(params, sample_rate=rate)
        else:
            params = declare(self, filterbanks.init_sinc(bands, **layout))
            low, high = filterbanks.sinc_params_to_bands(params)
        length = self.length + (config.force_odd and self.length % 2 == 0)
        form = dict(window=config.window, phase=config.phase, gain=config.gain)
        taps = filterbanks.sinc_kernel(low, high, length, **form)
        return taps[:, : self.filters]


@BANKS.register("pmpgtf")
class GammatoneBank(nn.Module):
    """Multi-phase gammatones with learnable centre, bandwidth and phase."""

    config: TasNetConfig
    filters: int
    length: int
    sample_rate: int

    @nn.compact
    def __call__(self) -> Float[Array, "length filters"]:
        """Taps computed from the present centres, bandwidths and phases."""
        config, count, rate = self.config, self.filters, self.sample_rate
        layout = dict(sample_rate=rate, spacing=config.init_type)
        if config.fb_parameters == "hz":
            params = declare(self, filterbanks.init_gammatone_hz(count, **layout))
            physical = filterbanks.gammatone_hz_to_physical(params, sample_rate=rate)
        else:
            params = declare(self, filterbanks.init_gammatone(count, **layout))
            physical = filterbanks.gammatone_params_to_physical(params)
        normalize = config.normalize == "rms"
        return filterbanks.gammatone_kernel(*physical, self.length, normalize=normalize)


class InverseBank(nn.Module):
    """The pseudo-inverse of another bank, recomputed and differentiated each step."""

    bank: nn.Module
    stride: int

    def __call__(self) -> Float[Array, "length filters"]:
        """Taps that undo the other bank's at this stride."""
        return pinv_kernel(self.bank(), self.stride).T


def count_taps(bank: nn.Module) -> int:
    """Count the taps of any bank's filters, without computing them.

    Example:
        >>> count_taps(ConvBank(filters=5, length=16, sample_rate=8000))
        16
    """
    made = jax.eval_shape(lambda: bank.init_with_output(jax.random.key(0))[0])
    return made.shape[0]


class WithBank(nn.Module):
    """What an encoder or a decoder with one bank shows of it."""

    bank: nn.Module

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """The taps of the bank, for plots."""
        return {"filters": self.bank()}


@BANKS.register("conv")
def conv_bank(
    config: TasNetConfig, filters: int, length: int, sample_rate: int
) -> ConvBank:
    """A free convolution."""
    init = dict(gammatone_init=config.gammatone_init, init_type=config.init_type)
    return ConvBank(filters, length, sample_rate, **init)
