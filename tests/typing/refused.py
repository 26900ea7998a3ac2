"""What a type checker must refuse: every line that says so, and no other."""

import numpy as np

import sepjax
from sepjax.models import SeparationModel


def wrong(model: SeparationModel, wave: np.ndarray) -> None:
    """Call functions as they cannot be called."""
    sepjax.separate(model, {}, wave)  # refused: no sample_rate
    sepjax.separate("model", {}, wave, sample_rate=8000)  # refused: no model
    sepjax.separate(model, {}, wave, sample_rate=8000, chunks=4)  # refused: chunk
    sepjax.build_model(sources=("voice",), sample_rate=8000)  # refused: no config
    sepjax.seperate(model, {}, wave, sample_rate=8000)  # refused: no such name
    model.sources.append("voice")  # refused: a tuple
