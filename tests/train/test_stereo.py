"""Stereo from the batch to the scores: both channels of a source are one vector."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.manifest import LoadedTrack
from sepjax.evaluation.run import evaluate
from sepjax.functional.augment import prepare_excerpts
from sepjax.functional.spectral import stft
from sepjax.losses import si_sdr, source_si_sdr
from sepjax.models.build import model_of
from sepjax.train import checkpoint, init_state, make_optimizer, make_train_step
from sepjax.train.log import read_log
from sepjax.train.objective import make_objective
from sepjax.train.program import make_program, preparation
from sepjax.train.statistics import gather
from sepjax.train.step import make_eval_step
from tests.support.toy import TIME, ToyData, one_device, run, toy_config

STEREO = dict(
    model__encoding="simple", model__audio_channels=2, model__layers=1, model__L=40
)
PREPARE = jax.jit(prepare_excerpts, static_argnames=("channels", "normalized"))


class PannedData(ToyData):
    """The bass to the left, the voice to the right."""

    def batch(self, seed):
        found = super().batch(seed)
        pans = np.array([[1.0, 0.2], [0.3, 0.9]], np.float32)
        shape = (len(found["gains"]), 2, 2)
        return found | {"gains": np.broadcast_to(pans, shape).copy()}


def song(seconds: float = 1.0) -> LoadedTrack:
    data = PannedData(toy_config(**STEREO))
    sources = PREPARE(data.batch(77), channels=2, normalized=False).sources
    waves = np.concatenate(np.moveaxis(np.asarray(sources), 3, 2), axis=1)
    return LoadedTrack("song", 8000, ("bass", "vocals"), waves.sum(0), waves)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run, its folder and its configuration."""
    folder = tmp_path_factory.mktemp("stereo")
    seldom = dict(train__checkpoint_every=40, train__log_every=20)
    config = toy_config(**STEREO, **seldom, train__steps=40, train__eval_every=20)
    assert run(folder, config, data=PannedData(config))
    return folder, config


def test_a_run_learns_from_both_channels(trained):
    folder, _ = trained
    losses = [r["loss"] for r in read_log(folder / "metrics.jsonl")]
    assert losses[-1] < losses[0] - 5


def test_validation_is_the_ratio_of_both_channels_together(trained):
    folder, config = trained
    model, variables, _ = checkpoint.load(folder, which="latest")
    data = PannedData(config)
    values = []
    for batch in data.valid_batches(4):
        excerpt = PREPARE(batch, channels=2)
        estimates = jax.jit(model.apply)(variables, excerpt.mixture).estimates
        assert estimates.shape == (4, 2, 2, TIME)
        both = (x.reshape(4, 2, 2 * TIME) for x in (excerpt.sources, estimates))
        values.append(si_sdr(*both).mean(0))
    (*_, last) = [r for r in read_log(folder / "metrics.jsonl") if r["kind"] == "valid"]
    found = [last["si_sdr/bass"], last["si_sdr/vocals"]]
    # Another program of the same numbers: XLA sums in another order.
    np.testing.assert_allclose(found, np.mean(values, axis=0), atol=1e-3)


def test_whole_songs_are_scored_and_kept_in_stereo(trained, tmp_path):
    folder, config = trained
    model, variables, _ = checkpoint.load(folder)
    results = evaluate(
        *(model, variables, config, [song()]),
        workdir=tmp_path,
        provenance={"commit": "x"},
        progress=False,
    )
    assert results["failed"] == []
    # Panned, a source fills the mixture of its side; both sides together do not.
    assert results["mean"]["model"]["si_sdr"] > results["mean"]["mixture"]["si_sdr"]
    index = json.loads((tmp_path / "audio" / "index.json").read_text())
    assert index


def test_oracle_masks_have_a_stereo_evaluation():
    config = toy_config(**STEREO, model__ideal_mask=True)
    model, batch = model_of(config), PannedData(config).batch(3)
    batch |= {"weight": np.array([1, 1, 1, 0], np.float32)}
    init = jax.jit(lambda key: init_state(model, make_optimizer(config.optim), key, 90))
    step = jax.jit(make_eval_step(model, preparation(config)))
    sums = step(init(jax.random.key(0)).params, batch)
    assert sums["count"].tolist() == [3, 3]
    assert np.isfinite(sums["si_sdr"]).all()


@pytest.mark.parametrize("fields", [dict(encoding="simple"), dict(name="demucs")])
def test_models_of_the_waveform_have_a_stereo_step(fields):
    small = dict(channels=4, depth=2, lstm_layers=1)
    named = {f"model__{name}": value for name, value in (small | fields).items()}
    config = toy_config(**named, model__audio_channels=2)
    model, optimizer = model_of(config), make_optimizer(config.optim)
    init = lambda key: init_state(model, optimizer, key, TIME)  # noqa: E731
    state = jax.eval_shape(init, jax.random.key(0))
    batch = PannedData(config).batch(0)
    excerpt = jax.eval_shape(lambda batch: prepare_excerpts(batch, channels=2), batch)
    step = make_train_step(make_objective(model), optimizer)
    after, metrics = jax.eval_shape(step, state, excerpt)
    assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(
        jnp.shape, state.params
    )
    assert metrics["si_sdr"].shape == (2,)


def test_one_scale_for_both_channels():
    reference = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, 2, 100)))
    louder = reference * jnp.array([2.0, 1.0])[None, None, :, None]
    # Each channel alone would be perfect; together the balance is wrong.
    energy = np.square(np.asarray(reference[0, 0], np.float64)).sum(1)
    scale = (2 * energy[0] + energy[1]) / energy.sum()
    error = (2 - scale) ** 2 * energy[0] + (1 - scale) ** 2 * energy[1]
    expected = 10 * np.log10(scale**2 * energy.sum() / error)
    found = source_si_sdr(reference, louder)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-4)


def test_loudness_reaches_the_statistics():
    # Ten times the level is two decades of power, unless it is normalized away.
    fields = dict(
        model__encoding="hybrid", model__fb_type="stft", model__ideal_mask=True
    )
    mesh, means = one_device(), {}
    params = make_program(toy_config(**fields), mesh).init(jax.random.key(0)).params
    for normalize in (True, False):
        config = toy_config(**fields, data__normalize=normalize)
        model, data = model_of(config), ToyData(config)
        for gain in (0.1, 1.0):
            batch = data.batch(0)
            batch["gains"] *= gain
            options = dict(excerpts=4, prepare=preparation(config))
            (own,) = gather(model, [params], iter([batch]), mesh, **options)
            mean = own["encoder"]["filterbanks_0"]["mean"]
            means[normalize, gain] = np.asarray(mean).max()
    assert means[True, 1.0] == pytest.approx(means[True, 0.1], abs=1e-3)
    assert means[False, 1.0] == pytest.approx(means[False, 0.1] + 2, abs=0.05)


def test_a_network_of_spectra_hears_the_mean_of_both_channels_magnitudes():
    fields = dict(n_fft=64, hop=16, hidden=8, layers=1, bandwidth=0.0)
    named = {f"model__{name}": value for name, value in fields.items()}
    stereo = dict(model__name="open_unmix", model__audio_channels=2)
    config = toy_config(**named, **stereo, data__normalize=False)
    mesh, data = one_device(), PannedData(config)
    params = make_program(config, mesh).init(jax.random.key(0)).params
    batches = [data.batch(0), data.batch(1)]
    options = dict(excerpts=8, prepare=preparation(config))
    (own,) = gather(model_of(config), [params], iter(batches), mesh, **options)
    heard = [PREPARE(batch, channels=2, normalized=False).mixture for batch in batches]
    spectra = stft(jnp.concatenate(heard), n_fft=64, hop=16, center=False)
    mean = np.abs(np.asarray(spectra)).mean((0, 1, 2))
    # Both sources' networks start from the same statistics.
    np.testing.assert_allclose(own["input_mean"], -np.stack([mean] * 2), rtol=1e-4)
