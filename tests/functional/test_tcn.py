"""The network against convolutions of XLA, a plain loop, and autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.functional.norms import (
    cumulative_norm,
    frame_norm,
    global_norm,
    group_norm,
)
from sepjax.functional.tcn import (
    init_tcn,
    receptive_field,
    tcn,
    tcn_block,
)
from sepjax.functional.tcn.depthwise import depthwise_conv

LAYERS, STACKS, BOTTLENECK, HIDDEN = 2, 2, 8, 16
SHAPE = dict(layers=LAYERS, stacks=STACKS)
CENTRES = {"kernel": (0.0, 0.3), "gain": (1.0, 0.1), "bias": (0.0, 0.1)}


def draw(seed: int, *shape: int) -> jax.Array:
    drawn = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(drawn, jnp.float32)


def parameters(seed: int = 0, **options) -> dict:
    """A network whose norms and slopes are no identities."""

    sizes = dict(bottleneck=BOTTLENECK, hidden=HIDDEN)
    init = functools.partial(init_tcn, **SHAPE, **sizes, **options)
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        mean, spread = CENTRES.get(path[-1].key, (0.25, 0.1))  # slopes of PReLUs
        return rng.normal(mean, spread, leaf.shape).astype(leaf.dtype)

    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(fill, shapes)


def plain_tcn(params: dict, x: jax.Array, **options) -> jax.Array:
    """The oracle: a loop over blocks, differentiated by JAX."""
    skips = 0.0
    for block in range(LAYERS * STACKS):
        leaves = jax.tree.map(lambda leaf, i=block: leaf[i], params)
        dilation = 2 ** (block % LAYERS)
        out, skip = tcn_block(
            leaves, x, dilation, max_dilation=2 ** (LAYERS - 1), **options
        )
        x, skips = x + out, skips + skip
    return skips if skips.shape[-1] else x


def gradients_and_output(network, params: dict, x: jax.Array) -> tuple:
    """Gradients of a random projection of the output, and the output."""
    weights = draw(9, *x.shape)

    def loss(params, x):
        output = network(params, x)
        return jnp.vdot(weights, output), output

    differentiate = jax.grad(loss, argnums=(0, 1), has_aux=True)
    return jax.jit(differentiate)(params, x)


network = functools.partial(tcn, **SHAPE)


@functools.cache
def of_network():
    """What the network with global norms gives; tests of it share the program."""
    return gradients_and_output(network, parameters(), draw(2, 2, 40, BOTTLENECK))


def relative_error(x: jax.Array, y: jax.Array) -> float:
    x, y = np.asarray(x), np.asarray(y)
    return float(np.linalg.norm(x - y) / np.linalg.norm(y))


def assert_close(trees: tuple, expected: tuple, tolerance: float) -> None:
    errors = jax.tree.map(relative_error, trees, expected)
    assert max(jax.tree.leaves(errors)) < tolerance, errors


# ------------------------------------------------------- depthwise convolution


@pytest.mark.parametrize(
    ("width", "causal"), [(3, False), (5, False), (2, True), (3, True)]
)
def test_shifted_products_are_a_grouped_convolution(width, causal):
    x, taps = draw(0, 2, 20, 4), draw(1, width, 4)
    convolve = jax.jit(functools.partial(depthwise_conv, max_dilation=8, causal=causal))
    for dilation in (1, 3, 8):  # traced: one compilation
        span = (width - 1) * dilation
        expected = jax.lax.conv_general_dilated(
            x,
            taps[:, None],
            window_strides=(1,),
            padding=[(span, 0) if causal else (span // 2, span // 2)],
            rhs_dilation=(dilation,),
            dimension_numbers=("NTC", "TIO", "NTC"),
            feature_group_count=4,
        )
        np.testing.assert_allclose(convolve(x, taps, dilation), expected, atol=1e-5)
        static = depthwise_conv(x, taps, dilation, max_dilation=8, causal=causal)
        np.testing.assert_allclose(static, expected, atol=1e-5)


@pytest.mark.parametrize("width", [3, 5])
def test_receptive_field_is_the_support_of_a_stack_of_convolutions(width):
    field = receptive_field(LAYERS, STACKS, width)
    x = jnp.zeros((1, field + 10, 1)).at[0, field // 2 + 5].set(1.0)
    for dilation in [1, 2] * STACKS:
        x = depthwise_conv(x, jnp.ones((width, 1)), dilation, max_dilation=2)
    assert int((x > 0).sum()) == field == 1 + STACKS * (width - 1) * 3


def test_receptive_fields_of_the_literature():
    assert [receptive_field(*shape) for shape in ((6, 3), (8, 3), (10, 4))] == [
        379,
        1531,
        8185,
    ]


# ----------------------------------------------------------------------- norms


def test_norms_leave_mean_zero_and_variance_one():
    def all_norms(x):
        ones, zeros = jnp.ones(8), jnp.zeros(8)
        groups = group_norm(x, ones, zeros, groups=2)
        return (global_norm(x, ones, zeros), groups, frame_norm(x, ones, zeros))

    norms = jax.jit(all_norms)(3.0 + 2.0 * draw(0, 2, 30, 8))
    over_all, groups, over_channels = map(np.asarray, norms)
    for normed, axes in (
        (over_all, (1, 2)),
        (groups[..., :4], (1, 2)),
        (groups[..., 4:], (1, 2)),
        (over_channels, 2),
    ):
        np.testing.assert_allclose(normed.mean(axes), 0.0, atol=1e-5)
        np.testing.assert_allclose(normed.var(axes), 1.0, atol=1e-5)


def test_groups_must_divide_channels():
    with pytest.raises(ValueError, match="8 channels do not divide into 3 groups"):
        group_norm(jnp.ones((1, 2, 8)), jnp.ones(8), jnp.zeros(8), groups=3)
    with pytest.raises(ValueError, match="16 channels do not divide into 3 groups"):
        tcn(parameters(), draw(0, 1, 5, BOTTLENECK), **SHAPE, norm="group", groups=3)


def test_cumulative_norm_is_a_loop_over_prefixes():
    x, gain, bias = np.asarray(draw(0, 2, 30, 4)), np.arange(4.0), np.ones(4)
    expected = np.empty_like(x)
    for frame in range(30):
        past = x[:, : frame + 1]
        mean = past.mean((1, 2))[:, None]
        std = np.sqrt(past.var((1, 2)) + 1e-8)[:, None]
        expected[:, frame] = (x[:, frame] - mean) / std * gain + bias
    gain, bias = jnp.asarray(gain, jnp.float32), jnp.asarray(bias, jnp.float32)
    normed = cumulative_norm(jnp.asarray(x), gain, bias)
    # The running sums of squares lose a few digits where few values are summed.
    np.testing.assert_allclose(normed, expected, atol=1e-4)
    last = global_norm(jnp.asarray(x), gain, bias)[:, -1]
    np.testing.assert_allclose(normed[:, -1], last, atol=1e-5)


# --------------------------------------------------------------------- network


@pytest.mark.parametrize(
    ("norm", "frames", "options"),
    [
        ("global", 40, {}),
        ("global", 2, {}),  # fewer frames than a kernel spans
        ("group", 40, {"skip": False, "bias": False}),
    ],
)
def test_written_gradients_are_those_of_autodiff(norm, frames, options):
    params, x = parameters(**options), draw(2, 2, frames, BOTTLENECK)
    oracle = functools.partial(plain_tcn, norm=norm)
    expected = gradients_and_output(oracle, params, x)
    if (norm, frames) == ("global", 40):
        return assert_close(of_network(), expected, 1e-5)
    normed = functools.partial(network, norm=norm)
    assert_close(gradients_and_output(normed, params, x), expected, 1e-5)


def test_cumulative_network_is_the_plain_loop():
    params, x = parameters(), draw(3, 2, 40, BOTTLENECK)
    options = dict(norm="cumulative", causal=True)
    expected = gradients_and_output(functools.partial(plain_tcn, **options), params, x)
    normed = functools.partial(network, **options)
    assert_close(gradients_and_output(normed, params, x), expected, 1e-5)


def test_recomputation_changes_nothing():
    params, x = parameters(), draw(2, 2, 40, BOTTLENECK)
    again = gradients_and_output(functools.partial(network, remat=True), params, x)
    assert_close(of_network(), again, 2e-6)


def test_causal_network_does_not_hear_the_future():
    params, x = parameters(), draw(2, 1, 40, BOTTLENECK)
    run = jax.jit(functools.partial(tcn, **SHAPE, causal=True, norm="cumulative"))
    changed = run(params, x.at[:, 25:].set(5.0)) != run(params, x)
    assert not changed[:, :25].any()
    assert changed[:, 25].any()


def test_global_norms_hear_the_future_even_in_a_causal_network():
    params, x = parameters(), draw(2, 1, 40, BOTTLENECK)
    run = jax.jit(functools.partial(tcn, **SHAPE, causal=True))
    changed = run(params, x.at[:, 25:].set(5.0)) != run(params, x)
    assert changed[:, :25].any()


def test_one_network_per_source_by_vmap():
    """Parameters that a hypernetwork generates: one tree per source."""
    trees = [parameters(seed) for seed in (0, 10)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    x = draw(2, 2, 20, BOTTLENECK)

    def grouped(params, x):
        return jax.vmap(network, in_axes=(0, None), out_axes=1)(params, x).sum(1)

    def looped(params, x):
        leaves = [jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(2)]
        return sum(network(tree, x) for tree in leaves)

    expected = gradients_and_output(looped, stacked, x)
    assert_close(gradients_and_output(grouped, stacked, x), expected, 1e-5)


def test_bfloat16_is_float32_but_for_two_percent():
    params, x = parameters(), draw(2, 2, 40, BOTTLENECK)

    def half(params, x):
        low = network(params, x.astype(jnp.bfloat16))
        assert low.dtype == jnp.bfloat16
        return low.astype(jnp.float32)

    low, exact = gradients_and_output(half, params, x), of_network()
    assert relative_error(low[1], exact[1]) < 0.02
    # Autodiff of the plain loop in bfloat16 errs by 2 to 11 percent here.
    assert_close(low, exact, 0.12)


def test_silence_has_finite_gradients():
    sizes = dict(bottleneck=BOTTLENECK, hidden=HIDDEN, bias=False)
    params = jax.jit(lambda key: init_tcn(key, **SHAPE, **sizes))(jax.random.key(0))
    result = gradients_and_output(network, params, jnp.zeros((1, 20, BOTTLENECK)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


def test_a_block_has_the_parameters_of_the_paper():
    def count(**options) -> int:
        sizes = dict(layers=1, stacks=1, bottleneck=128, hidden=512)
        init = functools.partial(init_tcn, **sizes, **options)
        params = jax.eval_shape(init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    convolutions = 128 * 512 + 3 * 512 + 512 * 256
    norms_and_slopes = 2 * (2 * 512 + 1)
    assert count(bias=False) == convolutions + norms_and_slopes
    assert count() == count(bias=False) + 512 + 512 + 256
    assert count(skip=False, bias=False) == count(bias=False) - 512 * 128


def test_layers_and_stacks_must_be_those_of_the_parameters():
    with pytest.raises(ValueError, match="must be 4, the blocks of the parameters"):
        tcn(parameters(), draw(0, 1, 5, BOTTLENECK), layers=3, stacks=3)
