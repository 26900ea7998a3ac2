"""Typed configuration of a run, and the one place where thesis letters live.

A configuration is a tree of plain mutable dataclasses, so that absl's config flags
can override any field (``--config.model.L=25``). Fields are never ``None``: a
sentinel ("none", "auto", 0) says so, because flags cannot spell ``None``.
"""

import dataclasses


@dataclasses.dataclass
class DataConfig:
    """What is heard: the dataset, its rate, the classes and the augmentation."""

    dataset: str = "demo"  # a name of data_pipelines.registry.DATASETS
    root: str = ""  # folder of the dataset; empty for the embedded demo music
    feeder: str = "resident"  # resident (on device) | streaming | tf_data (from disk)
    sample_rate: int = 8000  # Hz; audio of another rate is resampled once
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    chunk_seconds: float = 8.0  # Table A.1 time_length
    valid_seconds: float = 0.0  # length of validation chunks; 0: chunk_seconds
    channel: str = "random"  # random | mean | left | right: how stereo becomes mono
    mix: str = "track"  # track | random: sources of one song, or each of any song
    swap_channels: bool = False  # left and right of a source, at random (stereo)
    normalize: bool = True  # False: chunks as loud as recorded, for losses on spectra
    gain_low: float = 0.75  # training gain of every source, uniform (thesis 5.1)
    gain_high: float = 1.25
    songs: int = 0  # of the training split, the first ones; 0: all
    shuffle_fraction: float = 0.5  # part of the batch whose sources are shuffled
    allow_overlap: bool = False  # train although test songs are among those trained on


@dataclasses.dataclass(unsafe_hash=True)
class ModelConfig:
    """Architecture, in the letters of the thesis' Table A.1.

    It hashes by value, so that a model that holds one can be a static argument of
    ``jit``; a model holds a copy of its own.
    """

    name: str = "tasnet"  # a name of sepjax.models.MODELS
    encoding: str = "hybrid"  # simple | filterbanks | hybrid | deep
    decoder: str = "auto"  # auto | conv | filterbank | hybrid
    ideal_mask: bool = False  # FB-IRM oracle separator (eq. 5.1) instead of the TCN
    sources: tuple[str, ...] = ("drums", "bass", "other", "vocals")  # set from data
    sample_rate: int = 8000  # Hz, for filter initialisation; set from data
    audio_channels: int = 1  # 2: a stereo model, which hears both channels at once
    N: int = 440  # channels of the latent encoding
    L: int = 20  # encoder kernel, samples
    W: int = 20  # encoder stride, samples
    # Filterbanks
    fb_type: str = "pmpgtf"  # param_sinc | pmpgtf | conv | stft (the last two: hybrid)
    fb_ratio: float = 0.5  # share of filterbank channels in a hybrid encoder
    fb_parameters: str = "logits"  # logits | hz: the form in which filters are learned
    fb_act: str = "none"  # none | relu, on the outputs of filterbanks
    fb_post_conv: bool = False  # 1x1 convolution after a hybrid's filterbank
    branch_width: str = "prop"  # prop (shares of N) | quarter (N/4 for each branch)
    filters: int = 1  # layers F: hybrid kernels double, deep layers follow each other
    init_type: str = "mel"  # mel | uniform | multiphase
    who_is_pinv: str = "none"  # none | dec | enc: which side is the pseudo-inverse
    gammatone_init: bool = False  # fill a free convolution with gammatone taps
    phase: str = "analytic"  # analytic (even and odd pairs) | even: sinc filters
    force_odd: bool = False  # lengthen sinc kernels of even length by one tap
    normalize: str = "rms"  # rms | none: gammatone gain
    deep_mode: str = "full"  # full (a filter per pair of channels) | depthwise
    deep_types: tuple[str, ...] = ()  # fb_type of each deep layer; empty: the same
    deep_strides: tuple[int, ...] = ()  # stride of each deep layer; empty: W in all
    encoder_act: str = "none"  # none | relu, after a simple encoder
    padding: str = "center"  # center | none | naplab | torchaudio: ends of the signal
    # Separator
    B: int = 160  # bottleneck and skip channels
    H: int = 160  # hidden channels of a block
    kernel: int = 3  # depthwise kernel P
    layers: int = 10  # blocks per stack X, dilations 1, 2, 4, ...
    stack: int = 4  # stacks R
    causal: bool = False  # causal convolutions, cumulative norms
    norm: str = "global"  # global | cumulative | frame | group, inside the TCN
    input_norm: str = "global"  # global | frame | cumulative, before the bottleneck
    skip: bool = True  # False: masks from the last residual, as in the music variant
    output_prelu: bool = False  # PReLU before the masks without skips too (asteroid)
    bias: bool = True  # biases of the separator's convolutions
    large_tcn: bool = False  # a separator of its own for every source
    large_tcn_width: str = "per_source"  # per_source | total: what H counts then
    mask_act: str = "sigmoid"  # sigmoid | softmax | relu | linear
    consistency: bool = False  # spread the residual so that estimates sum to the mix
    compute_dtype: str = "float32"  # float32 | bfloat16: matmuls, activations
    # Meta-TasNet: N, L and W are those of the first stage and double from it
    stages: int = 1  # the last hears sample_rate, each before it half of the next one
    mels: int = 256  # features of the encoder's spectrogram
    embedding: int = 8  # numbers that describe an instrument
    generator_bottleneck: int = 5  # dimensions of a layer's space of parameters
    independent_params: bool = False  # a network of its own for each instrument
    residual_bias: bool = False  # biases of the residual and skip convolutions
    # Demucs
    demucs_channels: int = 48  # of the first layer
    demucs_depth: int = 6  # layers of encoder and decoder
    demucs_growth: float = 2.0  # factor of the channels from layer to layer
    demucs_lstm_layers: int = 2  # of the recurrent network between them
    # Open-Unmix
    umx_hidden: int = 512  # channels; each of two directions has half as many
    umx_layers: int = 3  # of the recurrent network
    umx_bidirectional: bool = True  # False: only the past is heard
    umx_bandwidth: float = 16000.0  # Hz, of what the network hears; 0: all bins
    umx_fft: int = 4096  # samples of a window
    umx_hop: int = 1024  # samples between frames
    umx_dropout: float = 0.4  # between recurrent layers
    wiener_iterations: int = 1  # 0: phase of the mixture, or the mask alone
    wiener_softmask: bool = False  # start from a ratio mask, not from the phase
    wiener_residual: bool = False  # one more source, what the others leave


@dataclasses.dataclass
class LossConfig:
    """What is minimised: negative SI-SDR, and terms of Meta-TasNet beside it."""

    over_sources: str = "mean"  # mean | sum of the sources' SI-SDR
    dissimilarity: float = 0.0  # weight of the resemblance of different sources
    similarity: float = 0.0  # of the resemblance of a source to itself, elsewhere
    reconstruction: float = 0.0  # of the SI-SDR of the mixture that is not masked


@dataclasses.dataclass
class OptimConfig:
    """Optimiser, decay and the schedule of the learning rate."""

    optimizer: str = "adam"  # adam, radam, ranger, or one of optax (optax.contrib)
    lr: float = 1e-3
    weight_decay: float = 5e-4
    weight_decay_kind: str = "decoupled"  # decoupled (AdamW) | l2 (torch's Adam)
    decay: str = "kernels"  # kernels | all: what decays, of what is trained
    clip: float = 5.0  # global gradient norm; 0: off
    ema: float = 0.0  # decay of the parameters' average, which is scored; 0: none
    schedule: str = "plateau"  # plateau | restarts | cosine: what lowers the rate
    warmup_steps: int = 0  # steps in which the rate grows linearly from zero
    cosine_steps: int = 0  # steps until the cosine ends at zero; 0: train.steps
    restart_every: int = 200_000  # steps along a cosine until it starts again
    restart_decay: float = 0.85  # factor of the rate from restart to restart
    lr_decay_gamma: float = 0.5  # plateau factor
    lr_decay_patience: int = 3  # evaluations without improvement that are tolerated
    lr_decay_cooldown: int = 0
    plateau_threshold: float = 1e-4  # improvement that counts
    plateau_mode: str = "abs"  # abs (dB of SI-SDR) | rel: share of the best loss


@dataclasses.dataclass
class TrainConfig:
    """Length and bookkeeping of a run, all in optimiser steps."""

    steps: int = 1000  # 0: pretrained_from is applied as it is
    batch_size: int = 4  # of all devices and microbatches
    accumulate: int = 1  # microbatches of a step, which save memory
    parallel: str = "jit"  # jit | pmap: the form of the program for several devices
    eval_every: int = 100
    checkpoint_every: int = 100
    log_every: int = 10
    seeds: int = 1  # trained side by side in one program: seed, seed + 1, ...
    vary: str = ""  # values side by side too: optim.lr=1e-3:1e-2,optim.clip=1:5
    pretrained_from: str = ""  # run folder whose parameters this run starts from
    freeze: tuple[str, ...] = ()  # parts that stay as they are: encoder, decoder, ...
    fit: tuple[str, ...] = ()  # parts that alone are trained; embedding: new sources'
    statistics_excerpts: int = 5000  # heard before training for input statistics
    early_stop: int = 0  # evaluations without improvement before stopping; 0: never


@dataclasses.dataclass
class EvalConfig:
    """What the final scores are computed on, and what the report plays."""

    split: str = "test"
    chunk_seconds: float = 8.0  # length of the pieces separated at once
    overlap: float = 0.25  # share of a piece that is cross-faded
    rescale: bool = True  # fit estimates to the mixture; for losses that know no scale
    oracle_power: float = 2.0  # exponent alpha of the ideal ratio mask
    excerpts: int = 3  # players per report
    excerpt_seconds: float = 8.0


@dataclasses.dataclass
class LiveConfig:
    """Concerts made of clean stems: bleed, hall and audience, drawn between bounds."""

    train: bool = False  # excerpts of training and validation are made live
    eval: bool = False  # the songs that are scored are
    targets: str = "recorded"  # recorded (bleed, hall and all) | clean: the references
    bleed_low: float = -30.0  # dB, gain of a source at another's microphone
    bleed_high: float = -15.0  # both -inf: no bleed
    reverb_low: float = 0.6  # seconds in which the hall's sound falls by 60 dB
    reverb_high: float = 1.8  # both 0: no hall
    direct_low: float = 9.0  # dB, direct over reverberant energy at a microphone
    direct_high: float = 18.0
    crowd_low: float = 15.0  # dB, of the audience below the music
    crowd_high: float = 35.0  # both inf: no audience
    impulse_responses: str = ""  # folder of halls; empty: synthetic ones
    crowd_recordings: str = ""  # folder of audiences; empty: a synthetic one


@dataclasses.dataclass
class Config:
    """Everything that defines a run; stored in its folder and its checkpoints."""

    name: str = "base"
    seed: int = 42
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    live: LiveConfig = dataclasses.field(default_factory=LiveConfig)


def layer_strides(model: ModelConfig) -> tuple[int, ...]:
    """The stride of every layer of an encoder; their product is a frame's.

    Example:
        >>> layer_strides(ModelConfig(encoding="deep", filters=2, W=16))
        (16, 16)
    """
    if model.encoding != "deep":
        return (model.W,)
    return model.deep_strides or (model.W,) * model.filters
