"""The defaults of the thesis' Table A.1, and two sizes of it at 8 kHz.

    python run_experiment.py --config=configs/base.py:explore --workdir=runs/explore \
        --config.data.dataset=folder --config.data.root=/path/to/musdb18hq

``explore`` and ``large`` are the sizes of chapter 5's comparisons. A step of batch 4
takes about one second and three on two CPU cores: these want a GPU.
"""

from sepjax.config import Config
from sepjax.models.demucs.config import DemucsConfig
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.registry import nearest

NAMES = {
    "full": "Table A.1: 44.1 kHz, layers 10, stack 4",
    "explore": "8 kHz, layers 6, stack 3, H 160: the comparisons of chapter 5",
    "large": "8 kHz, layers 6, stack 3, H 640",
    "music": "stereo at 44.1 kHz, the public models of MUSDB18",
    "demucs": "Demucs v1, stereo at 44.1 kHz, 64 channels",
}


def get_config(name: str = "full") -> Config:
    """Table A.1, or one of its smaller relatives."""
    if name not in NAMES:
        raise ValueError(f"configs/base.py has no {name!r}: {nearest(name, NAMES)}")
    if name == "demucs":
        config = Config(name=name, model=DemucsConfig(audio_channels=2, channels=64))
        config.data.sample_rate = 44100
        return config
    config = Config(name=name, model=TasNetConfig())
    config.data.sample_rate = 44100 if name in ("full", "music") else 8000
    if name == "music":
        music(config.model)
    elif name != "full":
        config.model.layers, config.model.stack = 6, 3
        config.model.H = 640 if name == "large" else 160
    return config


def music(model: TasNetConfig) -> None:
    """Stereo, a window of 20 samples every 10, masks from the last residual."""
    model.audio_channels, model.encoding, model.encoder_act = 2, "simple", "relu"
    model.N, model.L, model.W, model.B, model.H = 256, 20, 10, 256, 512
    model.input_norm, model.mask_act = "frame", "relu"
    model.skip, model.bias = False, False
