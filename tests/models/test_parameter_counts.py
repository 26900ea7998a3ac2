"""Sizes of published models, and those that the thesis' table implies."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from sepjax.configs import base
from sepjax.models.build import model_of
from tests.support.models import config_of

BEST = dict(encoding="simple", N=512, L=16, W=8, B=128, H=512, layers=8, stack=3)
MUSIC = dataclasses.asdict(base.get_config("music").model)


def shapes(**fields):
    config = config_of(**fields)
    model = model_of(config)
    stereo = (2,) if config.model.audio_channels == 2 else ()
    mixture = jnp.zeros((1, *stereo, 800))
    sources = jnp.zeros((1, len(config.data.sources), *stereo, 800))
    inputs = (mixture, sources) if model.needs_sources else (mixture,)
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_best_model_of_the_paper():
    # Luo & Mesgarani 2019 with biases, two speakers.
    assert count(shapes(**BEST, sources=("first", "second"))) == 5_050_545


@pytest.mark.parametrize(("layers", "weights"), [(8, 8_852_032), (10, 10_977_872)])
def test_music_variant(layers, weights):
    assert count(shapes(**MUSIC | dict(layers=layers))) == weights


def test_skip_path_and_biases_are_two_switches():
    small = dict(encoding="simple", N=16, B=8, H=12, layers=2, stack=1)
    full = shapes(**small)["separator"]["tcn"]
    no_skip = shapes(**small, skip=False)["separator"]["tcn"]
    no_bias = shapes(**small, bias=False)["separator"]["tcn"]
    assert full["output"]["kernel"].shape == no_bias["output"]["kernel"].shape
    assert no_skip["output"]["kernel"].shape == (2, 12, 8)
    assert "bias" in no_skip["output"]
    assert "bias" not in no_bias["output"]


@pytest.mark.parametrize(
    ("layers", "stack", "hidden", "millions"),
    [(6, 3, 160, 1.77), (6, 3, 640, 5.99), (10, 4, 160, 3.50)],
)
def test_separators_of_the_thesis(layers, stack, hidden, millions):
    params = shapes(encoding="simple", layers=layers, stack=stack, H=hidden)
    assert round(count(params["separator"]) / 1e6, 2) == millions


@pytest.mark.parametrize("inverse", ["none", "dec", "enc"])
@pytest.mark.parametrize(("fb_type", "each"), [("param_sinc", 1), ("pmpgtf", 3)])
def test_filterbanks_have_few_parameters(fb_type, each, inverse):
    # A pair of sinc filters shares two edges; a gammatone has centre, bandwidth, phase.
    params = shapes(encoding="filterbanks", fb_type=fb_type, who_is_pinv=inverse)
    del params["separator"]
    sides = 2 if inverse == "none" else 1
    assert count(params) == sides * each * 440


@pytest.mark.parametrize("encoding", ["simple", "filterbanks", "hybrid"])
def test_ideal_masks_have_no_separator(encoding):
    assert "separator" not in shapes(encoding=encoding, ideal_mask=True)


def test_simple_encoder_and_decoder():
    params = shapes(encoding="simple", N=440, L=20)
    assert count(params["encoder"]) == count(params["decoder"]) == 440 * 20


def test_hybrid_encoder_and_decoder():
    params = shapes(encoding="hybrid", fb_type="pmpgtf", N=440, L=20, filters=2)
    free = 220 * (20 + 40)
    assert count(params["encoder"]) == free + 2 * 220 * 3 + 880 * 440 + 440 * 440
    # One convolution per layer, of half and a quarter of the channels.
    assert count(params["decoder"]) == 440 * 330 + 220 * 20 + 110 * 40


@pytest.mark.parametrize(
    ("stages", "weights"), [(1, 10_061_812), (2, 23_261_800), (3, 45_531_260)]
)
def test_meta_tasnet(stages, weights):
    fields = dict(name="meta_tasnet", stages=stages)
    fields |= dict(N=440, L=20, W=20, B=160, H=160, layers=6, stack=3, filters=3)
    params = shapes(**fields, sample_rate=8000 * 2 ** (stages - 1))
    # Mean and deviation of every bin are facts about the data, not trained.
    bins = sum(512 * 2**stage + 1 for stage in range(stages))
    assert count(params) - 2 * bins == weights


def test_table_has_the_default_size():
    config = config_of()
    assert count(shapes(**vars(config.model))) == count(shapes())
