"""A user's own configurations, of parts that sepjax does not know."""

from my_parts import CosineConfig, SmootherConfig

from sepjax.config import Config


def get_config(name="smoother"):
    """A family of its own, or an encoder of its own in a family of sepjax."""
    config = Config(name=name, extensions=("my_parts",))
    config.data.dataset = "flat_songs"
    config.data.sources = ("low", "high")
    config.data.chunk_seconds = 0.25
    config.data.shuffle_fraction = 0.0
    if name == "smoother":
        config.model = SmootherConfig()
        config.loss.name = "peak_error+0.1*l1"
    else:
        config.model = CosineConfig(N=16, L=32, W=16, B=8, H=8, layers=1, stack=1)
        config.loss.name = "l1_snr"
    config.train.steps, config.train.batch_size = 8, 4
    config.train.eval_every = config.train.checkpoint_every = 4
    config.train.log_every = 1
    config.eval.metrics = ("si_sdr", "peak_ratio")
    config.eval.excerpts = 1
    return config
