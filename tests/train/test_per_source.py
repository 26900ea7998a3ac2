"""Networks of sources in one program are trained as if each of them were alone.

A family of two taps a source shows it quickly, beside a loop that knows one source
only; Open-Unmix slowly, beside runs whose loss is that of one source.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sepjax.config import MODEL_CONFIGS, ModelConfig
from sepjax.functional.augment import prepare_excerpts
from sepjax.losses import LOSSES, Loss, whole_batch
from sepjax.models import MODELS, Separation, SeparationModel
from sepjax.models.build import model_of
from sepjax.train import checkpoint
from sepjax.train.mesh import make_mesh
from sepjax.train.objective import make_objective
from sepjax.train.optim import make_optimizer
from sepjax.train.optim.chain import per_source
from sepjax.train.optim.plateau import PlateauState, plateau_step
from sepjax.train.step import init_variables
from tests.support.families import FAMILIES, family_config, family_parts
from tests.support.toy import TIME, ToyData, log, run, stop
from tests.support.toy import toy_config as config_of

SOURCES = ("bass", "drums", "other", "vocals")


@dataclasses.dataclass(unsafe_hash=True)
class TapsConfig(ModelConfig):
    """A family whose sources have networks of their own."""

    objective: ClassVar[str] = "mse"
    per_source: ClassVar[bool] = True

    name: str = "taps"


class Taps(SeparationModel):
    """Each source is the mixture, filtered with two taps of its own."""

    sources: tuple[str, ...]
    sample_rate: int
    objective = "mse"
    collections = ("batch_stats",)

    def setup(self):
        """Taps, and how loud the estimates have been."""
        count = len(self.sources)

        def draw(key):
            return {"kernel": jax.random.normal(key, (count, 2))}

        self.taps = self.param("taps", draw)
        self.level = self.variable("batch_stats", "level", jnp.zeros, count)

    def __call__(self, mixture, *, train=False, axis_name=None):
        """Filter (batch, time)."""
        estimates = jax.vmap(filtered, (0, None), 1)(self.taps["kernel"], mixture)
        if train:
            new = jnp.mean(jnp.abs(estimates), (0, 2))
            new = new if axis_name is None else jax.lax.pmean(new, axis_name)
            self.level.value = 0.5 * self.level.value + 0.5 * new
        return Separation(estimates)


def filtered(taps, mixture):
    return taps[0] * mixture + taps[1] * jnp.roll(mixture, 1, axis=-1)


@pytest.fixture(scope="module", autouse=True)
def taps():
    def build(config, *, sources, sample_rate):
        return Taps(sources, sample_rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_CONFIGS, "taps", TapsConfig)
        patch.setitem(MODELS, "taps", build)
        yield


def toy_config(**fields):
    known = dict(model__name="taps", data__sources=SOURCES, data__normalize=False)
    known |= dict(optim__lr=0.1, optim__weight_decay=1e-2, optim__clip=0.1)
    known |= dict(optim__weight_decay_kind="l2", optim__lr_decay_patience=1)
    known |= dict(train__steps=70, train__eval_every=5, train__early_stop=3)
    known |= dict(train__checkpoint_every=1000, train__log_every=5)
    return config_of(**known | fields)


def variables(folder, which):
    return jax.device_get(checkpoint.load(folder, which=which)[1])


def of_source(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_same(one, two, tolerance=0.0):
    for a, b in zip(*map(jax.tree.leaves, (one, two)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def alone(config, index, taps):
    """Train a network of one source; nothing of it knows the others.

    Returns the best and the last variables, the steps of both, and the rates.
    """
    data, optim, train = ToyData(config), config.optim, config.train
    optimizer = optax.inject_hyperparams(
        lambda learning_rate: optax.chain(
            optax.clip_by_global_norm(optim.clip),
            optax.add_decayed_weights(optim.weight_decay),
            optax.adam(learning_rate),
        )
    )(learning_rate=optim.lr)

    def error(taps, excerpt):
        estimates = filtered(taps, excerpt.mixture)
        value = jnp.mean(jnp.square(estimates - excerpt.sources[:, index]))
        return value, jnp.mean(jnp.abs(estimates))

    @jax.jit
    def step(taps, level, state, excerpt):
        grads, new = jax.grad(error, has_aux=True)(taps, excerpt)
        updates, state = optimizer.update(grads, state, taps)
        return optax.apply_updates(taps, updates), 0.5 * level + 0.5 * new, state

    prepare = jax.jit(lambda batch: prepare_excerpts(batch, normalized=False))
    valid = [prepare(batch) for batch in data.valid_batches(train.batch_size)]
    level, state, schedule = jnp.zeros(()), optimizer.init(taps), PlateauState(optim.lr)
    best, rates = (np.inf, 0, None), []
    for count, batch in enumerate(data.train_batches(0, train.steps), start=1):
        taps, level, state = step(taps, level, state, prepare(batch))
        if count % train.eval_every:
            continue
        rates.append(schedule.learning_rate)
        loss = float(np.mean([error(taps, excerpt)[0] for excerpt in valid]))
        schedule = plateau_step(schedule, loss, factor=optim.lr_decay_gamma, patience=1)
        state.hyperparams["learning_rate"] = jnp.float32(schedule.learning_rate)
        kept = {"batch_stats": {"level": level}, "params": {"taps": {"kernel": taps}}}
        best = min(best, (loss, count, kept), key=lambda item: item[0])
        if count - best[1] >= train.early_stop * train.eval_every:
            break
    return best[2], kept, best[1], count, rates


@pytest.fixture(scope="module")
def together(tmp_path_factory, taps):
    folder = tmp_path_factory.mktemp("runs") / "together"
    assert run(folder, toy_config()) is True
    return folder


def test_one_program_equals_separate_runs(together):
    """Losses, rates, ends and parameters of four sources, to rounding."""
    config = toy_config()
    model, key = model_of(config), jax.random.key(config.seed)
    start = init_variables(model, key, TIME)["params"]["taps"]["kernel"]
    facts = checkpoint.describe(together)["best"]["sources"]
    found = [variables(together, which) for which in ("best", "latest")]
    logged = [r for r in log(together) if r["kind"] == "train"]
    ends, cuts = [], []
    for index, name in enumerate(SOURCES):
        best, last, best_step, end, rates = alone(config, index, start[index])
        assert facts[name] == best_step
        assert_same(of_source(found[0], index), best, 1e-5)
        assert_same(of_source(found[1], index), last, 1e-5)
        own = [record[f"learning_rate/{name}"] for record in logged[: len(rates)]]
        # A cut comes after the evaluation, whose step has been logged before.
        np.testing.assert_allclose(own, rates, rtol=1e-6)
        ends.append(end)
        cuts.append(tuple(rates))
    # They end and are cut at different steps, the last one with the run.
    assert len(set(ends)) > 2
    assert len(set(cuts)) == 4
    assert logged[-1]["step"] == max(ends)


def test_the_log_has_a_loss_for_each_source(together):
    records = [r for r in log(together) if r["kind"] == "valid"]
    for record in records:
        each = [record[f"loss/{name}"] for name in SOURCES]
        assert record["loss"] == pytest.approx(sum(each))
        assert each == [record[f"mse/{name}"] for name in SOURCES]
    lowest = sum(min(r[f"loss/{name}"] for r in records) for name in SOURCES)
    assert checkpoint.describe(together)["best"]["loss"] == pytest.approx(lowest)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(together, tmp_path):
    """Between evaluations, when some sources have ended."""
    data = ToyData(toy_config(), before=lambda n: stop() if n == 47 else None)
    assert run(tmp_path / "a", toy_config(), data=data) is False
    assert run(tmp_path / "a", toy_config()) is True
    for which in ("best", "latest"):
        assert_same(*(variables(f, which) for f in (together, tmp_path / "a")))
    # The stop ends an interval of the training log early, once.
    kept = [
        [r for r in log(f) if r["kind"] == "valid"] for f in (together, tmp_path / "a")
    ]
    assert kept[0] == kept[1]
    facts = [checkpoint.describe(f)["best"] for f in (together, tmp_path / "a")]
    assert facts[0] == facts[1]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jit", "pmap"])
def test_seeds_and_devices_change_nothing(together, tmp_path, form):
    config = toy_config(train__seeds=2, train__parallel=form)
    assert run(tmp_path, config, make_mesh()) is True
    for which in ("best", "latest"):
        one, two = (variables(f, which) for f in (together, tmp_path / "seed_1"))
        assert_same(one, two, 1e-5)


@pytest.mark.parametrize("name", ["adam", "ranger", "lamb"])
def test_an_optimizer_per_source_is_that_of_each(name):
    """Bit for bit: clipping, moments, trust ratios, counts and decay."""
    config = toy_config(optim__optimizer=name, optim__clip=0.5).optim
    rng, own = np.random.default_rng(0), make_optimizer(config)
    joint = per_source(own)
    params = {"kernel": jnp.asarray(rng.normal(size=(3, 4, 5)), jnp.float32)}
    each = [of_source(params, index) for index in range(3)]
    states, state = [own.init(one) for one in each], joint.init(params)
    for _ in range(3):
        grads = {"kernel": jnp.asarray(rng.normal(size=(3, 4, 5)), jnp.float32)}
        updates, state = joint.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for index in range(3):
            new, states[index] = own.update(
                of_source(grads, index), states[index], each[index]
            )
            each[index] = optax.apply_updates(each[index], new)
            assert_same(of_source(params, index), each[index], 1e-6)


def test_another_loss_trains_all_sources_together():
    assert toy_config().per_source is True
    assert toy_config(loss__name="mse").per_source is True
    assert toy_config(loss__name="l1").per_source is False
    assert toy_config(train__per_source="no").per_source is False
    assert config_of().per_source is False


OWN = [name for name in FAMILIES if family_config(name).per_source]


@pytest.mark.parametrize("name", OWN)
def test_arrays_of_families_have_an_axis_over_sources(name):
    model, count = model_of(family_config(name)), 2
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0), TIME))
    kept = {name: shapes[name] for name in ("params", *model.collections)}
    assert {leaf.shape[0] for leaf in jax.tree.leaves(kept)} == {count}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_no_loss_of_a_source_depends_on_another_network(name):
    config = family_config(name)
    model, params, memory, excerpt = family_parts(config)[:4]
    objective = make_objective(model, config.loss, (), True)

    def each(params):
        outputs, _ = objective.outputs(params, memory, excerpt, None)
        return objective.loss(outputs, excerpt, whole_batch(excerpt.sources))[1]["each"]

    for leaf in jax.tree.leaves(jax.jit(jax.jacrev(each))(params)):
        across = leaf[~np.eye(2, dtype=bool)]
        assert not np.any(across)


@pytest.mark.slow
def test_open_unmix_is_a_network_for_each_source(tmp_path, monkeypatch):
    """Beside runs whose loss is that of one source; batch norm and dropout are on.

    In float64: the gradient of what batch norm takes out again is rounding alone, whose
    sign Adam would follow in float32.
    """
    with jax.enable_x64(True):
        assert run(tmp_path / "together", unmix()) is True
        ends = []
        for index, name in enumerate(("bass", "vocals")):
            one = jnp.zeros((1, 2)).at[0, index].set(1.0)

            def only(source_spectra, spectra, one=one):
                return one * jnp.mean(jnp.square(spectra - source_spectra), (2, 3, 4))

            loss = Loss(only, label="only", over_sources="sum", counts_silence=True)
            monkeypatch.setitem(LOSSES, f"only_{name}", loss)
            assert run(tmp_path / name, unmix(loss__name=f"only_{name}")) is True
            for which in ("best", "latest"):
                folders = tmp_path / "together", tmp_path / name
                pair = [of_source(variables(f, which), index) for f in folders]
                assert_same(*pair, 1e-6)
            facts = [checkpoint.describe(f)["best"] for f in folders]
            assert facts[0]["sources"][name] == facts[1]["step"]
            ends.append(log(folders[1])[-1]["step"])
        assert ends[0] != ends[1]


def unmix(**fields):
    sizes = dict(name="open_unmix", n_fft=64, hop=16, hidden=8, layers=2, bandwidth=0.0)
    known = {f"model__{name}": value for name, value in sizes.items()}
    known |= dict(data__normalize=False, optim__lr=0.05, optim__weight_decay=1e-3)
    known |= dict(optim__weight_decay_kind="l2", optim__decay="all", optim__clip=0.05)
    known |= dict(optim__lr_decay_patience=0, optim__lr_decay_gamma=0.3)
    known |= dict(train__steps=60, train__eval_every=3, train__early_stop=3)
    known |= dict(train__checkpoint_every=60, train__log_every=3)
    return config_of(**known | fields)
