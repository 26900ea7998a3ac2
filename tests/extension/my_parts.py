"""A user's own parts: an encoder, a family, a loss, a metric and a data set.

Nothing here is part of sepjax, and no file of sepjax knows it: the configurations of
``my_experiment.py`` name this module in ``extensions``, and its parts by their names.
"""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from data_pipelines.audio.files import probe
from data_pipelines.manifest import Manifest, Stem, Track
from data_pipelines.registry import DATASETS
from sepjax.config import MODEL_CONFIGS, ModelConfig, positive, setting
from sepjax.evaluation.metrics import METRICS
from sepjax.losses import LOSSES
from sepjax.models import MODELS, Separation, SeparationModel
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.models.tasnet.encoders import BankEncoder
from sepjax.models.tasnet.model import tasnet
from sepjax.models.tasnet.registry import ENCODERS


@MODEL_CONFIGS.register("cosine_tasnet")
@dataclasses.dataclass(unsafe_hash=True)
class CosineConfig(TasNetConfig):
    """Conv-TasNet with an encoder of its own, which has one more field."""

    name: str = setting("cosine_tasnet", "free")
    encoding: str = "cosine"
    highest: float = positive(3000.0)  # Hz of the last filter


class CosineBank(nn.Module):
    """Windowed cosines from 0 Hz to the highest frequency, with learned gains."""

    filters: int
    length: int
    highest: float
    sample_rate: int

    @nn.compact
    def __call__(self):
        gains = self.param("gain", nn.initializers.ones, (self.filters,))
        time = jnp.arange(self.length)[:, None] / self.sample_rate
        hertz = jnp.linspace(0.0, self.highest, self.filters)[None]
        window = jnp.hanning(self.length)[:, None]
        return gains[None] * window * jnp.cos(2 * jnp.pi * hertz * time)


@ENCODERS.register("cosine")
def cosine_encoder(config, sample_rate):
    """The encoder of CosineConfig."""
    bank = CosineBank(config.N, config.L, config.highest, sample_rate)
    return BankEncoder(bank, config.W, dtype=config.compute_dtype)


MODELS.register("cosine_tasnet")(tasnet)


@MODEL_CONFIGS.register("smoother")
@dataclasses.dataclass(unsafe_hash=True)
class SmootherConfig(ModelConfig):
    """A family of its own."""

    name: str = "smoother"
    width: int = positive(8)  # channels
    dropout: float = 0.3

    def problems(self, config):
        """Ranges of the fields."""
        if not 0 <= self.dropout < 1:
            yield f"model.dropout={self.dropout} must be in [0, 1)"


class Smoother(SeparationModel):
    """Two convolutions over the whole waveform, with dropout between them."""

    sources: tuple[str, ...]
    sample_rate: int
    config: SmootherConfig

    rngs = ("dropout",)

    @nn.compact
    def __call__(self, mixture, *, train=False):
        """Separate (batch, time)."""
        hidden = nn.relu(
            nn.Conv(self.config.width, (9,), name="first")(mixture[..., None])
        )
        hidden = nn.Dropout(self.config.dropout)(hidden, deterministic=not train)
        waves = nn.Conv(len(self.sources), (9,), name="second")(hidden)
        return Separation(jnp.moveaxis(waves, -1, 1))


@MODELS.register("smoother")
def smoother(config, *, sources, sample_rate):
    """The model of SmootherConfig."""
    return Smoother(sources, sample_rate, config)


@LOSSES.register("peak_error", counts_silence=True, positive=True)
def peak_error(sources, estimates):
    """The fourth power mean of the error, which minds its peaks."""
    return jnp.mean(jnp.square(jnp.square(sources - estimates)), axis=-1) ** 0.25


@METRICS.register(
    "peak_ratio", label="peak ratio", definition="20 log10(max|e| / max|s|) dB"
)
def peak_ratio(reference, estimate):
    """How much louder the loudest sample has become, dB."""
    floor = 1e-9
    loudest = max(np.abs(estimate).max(), floor)
    return float(20 * np.log10(loudest / max(np.abs(reference).max(), floor)))


@DATASETS.register("flat_songs")
def flat_songs(root, sources):
    """Files ``<split>-<song>-<class>.wav`` in one folder."""
    paths = sorted(Path(root).glob("*-*-*.wav"))
    songs = sorted({path.stem.rsplit("-", 1)[0] for path in paths})
    files, tracks = [], []
    for song in songs:
        stems = {}
        for name in sources:
            files.append(probe(str(Path(root) / f"{song}-{name}.wav")))
            stems[name] = Stem(len(files) - 1)
        split, title = song.split("-", 1)
        tracks.append(Track(title, split, title, files[-1].frames, stems))
    facts = dict(sample_rate=files[0].sample_rate, channels=1, classes=tuple(sources))
    return Manifest(
        "flat_songs", str(root), **facts, files=tuple(files), tracks=tuple(tracks)
    )
