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


def xavier_conv(
    key: Array, length: int, filters: int
) -> Float[Array, "length filters"]:
    """Xavier normal taps of a one-channel convolution, variance 2 / (L (N + 1)).

    Example:
        >>> xavier_conv(jax.random.key(0), 20, 440).shape
        (20, 440)
    """
    scale = (2 / (length * (filters + 1))) ** 0.5
    return scale * jax.random.normal(key, (length, filters))


def declare(module: nn.Module, init: dict[str, Array]) -> dict[str, Array]:
    """Parameters of a module that start at given values and need no randomness."""
    return {
        name: module.param(name, lambda key, value=value: value)
        for name, value in init.items()
    }


class ConvBank(nn.Module):
    """Free taps, Xavier-normal or initialised as gammatones (thesis gammatone_init)."""

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
        if not self.gammatone_init:
            return xavier_conv(key, self.length, self.filters)
        params = filterbanks.init_gammatone(
            self.filters, sample_rate=self.sample_rate, spacing=self.init_type
        )
        physical = filterbanks.gammatone_params_to_physical(params)
        taps = filterbanks.gammatone_kernel(*physical, self.length)
        # Xavier's scale, so that both initialisations start equally loud.
        return taps * (2 / (self.length * (self.filters + 1))) ** 0.5


class SincBank(nn.Module):
    """Band-pass filters with learnable edges, as even and odd pairs by default."""

    filters: int
    length: int
    sample_rate: int
    init_type: str = "mel"
    phase: str = "analytic"
    parameters: str = "logits"

    @nn.compact
    def __call__(self) -> Float[Array, "length filters"]:
        """Taps computed from the present edges."""
        bands = -(-self.filters // 2) if self.phase == "analytic" else self.filters
        layout = dict(sample_rate=self.sample_rate, spacing=self.init_type)
        if self.parameters == "hz":
            params = declare(self, filterbanks.init_sinc_hz(bands, **layout))
            rate = self.sample_rate
            low, high = filterbanks.sinc_hz_to_bands(params, sample_rate=rate)
        else:
            params = declare(self, filterbanks.init_sinc(bands, **layout))
            low, high = filterbanks.sinc_params_to_bands(params)
        taps = filterbanks.sinc_kernel(low, high, self.length, phase=self.phase)
        return taps[:, : self.filters]


class GammatoneBank(nn.Module):
    """Gammatones with learnable centre, bandwidth and phase (pmpgtf)."""

    filters: int
    length: int
    sample_rate: int
    init_type: str = "mel"
    normalize: str = "rms"
    parameters: str = "logits"

    @nn.compact
    def __call__(self) -> Float[Array, "length filters"]:
        """Taps computed from the present centres, bandwidths and phases."""
        count, rate = self.filters, self.sample_rate
        layout = dict(sample_rate=rate, spacing=self.init_type)
        if self.parameters == "hz":
            params = declare(self, filterbanks.init_gammatone_hz(count, **layout))
            physical = filterbanks.gammatone_hz_to_physical(params, sample_rate=rate)
        else:
            params = declare(self, filterbanks.init_gammatone(count, **layout))
            physical = filterbanks.gammatone_params_to_physical(params)
        return filterbanks.gammatone_kernel(
            *physical, self.length, normalize=self.normalize == "rms"
        )


class InverseBank(nn.Module):
    """The pseudo-inverse of another bank, recomputed and differentiated each step."""

    bank: nn.Module
    stride: int

    def __call__(self) -> Float[Array, "length filters"]:
        """Taps that undo the other bank's at this stride."""
        return pinv_kernel(self.bank(), self.stride).T


@BANKS.register("conv")
def conv_bank(
    config: TasNetConfig, filters: int, length: int, sample_rate: int
) -> ConvBank:
    """A free convolution."""
    return ConvBank(
        filters,
        length,
        sample_rate,
        gammatone_init=config.gammatone_init,
        init_type=config.init_type,
    )


@BANKS.register("param_sinc")
def sinc_bank(
    config: TasNetConfig, filters: int, length: int, sample_rate: int
) -> SincBank:
    """Parametrised sinc filters."""
    return SincBank(
        filters,
        length + (config.force_odd and length % 2 == 0),
        sample_rate,
        init_type=config.init_type,
        phase=config.phase,
        parameters=config.fb_parameters,
    )


@BANKS.register("pmpgtf")
def gammatone_bank(
    config: TasNetConfig, filters: int, length: int, sample_rate: int
) -> GammatoneBank:
    """Parametrised multi-phase gammatone filters."""
    return GammatoneBank(
        filters,
        length,
        sample_rate,
        init_type=config.init_type,
        normalize=config.normalize,
        parameters=config.fb_parameters,
    )
