"""The configuration of Conv-TasNet, in the letters of the thesis' Table A.1."""

import dataclasses
from collections.abc import Iterable

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, choice, positive, setting
from sepjax.models.tasnet.registry import BANKS, BRANCHES, ENCODERS
from sepjax.registry import nearest

SEPARATOR = "separator"
BANKED = ("filterbanks", "hybrid", "deep")  # encodings of banks by name


@MODEL_CONFIGS.register("tasnet")
@dataclasses.dataclass(unsafe_hash=True)
class TasNetConfig(ModelConfig):
    """Encoding, separator and decoder.

    A class of one's own, for an encoder with more fields, subclasses this one.
    """

    name: str = setting("tasnet", "free")
    encoding: str = "hybrid"  # of ENCODERS: simple, filterbanks, hybrid, deep
    decoder: str = choice("auto", "conv", "filterbank", "hybrid")
    ideal_mask: bool = setting(False, "free")  # FB-IRM oracle (eq. 5.1), no TCN
    N: int = positive(440)  # channels of the latent encoding
    L: int = positive(20)  # encoder kernel, samples
    W: int = positive(20)  # encoder stride, samples
    # Filterbanks
    fb_type: str = "pmpgtf"  # of BANKS: param_sinc ...; in hybrids of BRANCHES too
    fb_ratio: float = 0.5  # share of filterbank channels in a hybrid encoder
    fb_parameters: str = choice("logits", "hz")  # form in which filters are learned
    fb_act: str = choice("none", "relu")  # on the outputs of filterbanks
    fb_post_conv: bool = False  # 1x1 convolution after a hybrid's filterbank
    branch_width: str = choice("prop", "quarter")  # shares of N, or N/4 for each branch
    filters: int = positive(1, most=24)  # layers F: hybrid kernels double
    init_type: str = choice("mel", "uniform", "multiphase", role="free")
    who_is_pinv: str = choice("none", "dec", "enc")  # which side is the pseudo-inverse
    gammatone_init: bool = setting(False, "free")  # gammatone taps in free convolutions
    phase: str = choice("analytic", "even")  # sinc filters: even and odd pairs, or even
    window: str = choice("hamming", "none")  # of sinc filters
    gain: str = choice("unit", "band")  # sinc filters of centre tap 1, or 2 (f2 - f1)
    force_odd: bool = False  # lengthen sinc kernels of even length by one tap
    normalize: str = choice("rms", "none")  # gammatone gain
    deep_mode: str = choice("full", "depthwise")  # a filter per pair of channels, or 1
    deep_types: tuple[str, ...] = ()  # fb_type of each deep layer; empty: the same
    deep_strides: tuple[int, ...] = ()  # stride of each deep layer; empty: W in all
    encoder_act: str = choice("none", "relu", "gated")  # after a simple encoder
    padding: str = choice("center", "none", "naplab", "torchaudio")  # ends of a signal
    # Separator
    separator: str = choice("auto", "tcn", "lstm", role=SEPARATOR)  # auto: tcn
    lstm_hidden: int = positive(500, SEPARATOR)  # states of each direction
    lstm_layers: int = positive(4, SEPARATOR, 64)  # recurrent layers
    B: int = positive(160, SEPARATOR)  # bottleneck and skip channels
    H: int = positive(160, SEPARATOR)  # hidden channels of a block
    kernel: int = positive(3, SEPARATOR)  # depthwise kernel P
    layers: int = positive(
        10, SEPARATOR, 24
    )  # blocks per stack X: dilations 1, 2, 4 ...
    stack: int = positive(4, SEPARATOR, 64)  # stacks R
    causal: bool = setting(False, SEPARATOR)  # causal convolutions, cumulative norms
    norm: str = choice("global", "cumulative", "frame", "group", role=SEPARATOR)
    input_norm: str = choice("global", "frame", "cumulative", role=SEPARATOR)
    skip: bool = setting(True, SEPARATOR)  # False: masks from the last residual
    output_prelu: bool = setting(False, SEPARATOR)  # PReLU before masks without skips
    bias: bool = setting(True, SEPARATOR)  # biases of the separator's convolutions
    large_tcn: bool = setting(False, SEPARATOR)  # a separator for every source
    large_tcn_width: str = choice("per_source", "total", role=SEPARATOR)  # H counts
    mask_act: str = choice("sigmoid", "softmax", "relu", "linear", role=SEPARATOR)
    consistency: bool = setting(False, "free")  # estimates sum to the mixture

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        yield from self._encoding_problems()
        yield from self._filter_problems()
        yield from self._sinc_problems()
        yield from self._deep_problems()
        yield from self._separator_problems(len(config.data.sources))

    def _encoding_problems(self) -> Iterable[str]:
        inverse, encoding, decoder = self.who_is_pinv, self.encoding, self.decoder
        if encoding not in ENCODERS:
            yield f"model.encoding={encoding!r}: {nearest(encoding, ENCODERS)}"
        if inverse != "none" and encoding not in ("filterbanks", "hybrid"):
            yield "model.who_is_pinv needs a filterbank: encoding filterbanks or hybrid"
        if inverse != "none" and decoder == "conv":
            yield "model.who_is_pinv and model.decoder='conv' exclude each other"
        if inverse == "enc" and encoding == "hybrid":
            yield "model.who_is_pinv='enc' is for encoding='filterbanks'"
        if encoding != "filterbanks" and decoder == "filterbank":
            yield "model.decoder='filterbank' needs encoding filterbanks"
        if encoding != "hybrid" and decoder == "hybrid":
            yield "model.decoder='hybrid' needs encoding hybrid"
        if self.padding != "center" and encoding in ("hybrid", "deep"):
            yield f"model.padding={self.padding!r} needs encoding simple or filterbanks"
        if self.L < self.W:
            yield f"model.L={self.L} is below model.W={self.W}: samples are skipped"
        if self.audio_channels != 1 and encoding in BANKED:
            yield (
                f"model.audio_channels={self.audio_channels} needs encoding='simple': "
                f"{encoding} encoders hear one channel"
            )

    def _filter_problems(self) -> Iterable[str]:
        kind, encoding = self.fb_type, self.encoding
        spectral = kind in BRANCHES
        if kind not in BANKS and not spectral:
            yield f"model.fb_type={kind!r}: {nearest(kind, {*BANKS, *BRANCHES})}"
        if encoding == "hybrid" and 0 < self.N < 4:
            yield f"model.N={self.N} must be 4 or more for a hybrid encoder"
        if not 0 <= self.fb_ratio <= 1:
            yield f"model.fb_ratio={self.fb_ratio} must be in [0, 1]"
        if encoding == "filterbanks" and (kind == "conv" or spectral):
            yield "model.encoding='filterbanks' needs fb_type param_sinc or pmpgtf"
        if encoding == "deep" and spectral:
            yield "model.encoding='deep' needs fb_type param_sinc, pmpgtf or conv"
        if spectral and (self.decoder == "hybrid" or self.who_is_pinv != "none"):
            yield (
                f"model.fb_type={kind!r} has no filters to synthesize from: "
                "decoder='conv'"
            )
        if self.who_is_pinv != "none" and kind == "pmpgtf" and self.L > 50:
            yield (
                f"model.who_is_pinv with gammatones of L={self.L} taps: beyond 50 the "
                "last are hardly excited, and float32 cannot invert the bank"
            )

    def _sinc_problems(self) -> Iterable[str]:
        kinds, simple = self.deep_types or (self.fb_type,), self.encoding == "simple"
        if "param_sinc" in kinds and not simple and self.init_type == "multiphase":
            yield "model.init_type='multiphase' is for gammatones (fb_type='pmpgtf')"
        others = {"conv", "pmpgtf", *BRANCHES}.issuperset(kinds)
        if simple or (others and self.encoding in BANKED):
            for name in ("phase", "window", "gain", "force_odd"):
                if getattr(self, name) != getattr(type(self), name):
                    yield f"model.{name} is for sinc filters: fb_type='param_sinc'"

    def _deep_problems(self) -> Iterable[str]:
        types, strides = self.deep_types, self.deep_strides
        if self.fb_post_conv and self.encoding in ("simple", "filterbanks", "deep"):
            yield "model.fb_post_conv is for encoding='hybrid'"
        if self.filters != 1 and self.encoding in ("simple", "filterbanks"):
            yield "model.filters counts the layers of encoding='hybrid' or 'deep'"
        banks = set(BANKS) - set(BRANCHES)
        if len(types) not in (0, self.filters) or not set(types) <= banks:
            yield (
                f"model.deep_types={types} needs {', '.join(sorted(banks))} for each "
                f"of the {self.filters} layers (model.filters)"
            )
        if len(strides) not in (0, self.filters):
            yield (
                f"model.deep_strides={strides} needs one stride for each of the "
                f"{self.filters} layers (model.filters)"
            )
        if any(not 0 < stride <= self.L for stride in strides):
            yield f"model.deep_strides={strides} must be from 1 to L={self.L}"
        deep = types or strides or self.deep_mode != "full"
        if deep and self.encoding in ("simple", "filterbanks", "hybrid"):
            yield (
                "model.deep_types, deep_strides and deep_mode are for encoding='deep'"
            )

    def _separator_problems(self, sources: int) -> Iterable[str]:
        shared = self.large_tcn and self.large_tcn_width == "total"
        hidden = self.H // max(sources, 1) if shared else self.H
        if self.kernel % 2 == 0 and not self.causal:
            yield f"model.kernel={self.kernel} must be odd unless model.causal"
        if self.norm == "group" and hidden % 8:
            yield (
                f"model.norm='group' needs H={self.H}, of each source, to be a "
                "multiple of 8"
            )
        norms = {self.input_norm} | ({self.norm} if self.separator != "lstm" else set())
        if self.causal and {"global", "group"} & norms:
            yield "model.causal needs norm and input_norm 'cumulative' or 'frame'"
        if self.separator == "lstm" and (self.large_tcn or self.ideal_mask):
            yield "model.separator='lstm' excludes large_tcn and ideal_mask"
        if shared and sources and self.H % sources:
            yield (
                f"model.large_tcn_width='total' needs H={self.H} to be a multiple of "
                f"the {sources} sources"
            )
        if self.large_tcn and self.ideal_mask:
            yield "model.large_tcn needs a TCN: not ideal_mask"


def layer_strides(model: TasNetConfig) -> tuple[int, ...]:
    """Return the stride of every layer of an encoder; their product is a frame's.

    Example:
        >>> layer_strides(TasNetConfig(encoding="deep", filters=2, W=16))
        (16, 16)
    """
    if model.encoding != "deep":
        return (model.W,)
    return model.deep_strides or (model.W,) * model.filters
