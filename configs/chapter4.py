"""Meta-TasNet: the thesis' chapter 4 on six classes, and the published three stages.

    python run_experiment.py --config=configs/chapter4.py:demo --workdir=runs/meta
    python run_experiment.py --config=configs/chapter4.py:all_data --workdir=runs/all \
        --config.data.root=/path/to/songs

``all_data`` has 900 songs, in which a class without a file is silent
(``data.missing=silence``), ``all_instruments`` those of them that have all classes
(287, ``data.missing=skip``), both at 8 kHz: days on one GPU. For what ``sepjax
prepare`` made, add ``--config.data.dataset=prepared``. ``demo`` takes about fifteen
minutes on two CPU cores. After ``demo_known``, ``demo_new`` with
``--config.train.pretrained_from=runs/known`` learns a new instrument from a few songs.
"""

from sepjax.config import Config, LossConfig
from sepjax.configs import chapter6
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
    config = small(name) if name.startswith("demo") else full(name)
    config.name = name if name.startswith("demo") else f"meta_{name}"
    return config


def full(name: str) -> Config:
    """The published sizes and recipe, one stage or three, or those of Open-Unmix."""
    config = Config()
    config.data.dataset = "folder"
    if name != "published":
        config.data.sources = CLASSES
    if name == "guitar":
        chapter6.open_unmix(config)
        return config
    chapter6.as_published(config)
    chapter6.full_meta(config, stages=3 if name == "published" else 1)
    config.optim.decay, config.optim.schedule = "all", "restarts"
    epochs = 250
    if name == "all_data":
        epochs, config.data.missing = 62, "silence"
    elif name == "all_instruments":
        config.data.missing = "skip"
    config.train.steps, config.train.batch_size = epochs * EPOCH, 12
    config.train.eval_every = config.train.checkpoint_every = EPOCH
    return config


def small(name: str) -> Config:
    """A small first stage, or the Conv-TasNet or Open-Unmix beside it."""
    config = Config()
    unknown = NEW if name == "demo_known" else ""
    config.data.sources = tuple(one for one in CLASSES if one != unknown)
    train = config.train
    if name == "demo_guitar":
        chapter6.open_unmix(config)
        chapter6.small_unmix(config)
        train.steps = 1000
        return config
    chapter6.as_published(config)
    chapter6.small_meta(config)
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
