"""The small separator in the package: vocals and accompaniment, heard as they come.

    make box SONGS=/path/to/songs           # trains it and puts it into the package
    python run_experiment.py --config=configs/box.py:both --workdir=runs/both \
        --config.data.root=/path/to/songs   # a row of the table in docs/distillation.md

Songs have files of vocals and accompaniment; two fifths of a folder are never heard in
training. A recurrent network of the past alone, with windows of 46 ms, a student of
Deezer's Spleeter, which is fetched at first use, on those songs and on demo music.
"""

from sepjax.config import Config
from sepjax.models.open_unmix.config import OpenUnmixConfig
from sepjax.registry import nearest

NAMES = {
    "small": "the model in the package, taught by true stems and a teacher's",
    "true": "half of its steps, from true stems alone",
    "teacher": "as many, from the teacher's stems alone",
    "both": "as many, from both, in the shares of the package's model",
    "tiny": "a sibling of a few steps, which shows that a build can be repeated",
}
TEACHER = "spleeter:2stems"


def get_config(name: str = "small") -> Config:
    """The recipe, or what it is compared with."""
    if name not in NAMES:
        raise ValueError(f"configs/box.py has no {name!r}: {nearest(name, NAMES)}")
    config = Config(name=name, model=OpenUnmixConfig(audio_channels=2))
    model, data, train, optim = config.model, config.data, config.train, config.optim
    model.n_fft, model.hop, model.bandwidth = 2048, 512, 12000.0
    model.hidden, model.layers, model.bidirectional, model.dropout = 128, 2, False, 0.4
    model.wiener_iterations, model.wiener_softmask = 0, True
    data.dataset, data.sources = "folder", ("vocals", "accompaniment")
    data.sample_rate, data.chunk_seconds = 44100, 6.0
    data.mix, data.swap_channels, data.shuffle_fraction = "random", True, 0.0
    data.gain_low, data.gain_high, data.speeds = 0.25, 1.25, (0.84, 0.92, 1.09, 1.19)
    data.normalize = config.eval.rescale = False
    train.batch_size, train.steps, train.statistics_excerpts = 8, 400, 400
    # One evaluation: nothing is chosen by the songs that are not heard. More steps
    # teach the singer of a few songs (docs/distillation.md).
    train.eval_every, train.checkpoint_every = train.steps, 100
    train.teacher, train.teacher_share = TEACHER, 0.5
    optim.lr, optim.weight_decay = 4e-3, 1e-5
    optim.schedule, optim.warmup_steps = "cosine", 100
    if name != "small":
        train.steps = train.eval_every = 200
    if name == "true":
        train.teacher = ""
    elif name == "teacher":
        train.teacher_share = 1.0
    elif name == "tiny":
        model.n_fft, model.hop, model.hidden, model.layers = 256, 64, 8, 1
        data.chunk_seconds, data.speeds, train.teacher = 0.5, (), ""
        train.steps, train.eval_every, train.checkpoint_every = 4, 2, 2
        train.batch_size, train.statistics_excerpts, optim.warmup_steps = 2, 4, 1
    return config
