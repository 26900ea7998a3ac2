"""One tiny configuration of every model family, with all that couples items."""

import jax
import numpy as np

from sepjax.functional.augment import Excerpt
from sepjax.models.build import model_of
from sepjax.train.objective import initial_memory
from sepjax.train.program import preparation
from sepjax.train.step import init_variables
from tests.support.toy import toy_config, toy_excerpt

FAMILIES = {
    "tasnet": dict(model__encoding="simple"),
    "irm": dict(model__encoding="filterbanks", model__ideal_mask=True),
    "meta_tasnet": dict(
        model__name="meta_tasnet",
        model__mels=8,
        model__layers=1,
        loss__dissimilarity=3.0,
        loss__similarity=2.0,
        loss__reconstruction=0.05,
    ),
    "open_unmix": dict(
        model__name="open_unmix",
        model__hidden=8,
        model__layers=2,
        model__bandwidth=3000.0,
        model__n_fft=128,
        model__hop=32,
        model__wiener_iterations=0,
        data__normalize=False,
    ),
    "demucs": dict(
        model__name="demucs",
        model__channels=4,
        model__depth=2,
        model__lstm_layers=1,
    ),
    "wave_u_net": dict(
        model__name="wave_u_net",
        model__levels=2,
        model__filters=4,
        model__down_kernel=5,
    ),
    "wavenet": dict(
        model__name="wavenet",
        model__layers=3,
        model__stack=1,
        model__channels=4,
        model__skip=4,
        model__hidden=8,
        model__last=4,
    ),
    "mm_dense_lstm": dict(
        model__name="mm_dense_lstm",
        model__bands=(1000.0,),
        model__networks=("2: 1 1+4 1", "2: 1", "2: 1 1 1"),
        model__final="2: 1",
        model__first=2,
        model__n_fft=64,
        model__hop=32,
        model__wiener_iterations=0,
        data__normalize=False,
    ),
    "spleeter": dict(
        model__name="spleeter",
        model__audio_channels=1,
        model__filters=(2, 3),
        model__n_fft=64,
        model__hop=16,
        model__patch_frames=32,
        model__bins=24,
        data__normalize=False,
    ),
    "roformer": dict(
        model__name="roformer",
        model__audio_channels=1,
        model__n_fft=64,
        model__hop=32,
        model__mel_bands=6,
        model__channels=8,
        model__blocks=1,
        model__heads=2,
        model__head_channels=4,
        model__mask_layers=2,
        data__normalize=False,
    ),
}
# Where devices are compared: what splits as the whole does, and compiles quicker.
SMALLER = {
    "tasnet": dict(model__layers=1),
    "open_unmix": dict(model__bidirectional=False),
}


def family_config(family, **fields):
    return toy_config(**(dict(train__batch_size=8) | FAMILIES[family] | fields))


def family_batch(config, seed=0):
    """A feeder's batch; the second class sounds in three of eight items."""
    waves = toy_excerpt(config.train.batch_size, 2, seed=seed).sources
    waves = waves * np.linspace(0.3, 1.0, len(waves), dtype=np.float32)[:, None, None]
    chunks = (20000 * waves[..., None]).astype(np.int16)
    chunks[2:7, 1] = 0
    shape = chunks.shape[:2]
    return {
        "chunks": chunks,
        "gains": np.ones((*shape, 1), np.float32),
        "channel": np.zeros(shape, np.int32),
    }


def family_parts(config):
    """Model, parameters, memory and an excerpt, as host arrays."""
    model = model_of(config)
    time = round(config.data.chunk_seconds * config.data.sample_rate)

    def make(key, batch):
        variables = init_variables(model, key, time)
        memory = initial_memory(model, variables, key)
        return variables["params"], memory, preparation(config)(batch)

    made = jax.jit(make)(jax.random.key(0), family_batch(config))
    params, memory, excerpt = jax.device_get(made)
    return model, params, memory, Excerpt(*excerpt)
