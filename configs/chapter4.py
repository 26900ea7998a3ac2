"""Meta-TasNet: the thesis' chapter 4 on six classes, and the published three stages.

    python run_experiment.py --config=configs/chapter4.py:demo --workdir=runs/meta
    python run_experiment.py --config=configs/chapter4.py:all_data --workdir=runs/all \
        --config.data.root=/path/to/songs

``all_data`` and ``all_instruments`` are the first stage alone at 8 kHz, trained for 62
epochs on 900 songs and for 250 on the 287 that have all classes; ``published`` is the
model of the paper on MUSDB18. An epoch has 15 000 excerpts of 8 s, 1250 steps of 12:
days on one GPU. ``demo`` is a small first stage that learns the embedded music in about
fifteen minutes on two CPU cores, ``demo_conv`` a Conv-TasNet whose steps take as long.

A new instrument from a few songs, once ``demo_known`` has learnt the other five:

    python run_experiment.py --config=configs/chapter4.py:demo_known \
        --workdir=runs/known
    python run_experiment.py --config=configs/chapter4.py:demo_new --workdir=runs/new \
        --config.train.pretrained_from=runs/known
"""

from configs.chapter6 import as_published, open_unmix, small_meta, small_unmix
from sepjax.config import Config, LossConfig
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.registry import nearest

CLASSES = ("vocals", "drums", "bass", "electric_guitar", "wind", "other")
NEW = "wind"
EPOCH = 1250  # steps: 15 000 excerpts in batches of 12
NAMES = {
    "all_data": "first stage, six classes, 62 epochs (set config.data.root)",
    "all_instruments": "first stage, songs with all six classes, 250 epochs",
    "published": "three stages on the four classes of MUSDB18, 250 epochs",
    "guitar": "Open-Unmix on the six classes at 44.1 kHz stereo (4.2.1)",
    "demo": "a small first stage on the demo music, minutes on two cores",
    "demo_conv": "a Conv-TasNet whose steps cost as much as the demo's",
    "demo_guitar": "a small Open-Unmix on the six classes of the demo music (4.2.1)",
    "demo_known": f"the demo without {NEW}",
    "demo_new": f"{NEW} added to a trained demo_known, its embedding alone",
}


def get_config(name: str = "demo") -> Config:
    """A row of chapter 4, the published model, or a small one on the demo music."""
    if name not in NAMES:
        raise ValueError(f"configs/chapter4.py has no {name!r}: {nearest(name, NAMES)}")
    if name.endswith("guitar"):
        config = guitar(demo=name.startswith("demo"))
    else:
        config = small(name) if name.startswith("demo") else full(name)
    config.name = name if name.startswith("demo") else f"meta_{name}"
    return config


def full(name: str) -> Config:
    """The published sizes and recipe, one stage or three."""
    config = Config()
    config.data.dataset = "folder"
    as_published(config)
    optim = config.optim
    optim.optimizer, optim.decay, optim.schedule = "ranger", "all", "restarts"
    model = config.model
    model.layers, model.stack, model.filters = 6, 3, 3
    if name == "published":
        model.stages, config.data.sample_rate = 3, 32000
    else:
        config.data.sources = CLASSES
    epochs = 62 if name == "all_data" else 250
    config.train.steps, config.train.batch_size = epochs * EPOCH, 12
    config.train.eval_every = config.train.checkpoint_every = EPOCH
    return config


def small(name: str) -> Config:
    """A small first stage, or the Conv-TasNet beside it."""
    config = Config()
    config.data.sources = tuple(
        one for one in CLASSES if name != "demo_known" or one != NEW
    )
    train = config.train
    as_published(config)
    small_meta(config)
    if name == "demo_conv":
        config.loss = LossConfig()
        config.model = TasNetConfig(N=256, B=128, H=256, L=40, W=40, layers=6, stack=3)
    config.optim.lr_decay_patience, train.steps = 1, 1000
    if name == "demo_new":
        # A few songs, of which every chunk is heard some twenty times.
        train.pretrained_from = "demo_known"
        train.fit, train.steps, config.data.songs = ("embedding",), 200, 8
        train.eval_every = train.checkpoint_every = 20
        config.optim.lr, config.optim.weight_decay = 2e-2, 0.0
    return config


def guitar(demo: bool) -> Config:
    """Open-Unmix for all six classes, the electric guitar among them."""
    config = Config()
    open_unmix(config)
    if demo:
        small_unmix(config)
        config.train.steps = 1000
    else:
        config.data.dataset = "folder"
    config.data.sources = CLASSES
    return config
