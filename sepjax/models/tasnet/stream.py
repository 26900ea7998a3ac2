"""Masked separation of a stream: what of a configuration is causal, and its frames."""

from collections.abc import Iterator

import flax.linen as nn

from sepjax.functional.framing import reach_of
from sepjax.functional.streaming import Framing
from sepjax.functional.tcn.stream import CAUSAL_NORMS
from sepjax.models.tasnet.banks import count_taps
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.decoders import BankDecoder, BranchDecoder
from sepjax.models.tasnet.encoders import BankEncoder, HybridEncoder

Reach = tuple[int, int]
"""Samples of a frame before its place, and from there on."""


def why_offline(config: TasNetConfig, encoder: nn.Module, decoder: nn.Module) -> str:
    """Return what hears the whole song, and what would not; empty: nothing.

    Example:
        >>> config = TasNetConfig(causal=True, norm="cumulative")
        >>> from sepjax.models.tasnet.banks import ConvBank
        >>> bank = ConvBank(8, 16, 8000)
        >>> why_offline(config, BankEncoder(bank, 8), BankDecoder(bank, 8))
        "model.input_norm='global' hears the whole song: not with ..."
    """
    if config.ideal_mask:
        return "ideal masks need the true sources"
    if not config.causal:
        return "its separator hears the future: not with model.causal=True"
    norms = {"input_norm": config.input_norm}
    if config.separator != "lstm":
        norms["norm"] = config.norm
    for name, norm in norms.items():
        if norm not in CAUSAL_NORMS:
            other = "not with 'cumulative' or 'frame'"
            return f"model.{name}={norm!r} hears the whole song: {other}"
    banks = isinstance(encoder, BankEncoder) or (
        isinstance(encoder, HybridEncoder)
        and all(isinstance(branch, BankEncoder) for branch in encoder.filterbanks)
    )
    if not banks or not isinstance(decoder, BankDecoder | BranchDecoder):
        return (
            f"model.encoding={config.encoding!r} of {config.fb_type!r} hears whole "
            "songs: not with simple, filterbanks, or hybrid of filters"
        )
    return ""


def framing_of(encoder: nn.Module, decoder: nn.Module, stride: int) -> Framing:
    """Return what frames see and add to: the longest filters of both sides count."""
    seen, made = [*_encoder_reaches(encoder)], [*_decoder_reaches(decoder)]
    before, after = (max(sides) for sides in zip(*seen))
    start, stop = (max(sides) for sides in zip(*made))
    return Framing(stride, before, after, start, stop)


def _encoder_reaches(encoder: nn.Module) -> Iterator[Reach]:
    if isinstance(encoder, HybridEncoder):
        for bank in encoder.convolutions:
            yield reach_of(count_taps(bank), encoder.stride)
        for branch in encoder.filterbanks:
            yield from _encoder_reaches(branch)
    else:
        yield _reach(encoder)


def _decoder_reaches(decoder: nn.Module) -> Iterator[Reach]:
    if isinstance(decoder, BranchDecoder):
        for bank in decoder.banks:
            yield reach_of(count_taps(bank), decoder.stride)
    else:
        yield _reach(decoder)


def _reach(part: BankEncoder | BankDecoder) -> Reach:
    length = count_taps(part.bank) // part.channels
    return reach_of(length, part.stride, padding=part.padding)
