"""Dictionaries of nonnegative templates, learned from the stems of each class.

    python run_experiment.py --config=configs/classical.py:nmf --workdir=runs/nmf \
        --config.data.root=/path/to/songs

The other classical systems need no training: ``sepjax separate song.wav -n repet``.
"""

from sepjax.config import Config
from sepjax.models.classical.config import DictionaryConfig
from sepjax.registry import nearest

NAMES = {
    "nmf": "four classes on a folder of songs, 32 templates each",
    "nmf_voice": "the same, but templates of the voice are found in each song",
    "nmf_demo": "four classes of the embedded demo music, minutes on two cores",
}


def get_config(name: str = "nmf") -> Config:
    """Dictionaries learned from a folder of songs, or from the demo music."""
    if name not in NAMES:
        raise ValueError(
            f"configs/classical.py has no {name!r}: {nearest(name, NAMES)}"
        )
    config = Config(name=name, model=DictionaryConfig())
    if name != "nmf_demo":
        config.data.dataset, config.data.missing = "folder", "silence"
    if name == "nmf_voice":
        config.model.adapted = "vocals"
    config.data.chunk_seconds, config.eval.rescale = 4.0, False
    train, optim = config.train, config.optim
    train.batch_size, train.steps = 8, 100
    train.eval_every = train.checkpoint_every = 50
    optim.lr, optim.weight_decay = 0.05, 0.0
    return config
