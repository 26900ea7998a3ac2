"""The configurations of Hybrid Transformer Demucs (v4) and Hybrid Demucs (v3).

Fields have the names of the arguments of facebookresearch/demucs 4.1, where they have
their meaning.
"""

import dataclasses
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from sepjax.config import MODEL_CONFIGS, Config, ModelConfig, choice, positive, setting
from sepjax.config.rules import value_problems

KERNEL, STRIDE = 8, 4
HEADS = 4  # of local attention
MOST = 1 << 16  # channels of a layer


class Layer(NamedTuple):
    """A layer of the encoder, and of the decoder that mirrors it.

    A ``merge`` hears all bins at once and adds the time branch's last convolution; what
    comes ``after`` it has frames alone.
    """

    inputs: int
    outputs: int
    kernel: int
    stride: int
    edge: int  # zeros at both ends
    place: str  # "before" the merge, "merge" or "after"
    norm: bool  # group norms
    lstm: bool  # in its residual branches
    attention: bool  # likewise


@dataclasses.dataclass(unsafe_hash=True)
class HybridConfig(ModelConfig):
    """Layers of both branches, of the spectrogram and of the waveform."""

    objective: ClassVar[str] = "l1"
    family: ClassVar[str] = "htdemucs"

    audio_channels: int = choice(2, 1)
    channels: int = positive(48)  # of the first layer
    growth: float = positive(2.0, most=16)  # factor of the channels from layer to layer
    depth: int = positive(4, most=16)  # layers of encoder and decoder
    n_fft: int = positive(4096)  # samples of a window; frames are a quarter apart
    time_stride: int = positive(2, most=16)  # of layers behind the merge
    norm_starts: int = 4  # first layer with group norms
    norm_groups: int = positive(4)
    dconv_mode: int = choice(
        1, 0, 2, 3
    )  # 1: residual branches in encoders, 2: decoders
    dconv_depth: int = positive(2, most=16)  # of them in a layer
    dconv_comp: int = positive(8)  # factor by which their channels are fewer
    dconv_init: float = setting(1e-3, "free")  # initial scale of what they add
    freq_emb: float = 0.2  # weight of the bins' embedding; 0: there is none
    segment: float = setting(0.0, "free")  # seconds; shorter inputs are padded to it
    networks: int = positive(1, most=100)  # whose estimates are averaged
    weights: tuple[float, ...] = ()  # of the sources of each network in turn; (): ones
    remat: bool = setting(False, "free")  # compute most again for the gradients

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers, the outermost first."""
        made, bins = list[Layer](), self.n_fft // 2
        width, before = self.channels, 2 * self.audio_channels
        for index in range(self.depth):
            place, form = "before", (KERNEL, STRIDE, STRIDE // 2)
            if bins <= KERNEL:
                place, form = "merge", (bins, bins, 0)
            if bins == 1:
                kernel = 2 * self.time_stride
                place, form = "after", (kernel, self.time_stride, kernel // 4)
            extras = index >= self.norm_starts, *self._extras(index)
            made.append(Layer(before, width, *form, place, *extras))
            before, width = width, int(self.growth * width)
            bins = bins // STRIDE if place == "before" else 1
        return tuple(made)

    def _extras(self, index: int) -> tuple[bool, bool]:
        """Whether residual branches of a layer have an LSTM, and attention."""
        return False, False

    def problems(self, config: Config) -> Iterable[str]:
        """Return the problems of fields that do not go together."""
        if any(value_problems(self)):  # said already
            return
        sources = len(config.data.sources)
        yield from self._frame_problems()
        for n, layer in enumerate(self.layers()):
            yield from self._layer_problems(n, layer, sources)
        yield from self._own_problems()
        if self.norm_starts < 0 or not 0 <= self.segment < 3600:
            yield "model.norm_starts and model.segment must be 0 or more, below 3600"
        rows = [self.weights[n::sources] for n in range(sources)]
        if self.weights and {*map(len, rows)} != {self.networks}:
            yield (
                f"model.weights={self.weights} must be one for each of {sources} "
                f"sources in each of {self.networks} networks"
            )
        elif self.weights and (min(self.weights) < 0 or not min(map(sum, rows)) > 0):
            yield f"model.weights={self.weights}: a source has none, or one below 0"

    def _own_problems(self) -> Iterable[str]:
        return ()

    def _frame_problems(self) -> Iterable[str]:
        places = [layer.place for layer in self.layers()]
        merge = places.index("merge") if "merge" in places else 0
        steps = STRIDE ** (merge or self.depth)
        if self.n_fft % 4 or self.n_fft // 2 % steps:
            yield (
                f"model.n_fft={self.n_fft} must have half a window of a multiple of "
                f"{steps} bins: each layer divides them by {STRIDE}"
            )
        elif merge and STRIDE * steps != self.n_fft // 4:
            yield (
                f"model.n_fft={self.n_fft} must be a power of four: layer {merge + 1} "
                "joins the branches, whose frames have to be those of the spectrogram"
            )

    def _layer_problems(self, n: int, layer: Layer, sources: int) -> Iterable[str]:
        width, place = layer.outputs, f"layer {n + 1}"
        # Complex numbers have two channels, those of a wave are half as many.
        outputs = layer.inputs if n else sources * self.audio_channels
        for channels in {width, outputs} if layer.norm else ():
            if channels % self.norm_groups:
                text = f"does not divide the {channels} channels of {place}"
                yield f"model.norm_groups={self.norm_groups} {text}"
        hidden = int(width / self.dconv_comp)
        if self.dconv_mode and (hidden < 1 or (layer.attention and hidden % HEADS)):
            need = f"a multiple of {HEADS}" if layer.attention else "at least one"
            yield (
                f"model.dconv_comp={self.dconv_comp} leaves {hidden} of the {width} "
                f"channels of {place}, which must be {need}"
            )
        if width > MOST:
            yield f"model.growth={self.growth} makes {width} channels in {place}"


@MODEL_CONFIGS.register("htdemucs")
@dataclasses.dataclass(unsafe_hash=True)
class HTDemucsConfig(HybridConfig):
    """Hybrid Transformer Demucs: both branches attend to each other at the bottom."""

    name: str = setting("htdemucs", "free")
    bottom_channels: int = 0  # of the transformer; 0: those of the last layer
    t_layers: int = positive(5, most=64)  # alternately within and across branches
    t_heads: int = positive(8)
    t_hidden_scale: float = positive(
        4.0, most=64
    )  # factor of the channels of dense layers
    t_cross_first: bool = False  # the first layer attends across
    t_norm_in: bool = True  # frames and bins are normed alone at first
    t_norm_in_group: bool = False  # or, where not, all together
    t_group_norm: bool = False  # all together in the layers, too

    @property
    def width(self) -> int:
        """Channels of the transformer."""
        return self.bottom_channels or self.layers()[-1].outputs

    def _own_problems(self) -> Iterable[str]:
        if self.layers()[-1].place != "before":
            yield (
                f"model.depth={self.depth}: the branches of {self.n_fft} samples are "
                "one at the bottom, where the transformer needs two"
            )
        if self.width % self.t_heads or self.width % 4 or self.bottom_channels < 0:
            yield (
                f"model.t_heads={self.t_heads}: the {self.width} channels of the "
                "transformer must be a multiple of it, and of 4"
            )


@MODEL_CONFIGS.register("hdemucs")
@dataclasses.dataclass(unsafe_hash=True)
class HDemucsConfig(HybridConfig):
    """Hybrid Demucs: the branches are one at the bottom, with LSTM and attention."""

    name: str = setting("hdemucs", "free")
    depth: int = positive(6, most=16)
    dconv_comp: int = positive(4)
    dconv_init: float = setting(1e-4, "free")
    dconv_lstm: int = 4  # first layer whose residual branches have an LSTM
    dconv_attn: int = 4  # first layer whose residual branches have attention

    def _extras(self, index: int) -> tuple[bool, bool]:
        return index >= self.dconv_lstm, index >= self.dconv_attn
