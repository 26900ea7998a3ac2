"""What a run may ask of its optimiser and its program, at the size of a toy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import (
    OptimConfig,
    member_configs,
    member_folders,
    resolve,
    to_dict,
)
from sepjax.experiment.names import name_problems
from sepjax.functional.augment import Excerpt
from sepjax.train import TrainState, checkpoint
from sepjax.train.checkpoint import CheckpointError
from sepjax.train.log import read_log
from sepjax.train.objective import Objective
from sepjax.train.optim import make_optimizer, matrix_axes, named_optimizers
from sepjax.train.step import make_train_step
from tests.support.toy import latest, run, toy_config

# Every checkpoint of every member is a folder of its own, and takes a while.
SELDOM = dict(train__eval_every=8, train__checkpoint_every=8)
# Ideal masks have no separator, and compile quickest.
BARE = dict(model__ideal_mask=True)


def largest_difference(one, two):
    return max(
        float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (one, two)))
    )


def losses(folder, kind="train"):
    return [r["loss"] for r in read_log(folder / "metrics.jsonl") if r["kind"] == kind]


# Accumulation


def test_microbatches_train_as_the_whole_batch_does(tmp_path):
    whole, parts = (
        toy_config(**BARE, **SELDOM, train__steps=6, train__accumulate=count)
        for count in (1, 4)
    )
    assert run(tmp_path / "whole", whole)
    assert run(tmp_path / "parts", parts)
    np.testing.assert_allclose(
        losses(tmp_path / "parts"), losses(tmp_path / "whole"), rtol=1e-4
    )
    # Six steps at rate 0.01 move a parameter by up to 0.06.
    apart = largest_difference(*(latest(tmp_path / n) for n in ("parts", "whole")))
    assert apart < 1e-3


# The average of the parameters


def test_the_average_is_scored_saved_and_resumed(tmp_path):
    config = toy_config(optim__ema=0.9, **BARE, **SELDOM)
    assert run(tmp_path / "straight", config)
    short = toy_config(optim__ema=0.9, train__steps=8, **BARE, **SELDOM)
    assert run(tmp_path / "resumed", short)
    assert run(tmp_path / "resumed", config)
    assert params_equal(*(latest(tmp_path / n) for n in ("straight", "resumed")))
    assert losses(tmp_path / "straight", "valid") == losses(
        tmp_path / "resumed", "valid"
    )

    plain = toy_config(**BARE, **SELDOM)
    assert run(tmp_path / "plain", plain)
    # The same steps were taken: only what is scored differs.
    assert losses(tmp_path / "plain") == losses(tmp_path / "straight")
    assert losses(tmp_path / "plain", "valid") != losses(tmp_path / "straight", "valid")
    assert not params_equal(*(latest(tmp_path / n) for n in ("plain", "straight")))


def test_an_average_begins_with_the_parameters_of_another_run(tmp_path):
    config = toy_config(**BARE, train__steps=4)
    assert run(tmp_path / "first", config)
    start = dict(train__pretrained_from="first", train__steps=0, optim__ema=0.9)
    assert run(tmp_path / "second", toy_config(**BARE, **start))
    assert params_equal(*(latest(tmp_path / n) for n in ("first", "second")))


def params_equal(one, two):
    return largest_difference(one, two) == 0


def test_the_average_follows_its_formula(tmp_path):
    from sepjax.train.step import averaged

    values = np.random.default_rng(0).normal(size=30)
    average, expected = jnp.array(values[0], jnp.float32), values[0]
    for step, value in enumerate(values[1:]):
        average = averaged(average, jnp.float32(value), jnp.int32(step), 0.7)
        decay = min(0.7, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(average, expected, rtol=1e-5)


# Optimisers by name

PARAMS = {
    "kernel": 0.1 * jnp.arange(1.0, 25.0).reshape(2, 4, 3),
    "bias": jnp.ones(3),
}


def one_update(config, params=PARAMS, steps=1, **options):
    optimizer = optax.with_extra_args_support(make_optimizer(config, **options))

    def update(state, params):
        grads = jax.tree.map(lambda x: jnp.sin(3 * x), params)
        updates, state = optimizer.update(grads, state, params, value=jnp.array(1.0))
        return optax.apply_updates(params, updates), state

    state, update = optimizer.init(params), jax.jit(update)
    for _ in range(steps):
        params, state = update(state, params)
    return params, state


@pytest.mark.parametrize("name", named_optimizers())
@pytest.mark.filterwarnings("ignore:Specifying a key")  # of optax' noise
def test_optimizers_of_optax_by_name(name):
    step, optimizer = toy_step(name)
    state = TrainState(jnp.int32(0), STILL, optimizer.init(STILL))
    excerpt = Excerpt(jnp.ones((2, 4)), jnp.ones((2, 1, 4)))
    slow = [state.with_learning_rate(0.0), state.with_learning_rate(0.1)]
    for _ in range(3):
        slow = [step(one, excerpt)[0] for one in slow]
    for name in ("frozen", "input"):  # facts about the data stay as well
        assert params_equal(slow[1].params[name], STILL[name])
    moved = [largest_difference(one.params, STILL) for one in slow]
    assert np.isfinite(moved).all()
    assert moved[1] > 1e-7
    assert moved[0] < 0.1 * moved[1]  # the rate counts, also after init


STILL = {
    "kernel": jnp.array([[0.3, -0.2], [0.1, 0.4]]),
    "slope": jnp.float32(0.25),
    "frozen": {"kernel": jnp.ones((2, 2))},
    "input": {"mean": jnp.ones(2), "std": jnp.ones(2)},
}


def toy_step(name):
    """A jitted step that minimises a square; one part is frozen."""

    def outputs(params, memory, excerpt, axis_name):
        size = sum(jnp.sum(jnp.square(x - 2)) for x in jax.tree.leaves(params))
        return size * jnp.ones(2), memory

    def loss(sizes, excerpt, whole):
        return jnp.mean(sizes), {}

    freeze = ("frozen",)
    optimizer = make_optimizer(OptimConfig(optimizer=name, lr=0.1), freeze=freeze)
    step = make_train_step(
        Objective(outputs, loss, constants=("mean", "std")), optimizer, freeze=freeze
    )
    return jax.jit(step), optimizer


def test_an_unknown_optimizer_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'muon'"):
        make_optimizer(OptimConfig(optimizer="mouon"))
    with pytest.raises(ValueError, match="did you mean 'ranger'"):
        make_optimizer(OptimConfig(optimizer="rangr"))
    with pytest.raises(ValueError, match="does not fit this training step"):
        make_optimizer(OptimConfig(optimizer="schedule_free_adamw"))


@pytest.mark.parametrize("kind", ["decoupled", "l2"])
def test_decay_of_a_named_optimizer_is_that_of_our_own(kind):
    options = dict(lr=0.1, weight_decay=0.3, weight_decay_kind=kind, clip=1.0)
    ours, _ = one_update(OptimConfig(optimizer="adam", **options), steps=3)
    # Under another name, so that it is found in optax.
    theirs, _ = one_update(OptimConfig(optimizer="adamw", **options), steps=3)
    assert largest_difference(ours, theirs) < 1e-6
    known = named_optimizers()["adam"]
    links = [optax.clip_by_global_norm(1.0)]
    decay = optax.add_decayed_weights(0.3, mask={"kernel": True, "bias": False})
    links += [decay, known(0.1)] if kind == "l2" else [known(0.1)]
    reference, params = optax.chain(*links), PARAMS

    @jax.jit
    def update(state, params):
        grads = jax.tree.map(lambda x: jnp.sin(3 * x), params)
        updates, state = reference.update(grads, state, params)
        if kind == "decoupled":
            updates["kernel"] = updates["kernel"] - 0.1 * 0.3 * params["kernel"]
        return optax.apply_updates(params, updates), state

    state = reference.init(params)
    for _ in range(3):
        params, state = update(state, params)
    assert largest_difference(ours, params) < 1e-6


def test_muon_orthogonalizes_each_matrix_of_a_stack():
    config = OptimConfig(optimizer="muon", lr=1.0, weight_decay=0.0, clip=0.0)
    rng = np.random.default_rng(0)
    params = {"kernel": jnp.asarray(rng.normal(size=(2, 6, 6)), jnp.float32)}
    found, _ = one_update(config, params)
    steps = np.asarray(params["kernel"] - found["kernel"])
    for step in steps:
        values = np.linalg.svd(step / np.abs(step).max(), compute_uv=False)
        # Five steps of Newton-Schulz bring singular values within a factor of two.
        assert values.max() / values.min() < 2.5
    axes = matrix_axes({"depthwise": {"kernel": jnp.ones((40, 3, 8))}})
    assert axes["depthwise"]["kernel"] is None


# Schedules


def test_warm_up_and_cosine():
    config = OptimConfig(lr=1.0, schedule="cosine", warmup_steps=4, clip=0.0)
    config.optimizer, config.weight_decay = "sgd", 0.0
    optimizer = make_optimizer(config, steps=10)
    params, rates = {"kernel": jnp.zeros(1)}, []
    state = optimizer.init(params)
    for _ in range(10):
        updates, state = optimizer.update({"kernel": jnp.ones(1)}, state, params)
        rates.append(-float(updates["kernel"][0]))
    n = np.arange(10)
    expected = np.minimum(1, (n + 1) / 4) * (1 + np.cos(np.pi * n / 10)) / 2
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_a_cosine_over_the_whole_run_is_not_prolonged_unnoticed(tmp_path):
    def prolong(**fields):
        short, longer = (toy_config(train__steps=n, **fields) for n in (4, 8))
        meta = {"config": to_dict(short), "provenance": {}}
        checkpoint.require_same(tmp_path, meta, longer, "")

    prolong()
    prolong(optim__schedule="cosine", optim__cosine_steps=4)
    with pytest.raises(CheckpointError, match=r"train\.steps: 4 -> 8"):
        prolong(optim__schedule="cosine")


def test_the_plateau_lowers_a_rate_that_warms_up(tmp_path):
    fields = dict(optim__plateau_threshold=1e3, optim__lr_decay_patience=0)
    config = toy_config(**BARE, **fields, optim__warmup_steps=6)
    assert run(tmp_path, config)
    records = read_log(tmp_path / "metrics.jsonl")
    rates = [r["learning_rate"] for r in records if r["kind"] == "train"]
    # At steps 2, 3, 4, 6, 8, 9, 10 and 12; halved after the evaluation of step 8.
    expected = 0.01 * np.array([2 / 6, 3 / 6, 4 / 6, 1, 1, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


# Variations in one program


def test_a_member_that_diverges_does_not_end_the_others(tmp_path, capsys):
    config = toy_config(**VARIED, train__steps=8)
    assert run(tmp_path, config)
    lost, kept = member_folders(config, tmp_path)
    assert capsys.readouterr().out.count(f"note: {lost}, seed 1, step") == 1
    assert checkpoint.describe(kept)["best"]["step"] == 8
    assert checkpoint.describe(lost)["best"]["loss"] == "Infinity"
    assert np.isfinite(losses(kept)).all()
    assert run(tmp_path, toy_config(**VARIED | dict(train__steps=12)))  # both go on


VARIED = dict(train__vary="optim.lr=1e30:0.01", **BARE, **SELDOM)


def test_variations_are_the_runs_that_they_would_be_alone(tmp_path):
    config = toy_config(
        train__vary="optim.lr=0.002:0.01,optim.weight_decay=0.5:0",
        train__seeds=2,
        train__steps=8,
        **SELDOM,
    )
    assert run(tmp_path / "grid", config)
    folders = member_folders(config, tmp_path / "grid")
    assert len(folders) == 8
    members = dict(zip(folders, member_configs(config)))
    folder = folders[6]  # without decay: alone it has a link less in its chain
    alone = members[folder]
    assert (alone.train.vary, alone.train.seeds) == ("", 1)
    assert run(tmp_path / "alone", alone)
    # One program rounds otherwise than the other; eight steps move by up to 0.016.
    own = tmp_path / "alone"
    assert largest_difference(latest(folder), latest(own)) < 2e-4
    np.testing.assert_allclose(losses(folder), losses(own), atol=0.02)
    # Every value makes a difference.
    first = latest(folders[0])
    apart = [largest_difference(first, latest(folders[i])) for i in (1, 2, 4)]
    assert min(apart) > 1e-3
    # A member goes on alone, from its own checkpoint.
    alone.train.steps = 10
    assert run(folder, alone)
    assert [r["step"] for r in read_log(folder / "metrics.jsonl")][-1] == 10


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("optim.rl=1:2", "did you mean 'optim.lr'"),
        ("optim.lr=1:x", "is not field=value:value"),
        ("optim.lr=0:1", "must be positive"),
        ("optim.lr=1:1.0000001", "names a value twice"),
        ("loss.similarity=0:1", "is no term of loss.name='si_sdr'"),
    ],
)
def test_variations_that_cannot_be(entry, message):
    with pytest.raises(ValueError, match=message):
        resolve(toy_config(train__vary=entry), name_problems)


def test_a_batch_that_does_not_divide_names_the_nearest_that_do():
    from sepjax.train.mesh import require_divisible

    require_divisible(8, 4, 2)
    with pytest.raises(ValueError, match="choose 4 or 8, or run on 3 devices"):
        require_divisible(6, 4)
    with pytest.raises(ValueError, match=r"8 devices x 2 microbatches.*choose 16"):
        require_divisible(6, 8, 2)
