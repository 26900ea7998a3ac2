"""Deep encoders and decoders against plain convolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.models.tasnet.deep import analyze_channels, synthesize_channels
from tests.support.models import make_model
from tests.support.signals import noise_array as noise

SMALL = dict(encoding="deep", N=6, L=8, W=4, B=4, H=4, layers=1, stack=1)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("length", "stride"), [(8, 4), (5, 5), (7, 2)])
def test_layer_is_a_strided_convolution(length, stride, depthwise):
    latent = noise(2, 23, 3)
    kernel = noise(length, 3) if depthwise else noise(length, 3, 5)
    found = analyze_channels(latent, kernel, stride)
    left = max(length - stride, 0) // 2
    frames = -(-23 // stride)
    right = max((frames - 1) * stride + length - left - 23, 0)
    expected = jax.lax.conv_general_dilated(
        latent,
        kernel[:, None] if depthwise else kernel,
        (stride,),
        [(left, right)],
        dimension_numbers=("NWC", "WIO", "NWC"),
        feature_group_count=3 if depthwise else 1,
        precision="highest",
    )
    assert found.shape == expected.shape == (2, frames, 3 if depthwise else 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("depthwise", [False, True])
def test_decoding_is_the_adjoint_of_encoding(depthwise):
    kernel = noise(7, 3) if depthwise else noise(7, 3, 5)
    latent, other = noise(1, 20, 3), noise(1, 10, 3 if depthwise else 5, seed=1)
    forward = np.vdot(analyze_channels(latent, kernel, 2), other)
    back = synthesize_channels(other, kernel.T, 2, frames=20)
    assert forward == pytest.approx(np.vdot(latent, back), rel=1e-4)


def test_layers_are_rectified_but_the_last():
    model = make_model(**SMALL, filters=2)
    wave = noise(1, 400)
    variables = jax.jit(model.init)(jax.random.key(0), wave)
    encoder = functools.partial(model.apply, method=lambda m, x: m.encoder(x))
    latent, turned = (jax.jit(encoder)(variables, x) for x in (wave, -wave))
    assert latent.shape == (1, 25, 6)
    assert float(latent.min()) < 0 < float(latent.max())
    # A purely linear encoder would cancel.
    assert np.abs(np.add(latent, turned)).max() > 1e-3


def test_second_layer_has_a_filter_for_every_pair_of_channels():
    shapes = {}
    for mode in ("full", "depthwise"):
        model = make_model(**SMALL, filters=2, deep_mode=mode)
        tree = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 400)))
        bank = tree["params"]["encoder"]["layers_0"]["bank"]
        assert set(bank) == {"center", "bandwidth", "phase"}
        shapes[mode] = {leaf.shape for leaf in bank.values()}
    assert shapes == {"full": {(36,)}, "depthwise": {(6,)}}
