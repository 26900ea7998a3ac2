"""Wiener EM: stored vectors, float32 on near-mono music, excerpts, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.wiener import (
    expectation_maximization,
    gaussian_model,
    initial_estimates,
    residual_model,
    wiener_em,
)
from tests.support.annotations import unchecked


@pytest.fixture(scope="module")
def vectors(shared_data):
    """Sources lead, as ours do."""
    with np.load(shared_data / "umx_ref/wiener_2ch.npz") as data:
        arrays = dict(data)
    return {
        name: np.moveaxis(array, -1, 0) if array.ndim == 4 or name == "em_v" else array
        for name, array in arrays.items()
    }


def relative(found, expected):
    assert found.shape == expected.shape
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@functools.cache
def quick(function, **options):
    """Jit for a function that runs once or twice, kept for its next use."""
    return jax.jit(
        functools.partial(function, **options),
        compiler_options={"xla_backend_optimization_level": 0},
    )


CASES = [
    ("umx", iterations, softmask, residual)
    for iterations in range(3)
    for softmask in (0, 1)
    for residual in (0, 1)
] + [
    ("norbert", iterations, softmask, 0)
    for iterations in range(3)
    for softmask in (0, 1)
]
# The masks and the residual come before the first iteration, in two ways each.
QUICK = {("umx", 0, 0, 0), ("umx", 0, 1, 1), ("umx", 1, 0, 1), ("umx", 1, 1, 0)}
QUICK |= {("umx", 2, 0, 0), ("umx", 2, 1, 1)}
QUICK |= {("norbert", 0, 0, 0), ("norbert", 0, 1, 0), ("norbert", 1, 1, 0)}
QUICK |= {("norbert", 2, 0, 0)}
CASES = [
    case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow)
    for case in CASES
]


@pytest.mark.parametrize(("variant", "iterations", "softmask", "residual"), CASES)
def test_stored_vectors(vectors, variant, iterations, softmask, residual):
    name = f"{variant}_it{iterations}_soft{softmask}"
    expected = vectors[name + f"_res{residual}" * (variant == "umx")]
    options = dict(
        iterations=iterations,
        softmask=bool(softmask),
        residual=bool(residual),
        variant=variant,
    )
    run = quick(wiener_em, **options)
    with jax.enable_x64(True):
        assert relative(run(vectors["v"], vectors["x"]), expected) < 1e-10
    if variant == "umx":  # norbert regularizes float32 in another way
        single = vectors["v"].astype(np.float32), vectors["x"].astype(np.complex64)
        assert relative(run(*single), expected) < 1e-5


def test_norbert_in_float32_has_the_epsilon_of_its_type(vectors):
    v, x = vectors["v"].astype(np.float32), vectors["x"].astype(np.complex64)
    found = quick(wiener_em, variant="norbert", iterations=2)(v, x)
    with jax.enable_x64(True):
        expected = norbert(v.astype(float), x.astype(complex), 2, np.finfo("f").eps)
    assert relative(found, expected) < 1e-5


def norbert(v, x, iterations, eps):
    """The specification, in matrices."""
    y = v * np.exp(1j * np.angle(x))
    scale = max(1, np.abs(x).max() / 10)
    x, y = x / scale, y / scale
    channels = x.shape[-1]
    for _ in range(iterations):
        power = np.mean(np.abs(y) ** 2, -1)
        outer = np.einsum("jtfa,jtfb->jfab", y, y.conj())
        covariance = outer / (eps + power.sum(1))[..., None, None]
        total = np.einsum("jtf,jfab->tfab", power, covariance)
        total = total + eps**0.5 * np.eye(channels)
        w = np.einsum("tfab,tfb->tfa", np.linalg.inv(total), x)
        y = np.einsum("jtf,jfab,tfb->jtfa", power, covariance, w)
    return y * scale


@pytest.mark.parametrize("channels", [1, 3])
def test_other_numbers_of_channels(channels):
    v, x = scene(channels=channels)
    with jax.enable_x64(True):
        eps = np.finfo(float).eps
        found = quick(wiener_em, variant="norbert", iterations=2)(v, x)
        # One channel: norbert divides by the variance and another epsilon.
        assert relative(found, norbert(v, x, 2, eps)) < 1e-9
        if channels == 1:
            found = quick(wiener_em, iterations=2)(v, x)
            assert relative(found, norbert(v, x, 2, 1e-10)) < 1e-12


def test_mono_inverse_of_the_variants():
    # An epsilon of 1e-10 beside a variance of 1e-5 counts in norbert's only.
    v = np.full((1, 1, 1, 1), 1e-3, np.float64)
    x = np.full((1, 1, 1), 1e-3 + 0j)
    with jax.enable_x64(True):
        for variant, eps, more in (("umx", 1e-10, 0), ("norbert", 2.0**-52, 2.0**-52)):
            r = 1e-6 / (1e-6 + eps)
            expected = 1e-6 * r / (1e-6 * r + eps**0.5 + more) * 1e-3
            found = wiener_em(jnp.asarray(v), jnp.asarray(x), variant=variant)
            np.testing.assert_allclose(found.ravel(), expected, rtol=1e-13)


def test_internals(vectors):
    with jax.enable_x64(True):
        x = jnp.asarray(vectors["x"])
        y = initial_estimates(jnp.asarray(vectors["v"]), x, softmask=True)
        run = quick(expectation_maximization, iterations=2)
        assert relative(run(y, x), vectors["em_y"]) < 1e-10
        # The model that the second iteration filters with.
        v, covariance = gaussian_model(expectation_maximization(y, x))
        assert relative(v, vectors["em_v"]) < 1e-10
        assert relative(covariance, vectors["em_R"]) < 1e-10


def test_residual_model(vectors):
    with jax.enable_x64(True):
        found = residual_model(*(jnp.asarray(vectors[name]) for name in "vx"))
        assert relative(found, vectors["norbert_residual_v"]) < 1e-10


def scene(frames=40, bins=7, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(2, 3, frames, bins, channels))
    y = parts[0] + 1j * parts[1]
    y *= rng.uniform(0.1, 3, (3, 1, bins, 1)) * rng.uniform(size=(3, frames, bins, 1))
    v = np.abs(y) * rng.uniform(0.7, 1.3, (3, frames, bins, 1))
    return v, y.sum(0)


def near_mono(kind):
    """Magnitudes and mixture of three sources whose channels are nearly the same."""
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(4, 3, 60, 9))
    middle, side = parts[0] + 1j * parts[1], parts[2] + 1j * parts[3]
    middle *= rng.uniform(0.1, 5, (3, 1, 9)) * rng.uniform(size=(3, 60, 9)) ** 2
    left, right, width = {
        "duplicated mono": (1, 1, 0),
        "narrow": (1, 1, 1e-3),
        "off center": (0.9, 0.3, 0),
        "off center, narrow": (0.9, 0.3, 1e-3),
        "turned in phase": (0.9, 0.3j, 0),
    }[kind]
    y = np.stack([left * middle + width * side, right * middle - width * side], -1)
    y[:, :, ::4] *= kind != "duplicated mono"  # silent bins, too
    return np.abs(y) * rng.uniform(0.7, 1.3, (*y.shape[:3], 1)), y.sum(0)


@pytest.mark.parametrize(
    "kind",
    [
        *("duplicated mono", "narrow", "off center", "off center, narrow"),
        "turned in phase",
    ],
)
def test_near_mono_in_float32(kind):
    iterations = 3
    v, x = near_mono(kind)
    with jax.enable_x64(True):
        exact = np.asarray(quick(wiener_em, iterations=iterations)(v, x))
    found = quick(wiener_em, iterations=iterations)(
        v.astype(np.float32), x.astype(np.complex64)
    )
    assert decibels(exact, found) > 100


@pytest.mark.parametrize(
    ("left", "right"), [(1e-6, 1), (1, 1e-6), ((1, 1, 1e-4), (1e-4, 1, 1))]
)
def test_nearly_silent_channels_in_float32(left, right):
    y, _ = scene(frames=60)
    y = y * np.exp(2j * np.pi * np.random.default_rng(2).uniform(size=y.shape))
    levels = np.broadcast_to(np.stack(np.broadcast_arrays(left, right), -1), (3, 2))
    y = y * levels[:, None, None]
    y[:, ::3, :, 0] = 0  # hard masks
    v, x = np.abs(y), y.sum(0)
    with jax.enable_x64(True):
        exact = np.asarray(quick(wiener_em, iterations=3)(v, x))
    found = quick(wiener_em, iterations=3)(v.astype("f"), x.astype("F"))
    for channel in range(2):
        assert decibels(exact[..., channel], found[..., channel]) > 100


def decibels(exact, found):
    error = np.sum(np.abs(np.asarray(found) - exact) ** 2)
    return 10 * np.log10(np.sum(np.abs(exact) ** 2) / error)


def test_excerpts_know_nothing_of_each_other():
    v, x = scene(frames=25)
    v, x = v.astype(np.float32), (20 * x).astype(np.complex64)
    x[:10] *= 5  # another scale
    found = quick(wiener_em, excerpt_frames=10)(v, x)
    for start in (0, 10, 20):
        piece = slice(start, start + 10)
        alone = quick(wiener_em)(v[:, piece], x[piece])
        assert relative(found[:, piece], np.asarray(alone)) < 1e-5
    whole = quick(wiener_em, excerpt_frames=0)(v, x)
    assert relative(found, np.asarray(whole)) > 1e-2
    assert relative(quick(wiener_em)(v, x), np.asarray(whole)) == 0


def test_short_tails_join_the_excerpt_before():
    v, x = scene(frames=25)
    v, x = v.astype(np.float32), x.astype(np.complex64)
    found = quick(wiener_em, excerpt_frames=10, merge_tail=6)(v, x)
    assert found.shape == v.shape
    for piece in (slice(0, 10), slice(10, 25)):
        alone = quick(wiener_em, excerpt_frames=0)(v[:, piece], x[piece])
        assert relative(found[:, piece], np.asarray(alone)) < 1e-5
    kept = quick(wiener_em, excerpt_frames=10, merge_tail=5)(v, x)
    np.testing.assert_array_equal(kept, quick(wiener_em, excerpt_frames=10)(v, x))
    # A file of one short excerpt, and one whose only whole excerpt gets the tail.
    for frames in (3, 12):
        short = quick(wiener_em, excerpt_frames=10, merge_tail=6)(
            v[:, :frames], x[:frames]
        )
        whole = quick(wiener_em, excerpt_frames=0)(v[:, :frames], x[:frames])
        assert relative(short, np.asarray(whole)) < 1e-5


def test_batches_and_vmap():
    pairs = [scene(frames=7, seed=seed) for seed in range(4)]
    v = np.stack([v for v, _ in pairs]).astype(np.float32)
    x = np.stack([x for _, x in pairs]).astype(np.complex64)
    options = dict(excerpt_frames=5, residual=True)
    alone = np.stack([quick(wiener_em, **options)(*p) for p in zip(v, x)])
    twice = v.reshape(2, 2, *v.shape[1:]), x.reshape(2, 2, *x.shape[1:])
    found = quick(wiener_em, **options)(*twice).reshape(alone.shape)
    assert relative(found, alone) < 1e-6
    mapped = jax.vmap(lambda v, x: wiener_em(v, x, **options))(v, x)
    assert relative(mapped, alone) < 1e-6


@pytest.mark.parametrize(
    ("channels", "softmask"),
    [
        *((2, True), (1, False)),
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(2, False, marks=pytest.mark.slow),
    ],
)
def test_gradients_are_finite_at_silence(channels, softmask):
    v, x = scene(frames=6, bins=5, channels=channels)
    v, x = v.astype(np.float32), x.astype(np.complex64)
    v[:, :, 2], x[:, 2] = 0, 0  # a bin, a source, a frame, channels
    v[1], v[:, 3], x[3] = 0, 0, 0
    x[..., -1] *= 1e-18
    x[0] *= 1e-15

    def power(v, x):
        y = wiener_em(
            v, x, iterations=2, softmask=softmask, residual=True, excerpt_frames=4
        )
        return jnp.sum(jnp.square(y.real) + y.imag)

    slopes = quick(jax.grad(power, argnums=(0, 1)))
    for arrays in ((v, x), (np.zeros_like(v), np.zeros_like(x))):
        for gradient in slopes(*arrays):
            assert np.isfinite(gradient).all()


def test_gradient_is_that_of_differences():
    v, x = scene(frames=5, bins=3)
    parts = np.random.default_rng(3).uniform(size=(3, *x.shape))
    direction = parts[0] + 1j * parts[1]
    with jax.enable_x64(True):

        def power(t, u):
            y = wiener_em(v * (1 + u * parts[2:]), x + t * direction)
            return jnp.sum(jnp.square(y[0].real) + y[0].imag)

        slopes = quick(jax.grad(power, argnums=(0, 1)))(0.0, 0.0)
        power = quick(power)
        differences = (
            (power(1e-6, 0.0) - power(-1e-6, 0.0)) / 2e-6,
            (power(0.0, 1e-6) - power(0.0, -1e-6)) / 2e-6,
        )
    np.testing.assert_allclose(slopes, differences, rtol=1e-6)


def test_inputs_stay_as_they_are():
    v, x = scene()
    x *= 100  # so loud that it is scaled
    given = v.copy(), x.copy()
    for variant in ("umx", "norbert"):
        quick(wiener_em, variant=variant)(v, x)
    np.testing.assert_array_equal(v, given[0])
    np.testing.assert_array_equal(x, given[1])


def test_estimates_sum_to_the_mixture_where_it_is_loud():
    v, x = scene()
    with jax.enable_x64(True):
        for softmask in (False, True):
            y = quick(wiener_em, iterations=3, softmask=softmask)(v, x)
            # What is missing is the share of the regularization, 1e-5.
            assert relative(jnp.sum(y, 0), x) < 1e-4


@unchecked()
def test_errors():
    v, x = (np.ones(shape) for shape in ((2, 4, 3, 3), (4, 3, 3)))
    x = x + 0j
    with pytest.raises(ValueError, match="has one or two channels, the mixture 3"):
        wiener_em(v, x)
    with pytest.raises(ValueError, match="'norbrt' must be one of"):
        wiener_em(v, x, variant="norbrt")
    with pytest.raises(ValueError, match="do not fit the mixture"):
        wiener_em(v[..., :2], x)
    with pytest.raises(ValueError, match="the mixture must be complex"):
        wiener_em(v, x.real)
    with pytest.raises(ValueError, match="magnitudes must be real"):
        wiener_em(v + 0j, x, variant="norbert")
