"""Public Conv-TasNets from their state dicts: what their sources estimate."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest
from vectors import assert_near, load, quick

from sepjax.models import build_model
from sepjax.weights import from_state_dict

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5
NORMS = {"gLN": "global", "cLN": "frame", "cgLN": "cumulative"}


def options(family, kwargs):
    """Our options from the arguments of the source."""
    rename = {
        "naplab": dict(layer="layers", sr="sample_rate"),
        "torchaudio": dict(msk_num_layers="layers", msk_activate="mask_act"),
        "kaituoxu": dict(norm_type="norm", mask_nonlinear="mask_act"),
        "demucs_tasnet": dict(norm_type="norm", mask_nonlinear="mask_act"),
        "asteroid": dict(
            n_blocks="layers",
            norm_type="norm",
            mask_act="mask_act",
            encoder_activation="encoder_act",
            stride="stride",
            sample_rate="sample_rate",
        ),
    }[family]
    found = {ours: kwargs[name] for name, ours in rename.items() if name in kwargs}
    if "norm" in found:
        found["norm"] = NORMS[found["norm"]]
    return found


def vectors(shared_data):
    folder = shared_data / "model_ref"
    for family in ("naplab", "torchaudio", "kaituoxu", "demucs_tasnet", "asteroid"):
        for path in sorted(folder.glob(f"{family}_*.npz")):
            if path.stem != "asteroid_cumulative_norm":
                yield family, path.stem


def pytest_generate_tests(metafunc):
    if "vector" in metafunc.fixturenames:
        from conftest import SHARED

        found = list(vectors(SHARED)) or [("none", "none")]
        metafunc.parametrize("vector", found, ids=[name for _, name in found])


def test_estimates_are_those_of_the_source(shared_data, vector):
    family, name = vector
    arrays, state, meta = load(shared_data, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, params = from_state_dict(
            state, family=family, **options(family, meta["kwargs"])
        )
    wave = arrays["in/x"]
    if wave.ndim == 3 and config.audio_channels == 1:
        wave = wave[:, 0]
    model = build_model(config)
    drawn = jax.eval_shape(model.init, jax.random.key(0), wave)["params"]
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, drawn)
    found = quick(model.apply)({"params": params}, wave)
    latent = arrays["mid/encoder_output"].transpose(0, 2, 1)
    if config.encoder_act == "relu":  # asteroid's is stored before its activation
        latent = np.maximum(latent, 0)
    assert_near(found.latent, latent, TOLERANCE)
    masks = arrays["mid/mask"].transpose(0, 1, 3, 2)
    assert_near(found.masks, masks, TOLERANCE)
    assert_near(found.estimates, arrays["out/y"], TOLERANCE)
