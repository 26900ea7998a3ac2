"""Live music: models of studio recordings applied to concerts, and taught by them.

    python run_experiment.py --sweep=live --workdir=runs/live --config.train.seeds=3
    python run_experiment.py --config=configs/chapter6.py:tl --workdir=runs/tl \
        --config.data.root=/path/to/concerts

Public weights: ``sepjax import-weights umxhq …`` into ``weights/umxhq`` and
``meta-tasnet`` into ``weights/meta_tasnet``, or ``--config.train.pretrained_from``.
``spleeter…``: Deezer's Spleeter, which is fetched at first use, on songs of vocals and
accompaniment that are made live by the same simulation.
The demo music has 8 kHz and is made live by a simulation (docs/data.md) that keeps the
clean references; the sweep ``live`` trains all ``demo_…``, the studio models first.
"""

from sepjax.config import Config
from sepjax.models.meta_tasnet.config import MetaTasNetConfig
from sepjax.models.open_unmix.config import OpenUnmixConfig
from sepjax.models.spleeter.config import SpleeterConfig
from sepjax.registry import nearest

CLASSES = ("vocals", "drums", "bass", "other")
NAMES = {
    "umxhq": "Open-Unmix as it was trained on MUSDB18-HQ",
    "unmix": "public Open-Unmix applied to concerts (set config.data.root)",
    "meta": "public Meta-TasNet applied to concerts",
    "tl": "public Open-Unmix, its last two dense layers trained on concerts",
    "retrain": "Open-Unmix trained on concerts alone",
    "finetune": "public Open-Unmix, all layers trained on concerts",
    "spleeter": "public Spleeter applied to songs made live (set config.data.root)",
    "spleeter_finetune": "public Spleeter, all layers trained on songs made live",
    "spleeter_retrain": "Spleeter's networks trained on songs made live alone",
    "demo_studio": "a small Open-Unmix on the clean demo music",
    "demo_studio_meta": "a small Meta-TasNet on the clean demo music",
    "demo_unmix": "demo_studio applied to the demo music made live",
    "demo_meta": "demo_studio_meta applied to the demo music made live",
    "demo_tl": "demo_studio, its last two dense layers trained on live music",
    "demo_retrain": "a small Open-Unmix trained on live music alone",
    "demo_finetune": "demo_studio, all layers trained on live music",
}
STARTS = {"unmix": "umxhq", "meta": "meta_tasnet", "tl": "umxhq", "finetune": "umxhq"}


def get_config(name: str = "demo_finetune") -> Config:
    """A protocol of chapter 6, with public weights or on the demo music."""
    if name not in NAMES:
        raise ValueError(f"configs/chapter6.py has no {name!r}: {nearest(name, NAMES)}")
    config = Config(name=name)
    config.data.sources = CLASSES
    if name.startswith("spleeter"):
        spleeter(config, name)
        return config
    demo, protocol = name.startswith("demo_"), name.removeprefix("demo_")
    if protocol.endswith("meta"):
        as_published(config)
        if demo:
            small_meta(config)
            config.train.steps = 300
        else:
            full_meta(config, stages=3)
    else:
        open_unmix(config)
        if demo:
            small_unmix(config)
    if demo:
        config.live.eval = True
        config.live.train = not protocol.startswith("studio")
    else:
        config.data.dataset = "folder"
    if protocol in STARTS:
        studio = "demo_studio_meta" if protocol == "meta" else "demo_studio"
        start = studio if demo else f"weights/{STARTS[protocol]}"
        config.train.pretrained_from = start
    if protocol == "tl":
        config.train.fit = ("fc2", "fc3")
    if protocol in ("unmix", "meta"):
        config.train.steps = 0
    return config


def open_unmix(config: Config) -> None:
    """Model, data and optimiser of Open-Unmix."""
    data, optim, train = config.data, config.optim, config.train
    config.model, data.sample_rate = OpenUnmixConfig(audio_channels=2), 44100
    data.chunk_seconds, data.mix, data.swap_channels = 6.0, "random", True
    data.gain_low, data.gain_high, data.shuffle_fraction = 0.25, 1.25, 0.0
    data.normalize, config.eval.rescale = False, False
    optim.weight_decay, optim.weight_decay_kind, optim.decay = 1e-5, "l2", "all"
    optim.clip, optim.lr_decay_gamma = 0.0, 0.3
    optim.lr_decay_patience, optim.lr_decay_cooldown = 80, 10
    # In epochs of 64 excerpts of each song: 344 steps for the 86 of MUSDB18.
    train.epoch_samples, train.steps, train.early_stop = 64, 1000, 140
    train.batch_size, train.eval_every, train.checkpoint_every = 16, 1, 1


def spleeter(config: Config, name: str) -> None:
    """Model, data and optimiser of a protocol with Spleeter, for a few songs."""
    data, train = config.data, config.train
    config.model, data.sample_rate = SpleeterConfig(), 44100
    data.dataset, data.sources = "folder", ("vocals", "accompaniment")
    data.chunk_seconds, data.swap_channels, data.mix = 6.0, True, "random"
    data.normalize, config.eval.rescale = False, False
    config.live.train = config.live.eval = True
    config.optim.lr, config.optim.weight_decay = 1e-4, 0.0
    train.batch_size, train.steps = 4, 200
    train.eval_every = train.checkpoint_every = 50
    if name == "spleeter_retrain":
        config.optim.lr = 1e-3
    else:
        train.pretrained_from = "spleeter:2stems"
        # Statistics of four excerpts would undo what thousands of songs have taught.
        norms = [f"encoder_norm_{n}" for n in range(1, 6)]
        train.freeze = (*norms, *(f"decoder_norm_{n}" for n in range(1, 7)))
    if name == "spleeter":
        train.steps = 0


def small_unmix(config: Config) -> None:
    """What two cores can train: mono at 8 kHz, a quarter of the channels."""
    data, model, train = config.data, config.model, config.train
    model.audio_channels, data.sample_rate, data.swap_channels = 1, 8000, False
    model.n_fft, model.hop, model.bandwidth = 1024, 256, 0.0
    model.hidden, model.layers = 128, 2
    train.batch_size, train.steps, train.early_stop = 16, 400, 0
    train.epoch_samples = 0
    train.eval_every = train.checkpoint_every = 100
    train.statistics_excerpts = 500
    config.optim.lr_decay_patience, config.optim.lr_decay_cooldown = 2, 0


def as_published(config: Config) -> None:
    """Meta-TasNet and its losses."""
    config.model, loss = MetaTasNetConfig(), config.loss
    loss.over_sources = "sum"
    loss.dissimilarity, loss.similarity, loss.reconstruction = 3.0, 2.0, 0.05


def full_meta(config: Config, stages: int) -> None:
    """The published sizes, one stage at 8 kHz or three up to 32 kHz."""
    model = config.model
    model.layers, model.stack, model.filters = 6, 3, 3
    config.optim.optimizer = "ranger"
    if stages == 3:
        model.stages, config.data.sample_rate = 3, 32000


def small_meta(config: Config) -> None:
    """What two cores can train: 5 ms frames and a third of the channels."""
    model, train = config.model, config.train
    model.N, model.L, model.W, model.layers, model.stack = 128, 40, 40, 6, 2
    model.filters, model.mels, model.B, model.H = 2, 64, 48, 64
    config.data.chunk_seconds, config.optim.lr = 4.0, 2e-3
    train.batch_size, train.statistics_excerpts = 8, 500
    train.eval_every = train.checkpoint_every = 100
