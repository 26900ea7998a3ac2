"""A user's program: a type checker accepts it, and knows what it gets."""

from pathlib import Path
from typing import assert_type

import jax
import numpy as np

import sepjax
from sepjax.config import Config
from sepjax.models import Separation, SeparationModel
from sepjax.models.contract import Variables
from sepjax.models.tasnet.config import TasNetConfig


class Halves(SeparationModel):
    """A model of the user's own."""

    sources: tuple[str, ...] = ("one", "two")
    sample_rate: int = 8000
    rngs = ("dropout",)

    def __call__(self, mixture: jax.Array, train: bool = False) -> Separation:
        """Give half of the mixture to each source."""
        return Separation(mixture[:, None].repeat(2, axis=1) / 2)


def separated(folder: Path, wave: np.ndarray) -> dict[str, np.ndarray]:
    """The stems of a recording, by a trained model."""
    model, variables, config = sepjax.load(folder)
    assert_type(model, SeparationModel)
    assert_type(variables, Variables)
    assert_type(config, Config)
    assert_type(model.sources, tuple[str, ...])
    rate = config.data.sample_rate
    return sepjax.separate(model, variables, wave, sample_rate=rate, overlap=0.5)


def voices(run: Path, wave: np.ndarray, array: jax.Array) -> None:
    """The stems of arrays of either kind, by two models."""
    separator = sepjax.Separator([run, "hpss"], weights=[1, 2], two_stems="voice")
    assert_type(separator(wave, 44100), dict[str, np.ndarray])
    assert_type(separator(array, 44100, layout="channels_time"), dict[str, jax.Array])
    assert_type(separator.separate_file("a.wav", run, progress=print), dict[str, Path])


def scores(truth: jax.Array, estimate: jax.Array) -> jax.Array:
    """SI-SDR in decibels."""
    return sepjax.si_sdr(truth, estimate)


def report(run: Path) -> None:
    """Write the page of a run."""
    sepjax.write_report(run)


def built() -> SeparationModel:
    """A model of a configuration."""
    small = TasNetConfig(N=16, B=8)
    model = sepjax.build_model(small, sources=("voice", "rest"), sample_rate=8000)
    variables = model.init(jax.random.key(0), jax.numpy.zeros((1, 800)))
    sepjax.separate(Halves(), variables, np.zeros(800), sample_rate=8000)
    return model
