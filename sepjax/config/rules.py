"""What a configuration may say: choices, ranges and which fields go together.

:func:`validate` reports *all* problems of a configuration in one message.
"""

from collections.abc import Iterable
from typing import Any

from sepjax.config.rules_live import live_problems
from sepjax.config.rules_train import train_problems
from sepjax.config.schema import Config, DataConfig, ModelConfig
from sepjax.registry import nearest

CHOICES = {
    "data.feeder": ("resident", "streaming", "tf_data"),
    "data.channel": ("random", "mean", "left", "right"),
    "data.mix": ("track", "random"),
    "model.decoder": ("auto", "conv", "filterbank", "hybrid"),
    "model.norm": ("global", "cumulative", "group", "frame"),
    "model.mask_act": ("sigmoid", "softmax", "relu", "linear"),
    "model.large_tcn_width": ("per_source", "total"),
    "model.fb_type": ("param_sinc", "pmpgtf", "conv", "stft"),
    "model.fb_parameters": ("logits", "hz"),
    "model.fb_act": ("none", "relu"),
    "model.branch_width": ("prop", "quarter"),
    "model.deep_mode": ("full", "depthwise"),
    "model.init_type": ("mel", "uniform", "multiphase"),
    "model.who_is_pinv": ("none", "dec", "enc"),
    "model.phase": ("analytic", "even"),
    "model.encoder_act": ("none", "relu"),
    "model.padding": ("center", "none", "naplab", "torchaudio"),
    "model.input_norm": ("global", "frame", "cumulative"),
    "model.audio_channels": (1, 2),
    "model.normalize": ("rms", "none"),
    "model.compute_dtype": ("float32", "bfloat16"),
    "loss.over_sources": ("mean", "sum"),
    "optim.weight_decay_kind": ("decoupled", "l2"),
    "optim.decay": ("kernels", "all"),
    "optim.schedule": ("plateau", "restarts", "cosine"),
    "optim.plateau_mode": ("abs", "rel"),
    "train.parallel": ("jit", "pmap"),
    "eval.split": ("train", "valid", "test"),
    "live.targets": ("recorded", "clean"),
}

POSITIVE = (
    *(f"data.{name}" for name in ("sample_rate", "chunk_seconds")),
    *(f"model.{name}" for name in ("N", "L", "W", "B", "H", "kernel")),
    *(f"model.{name}" for name in ("layers", "stack", "filters")),
    *(f"model.{n}" for n in ("stages", "mels", "embedding", "generator_bottleneck")),
    *(f"model.demucs_{name}" for name in ("channels", "depth")),
    *(f"model.demucs_{name}" for name in ("growth", "lstm_layers")),
    *(f"model.umx_{name}" for name in ("hidden", "layers", "fft", "hop")),
    *(f"optim.{name}" for name in ("lr", "restart_every", "restart_decay")),
    *(f"train.{name}" for name in ("batch_size", "eval_every", "checkpoint_every")),
    *(f"train.{name}" for name in ("log_every", "seeds", "statistics_excerpts")),
    "train.accumulate",
    *(f"eval.{name}" for name in ("chunk_seconds", "excerpt_seconds")),
)


def get_field(config: Config, path: str) -> Any:
    """The value at a dotted path, such as ``"model.L"``."""
    value = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


def validate(config: Config) -> None:
    """Check a configuration.

    Raises:
        ValueError: one message that lists every problem with its valid choices.
    """
    problems = [
        f"{path}={value!r}: {nearest(str(value), map(str, choices))}"
        for path, choices in CHOICES.items()
        if (value := get_field(config, path)) not in choices
    ]
    problems += [
        f"{path}={get_field(config, path)!r} must be positive"
        for path in POSITIVE
        if not get_field(config, path) > 0
    ]
    problems += list(_data_problems(config.data)) + list(_model_problems(config))
    problems += [*live_problems(config.live), *train_problems(config)]
    if problems:
        raise ValueError("invalid configuration:\n  " + "\n  ".join(problems))


def _data_problems(data: DataConfig) -> Iterable[str]:
    if not data.sources or len(set(data.sources)) != len(data.sources):
        yield f"data.sources={data.sources!r} must name each class once"
    if not 0 < data.gain_low <= data.gain_high:
        yield f"data.gain_low={data.gain_low} must be in (0, {data.gain_high=}]"
    if data.songs < 0:
        yield f"data.songs={data.songs} must be 0, for all, or more"
    if data.valid_seconds < 0:
        yield f"data.valid_seconds={data.valid_seconds} must be 0 or more"
    if not 0 <= data.shuffle_fraction <= 1:
        yield f"data.shuffle_fraction={data.shuffle_fraction} must be in [0, 1]"


def _model_problems(config: Config) -> Iterable[str]:
    rules = (
        *_encoding_rules(config.model),
        *_deep_rules(config.model),
        *_filter_rules(config.model),
        *_idle_rules(config.model),
        *_network_rules(config),
        *_stereo_rules(config),
        *_stage_rules(config),
        *_unmix_rules(config.model),
    )
    return [message for wrong, message in rules if wrong]


def _encoding_rules(model: ModelConfig) -> tuple[tuple[bool, str], ...]:
    inverse, encoding, decoder = model.who_is_pinv, model.encoding, model.decoder
    return (
        (
            inverse != "none" and encoding not in ("filterbanks", "hybrid"),
            "model.who_is_pinv needs a filterbank: encoding filterbanks or hybrid",
        ),
        (
            inverse != "none" and decoder == "conv",
            "model.who_is_pinv and model.decoder='conv' exclude each other",
        ),
        (
            inverse == "enc" and encoding == "hybrid",
            "model.who_is_pinv='enc' is for encoding='filterbanks'",
        ),
        (
            encoding != "filterbanks" and decoder == "filterbank",
            "model.decoder='filterbank' needs encoding filterbanks",
        ),
        (
            encoding != "hybrid" and decoder == "hybrid",
            "model.decoder='hybrid' needs encoding hybrid",
        ),
        (
            model.padding != "center" and encoding not in ("simple", "filterbanks"),
            f"model.padding={model.padding!r} needs encoding simple or filterbanks",
        ),
        (
            model.name in ("demucs", "open_unmix") and model.ideal_mask,
            f"model.ideal_mask needs masks, which name={model.name!r} has none of",
        ),
    )


def _deep_rules(model: ModelConfig) -> tuple[tuple[bool, str], ...]:
    return (
        (
            len(model.deep_types) not in (0, model.filters)
            or not set(model.deep_types) <= {"param_sinc", "pmpgtf", "conv"},
            f"model.deep_types={model.deep_types} needs param_sinc, pmpgtf or conv for "
            f"each of the {model.filters} layers (model.filters)",
        ),
        (
            len(model.deep_strides) not in (0, model.filters),
            f"model.deep_strides={model.deep_strides} needs one stride for each of the "
            f"{model.filters} layers (model.filters)",
        ),
        (
            any(not 0 < stride <= model.L for stride in model.deep_strides),
            f"model.deep_strides={model.deep_strides} must be from 1 to L={model.L}",
        ),
    )


def _filter_rules(model: ModelConfig) -> tuple[tuple[bool, str], ...]:
    kind, encoding = model.fb_type, model.encoding
    spectral = kind == "stft"
    return (
        (
            not 0 <= model.fb_ratio <= 1,
            f"model.fb_ratio={model.fb_ratio} must be in [0, 1]",
        ),
        (
            encoding == "filterbanks" and kind in ("conv", "stft"),
            "model.encoding='filterbanks' needs fb_type param_sinc or pmpgtf",
        ),
        (
            encoding == "deep" and spectral,
            "model.encoding='deep' needs fb_type param_sinc, pmpgtf or conv",
        ),
        (
            spectral and (model.decoder == "hybrid" or model.who_is_pinv != "none"),
            "model.fb_type='stft' has no filters to synthesize from: decoder='conv'",
        ),
        (
            encoding != "simple"
            and "param_sinc" in (model.deep_types or (kind,))
            and model.init_type == "multiphase",
            "model.init_type='multiphase' is for gammatones (fb_type='pmpgtf')",
        ),
        (
            model.who_is_pinv != "none" and kind == "pmpgtf" and model.L > 50,
            f"model.who_is_pinv with gammatones of L={model.L} taps: beyond 50 the "
            "last are hardly excited, and float32 cannot invert the bank",
        ),
        (
            encoding == "hybrid" and 0 < model.N < 4,
            f"model.N={model.N} must be 4 or more for a hybrid encoder",
        ),
    )


def _idle_rules(model: ModelConfig) -> tuple[tuple[bool, str], ...]:
    """Fields that would do nothing where they are set."""
    tasnet, encoding = model.name == "tasnet", model.encoding
    deep = model.deep_types or model.deep_strides or model.deep_mode != "full"
    return (
        (
            tasnet and model.fb_post_conv and encoding != "hybrid",
            "model.fb_post_conv is for encoding='hybrid'",
        ),
        (
            tasnet and bool(deep) and encoding != "deep",
            "model.deep_types, deep_strides and deep_mode are for encoding='deep'",
        ),
        (
            tasnet and model.filters != 1 and encoding in ("simple", "filterbanks"),
            "model.filters counts the layers of encoding='hybrid' or 'deep'",
        ),
        (
            model.large_tcn and (model.ideal_mask or not tasnet),
            "model.large_tcn needs a TCN: not ideal_mask, name='tasnet'",
        ),
        (
            model.consistency and not tasnet,
            "model.consistency is for name='tasnet'",
        ),
    )


def _network_rules(config: Config) -> tuple[tuple[bool, str], ...]:
    model = config.model
    return (
        (
            model.kernel % 2 == 0 and not model.causal,
            f"model.kernel={model.kernel} must be odd unless model.causal",
        ),
        (
            model.L < model.W,
            f"model.L={model.L} is below model.W={model.W}: samples are skipped",
        ),
        (
            model.norm == "group" and _hidden(model) % 8 != 0,
            f"model.norm='group' needs H={model.H}, of each source, to be a multiple "
            "of 8",
        ),
        (
            model.causal and bool({"global", "group"} & {model.norm, model.input_norm}),
            "model.causal needs norm and input_norm 'cumulative' or 'frame'",
        ),
        (
            model.large_tcn
            and model.large_tcn_width == "total"
            and model.H % len(model.sources) != 0,
            f"model.large_tcn_width='total' needs H={model.H} to be a multiple of the "
            f"{len(model.sources)} sources",
        ),
        (
            config.train.steps < 0
            or (config.train.steps == 0 and not config.train.pretrained_from),
            f"train.steps={config.train.steps} must be positive, or 0 with "
            "train.pretrained_from, which is then kept as it is",
        ),
        (
            bool(config.train.freeze or config.train.fit)
            and not config.train.pretrained_from,
            "train.freeze and train.fit keep parts as they are: name "
            "train.pretrained_from",
        ),
        (
            not 0 <= config.eval.overlap < 1,
            f"eval.overlap={config.eval.overlap} must be in [0, 1)",
        ),
    )


def _stereo_rules(config: Config) -> tuple[tuple[bool, str], ...]:
    model, stereo = config.model, config.model.audio_channels != 1
    return (
        (
            stereo and model.name == "tasnet" and model.encoding != "simple",
            f"model.audio_channels={model.audio_channels} needs encoding='simple': "
            f"{model.encoding} encoders hear one channel",
        ),
        (
            stereo and model.name == "meta_tasnet",
            f"model.audio_channels={model.audio_channels} is not for "
            "name='meta_tasnet', which hears one channel",
        ),
        (
            not stereo and config.data.swap_channels,
            "data.swap_channels exchanges left and right, which a mono model does not "
            "hear: set model.audio_channels=2",
        ),
    )


def _stage_rules(config: Config) -> tuple[tuple[bool, str], ...]:
    model, loss = config.model, config.loss
    meta = model.name == "meta_tasnet"
    terms = loss.dissimilarity or loss.similarity or loss.reconstruction
    lowest = 2 ** (model.stages - 1)
    wide = [name for name in ("N", "B", "H") if getattr(model, name) % 8]
    plain = (model.norm, model.causal, model.mask_act) == ("group", False, "softmax")
    return (
        (
            not meta and bool(terms or loss.over_sources == "sum"),
            "loss.dissimilarity, similarity, reconstruction and over_sources='sum' are "
            "for name='meta_tasnet'",
        ),
        (
            not meta and model.stages != 1,
            "model.stages counts those of name='meta_tasnet'",
        ),
        (
            meta and not plain,
            "model.name='meta_tasnet' needs norm='group', mask_act='softmax' and "
            "causal=False: it knows no others",
        ),
        (
            meta and bool(wide),
            f"model.name='meta_tasnet' needs {', '.join(wide)} to be multiples of 8, "
            "for its norms of eight groups",
        ),
        (
            meta and bool(model.ideal_mask or model.consistency),
            "model.ideal_mask and consistency are for name='tasnet'",
        ),
        (
            model.sample_rate % lowest != 0,
            f"data.sample_rate={model.sample_rate} must divide by {lowest}, so that "
            f"each of the {model.stages} stages has a rate",
        ),
    )


def _hidden(model: ModelConfig) -> int:
    shared = model.large_tcn and model.large_tcn_width == "total"
    return model.H // len(model.sources) if shared else model.H


def _unmix_rules(model: ModelConfig) -> tuple[tuple[bool, str], ...]:
    unmix = model.name == "open_unmix"
    return (
        (
            model.umx_bidirectional and model.umx_hidden % 2 != 0,
            f"model.umx_hidden={model.umx_hidden} must be even for two directions",
        ),
        (
            model.umx_fft % 2 != 0 or 2 * model.umx_hop > model.umx_fft,
            f"model.umx_fft={model.umx_fft} must be even and umx_hop={model.umx_hop} "
            "at most half of it",
        ),
        (
            model.umx_bandwidth < 0,
            f"model.umx_bandwidth={model.umx_bandwidth} must be 0, for all, or more",
        ),
        (
            not 0 <= model.umx_dropout < 1,
            f"model.umx_dropout={model.umx_dropout} must be in [0, 1)",
        ),
        (
            model.wiener_iterations < 0,
            f"model.wiener_iterations={model.wiener_iterations} must be 0 or more",
        ),
        (
            unmix
            and model.wiener_iterations > 0
            and len(model.sources) == 1
            and not model.wiener_residual,
            "a Wiener filter of one source returns the mixture: set "
            "model.wiener_iterations=0 or model.wiener_residual=True",
        ),
        (
            unmix and model.wiener_residual and "residual" in model.sources,
            "model.wiener_residual adds a source named 'residual': there is one",
        ),
    )
