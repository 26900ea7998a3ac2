"""Public Conv-TasNets from their state dicts: what their sources estimate."""

import json
import warnings

import jax
import numpy as np
import pytest
from vectors import assert_near, load, quick

from sepjax.models.build import model_of
from sepjax.weights import from_state_dict
from tests.support.models import config_of

# The README of the vectors: what a float32 implementation can reach.
TOLERANCE = 1e-5
VECTORS = (
    *(("naplab", case) for case in ("causal", "noncausal")),
    *(("torchaudio", case) for case in ("default_like", "relu")),
    *(("kaituoxu", case) for case in ("cln_causal", "gln_relu", "gln_softmax")),
    ("demucs_tasnet", "stereo"),
    *(("asteroid", case) for case in ("causal_cgln_softmax", "gln_sigmoid")),
    *(("asteroid", case) for case in ("noskip_relu", "param_sinc")),
)
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


@pytest.mark.parametrize(("family", "case"), VECTORS)
def test_estimates_are_those_of_the_source(shared_data, family, case):
    arrays, state, meta = load(shared_data, f"{family}_{case}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config, params = from_state_dict(
            state, family=family, **options(family, meta["kwargs"])
        )
    wave = arrays["in/x"]
    if wave.ndim == 3 and config.model.audio_channels == 1:
        wave = wave[:, 0]
    model = model_of(config)
    drawn = jax.eval_shape(model.init, jax.random.key(0), wave)["params"]
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, drawn)
    found = quick(model.apply)({"params": params}, wave)
    latent = arrays["mid/encoder_output"].transpose(0, 2, 1)
    if config.model.encoder_act == "relu":  # asteroid's is stored before its activation
        latent = np.maximum(latent, 0)
    assert_near(found.latent, latent, TOLERANCE)
    masks = arrays["mid/mask"].transpose(0, 1, 3, 2)
    assert_near(found.masks, masks, TOLERANCE)
    assert_near(found.estimates, arrays["out/y"], TOLERANCE)


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ("naplab_paper_best", dict()),
        ("asteroid_default_2src", dict(padding="none")),
        # Without the last block's residual convolution, which nothing uses.
        ("torchaudio_default", dict(missing=128 * 512 + 128)),
        (
            "kaituoxu_paper_best",
            dict(input_norm="frame", skip=False, bias=False, encoder_act="relu"),
        ),
    ],
)
def test_published_sizes(shared_data, source, fields):
    path = shared_data / "model_ref/conv_tasnet_full_size_parameter_counts.json"
    expected = json.loads(path.read_text())[source]
    best = dict(N=512, L=16, W=8, B=128, H=512, layers=8, stack=3)
    missing = fields.pop("missing", 0)
    best |= dict(encoding="simple", sources=("first", "second"))
    config = config_of(**best, **fields)
    wave = np.zeros((1, 800), np.float32)
    drawn = jax.eval_shape(model_of(config).init, jax.random.key(0), wave)
    assert sum(leaf.size for leaf in jax.tree.leaves(drawn)) - missing == expected
