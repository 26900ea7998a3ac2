"""A small Conv-TasNet that learns real separation in minutes on two CPU cores.

    python run_experiment.py --config=configs/demo.py --workdir=runs/demo
    python run_experiment.py --config=configs/demo.py:remixed --workdir=runs/remixed \
        --config.data.root=/path/to/songs

``remixed`` has the four classes of MUSDB.
"""

from sepjax.config import Config
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.registry import nearest

NAMES = {
    "music": "six classes on the embedded demo music, minutes on two cores",
    "causal": "the same classes by a network of the past alone, for streams",
    "remixed": "four classes on a folder of songs (set config.data.root)",
}


def get_config(name: str = "music") -> Config:
    """The demo of the README, or the same model on a folder of recordings."""
    if name not in NAMES:
        raise ValueError(f"configs/demo.py has no {name!r}: {nearest(name, NAMES)}")
    config = Config(name=f"demo_{name}", model=TasNetConfig())
    if name == "remixed":
        config.data.dataset = "folder"
    else:
        classes = "vocals drums bass electric_guitar wind other"
        config.data.sources = tuple(classes.split())
    config.data.chunk_seconds = 4.0
    # A hybrid encoder of 8 ms stride and a TCN that sees one second.
    model, train = config.model, config.train
    model.encoding, model.fb_type, model.fb_ratio = "hybrid", "pmpgtf", 0.5
    model.N, model.L, model.W = 256, 64, 32
    model.B, model.H, model.layers, model.stack = 96, 128, 6, 2
    if name == "causal":
        model.causal, model.norm, model.input_norm = True, "cumulative", "cumulative"
    train.batch_size, train.steps = 8, 700
    train.eval_every = train.checkpoint_every = 100
    config.optim.lr, config.optim.lr_decay_patience = 2e-3, 1
    return config
