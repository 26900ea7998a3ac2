"""Chunks, cross-fades, rates, levels and channels of whole-track separation."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from sepjax.inference.level_and_scale import ScaleFit
from sepjax.inference.separate import separate
from sepjax.models.contract import SeparationModel

RATE = 8000


class Shares(SeparationModel):
    """Returns fixed shares of the mixture: linear, and nothing to learn."""

    sources: tuple[str, ...] = ("one", "two")
    shares: tuple[float, ...] = (0.75, 0.25)
    sample_rate: int = RATE

    def __call__(self, mixture):
        shares = jnp.array(self.shares)[None, :, None]
        return SimpleNamespace(estimates=shares * mixture[:, None])


class Filters(Shares):
    """Differs from chunk to chunk: a mean over the chunk, as a global norm has."""

    def __call__(self, mixture):
        blurred = (mixture + jnp.roll(mixture, 1, axis=-1)) / 2
        level = jnp.sqrt(jnp.mean(mixture**2, axis=-1, keepdims=True))
        estimates = jnp.stack([blurred, jnp.sign(mixture) * level], axis=1)
        return SimpleNamespace(estimates=estimates)


def noise(time, channels=2, seed=0, scale=0.1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (time, channels)).astype(np.float32)


def snr(reference, estimate):
    error = np.square(np.float64(reference) - estimate).sum()
    return 10 * np.log10(np.square(np.float64(reference)).sum() / max(error, 1e-300))


@pytest.mark.parametrize("time", [1, 2, 1999, 2000, 2001, 3500, 3501, 16013])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.7])
def test_an_identity_survives_chunks_and_cross_fades(time, overlap):
    mixture = noise(time)
    stems = separate(
        Shares(), {}, mixture, sample_rate=RATE, chunk=0.25, overlap=overlap
    )
    assert stems["one"].shape == mixture.shape
    assert stems["one"].dtype == np.float32
    # float32 has 144 dB; a few roundings cost some.
    assert snr(mixture, stems["one"] + stems["two"]) > 110


def test_without_rescaling_the_shares_and_the_level_come_back():
    mixture = noise(9000, scale=3e-4)
    stems = separate(Shares(), {}, mixture, sample_rate=RATE, chunk=0.25, rescale=False)
    assert snr(0.75 * mixture, stems["one"]) > 110


class Gate(Shares):
    """What is loud, and the rest: a model that knows its level."""

    def __call__(self, mixture):
        loud = jnp.where(jnp.abs(mixture) > 0.1, mixture, 0)
        return SimpleNamespace(estimates=jnp.stack([loud, mixture - loud], axis=1))


@pytest.mark.parametrize("rescale", [True, False])
def test_a_mixture_may_be_heard_as_loud_as_it_is(rescale):
    mixture = noise(5000)
    loud = np.where(np.abs(mixture) > 0.1, mixture, 0)
    options = dict(sample_rate=RATE, chunk=0.25, rescale=rescale)
    stems = separate(Gate(), {}, mixture, normalize=False, **options)
    # The estimates sum to the mixture already: nothing is left to fit.
    assert snr(loud, stems["one"]) > 100
    stems = separate(Gate(), {}, mixture, **options)
    assert snr(loud, stems["one"]) < 20


def test_one_shape_is_compiled_whatever_the_length():
    traced = []

    class Traced(Shares):
        def __call__(self, mixture):
            traced.append(mixture.shape)
            return super().__call__(mixture)

    model = Traced()
    for time, channels in ((100, 1), (2000, 1), (16013, 2), (30000, 3)):
        separate(model, {}, noise(time, channels), sample_rate=RATE, chunk=0.25)
    assert len(traced) == 1
    assert traced[0][-1] == RATE // 4


def test_channels_do_not_hear_each_other():
    mixture = noise(6000, 3) * [1.0, 1e-3, 0.0]
    together = separate(Filters(), {}, mixture, sample_rate=RATE, chunk=0.25)
    for channel in range(3):
        alone = separate(
            Filters(), {}, mixture[:, channel], sample_rate=RATE, chunk=0.25
        )
        for name in alone:
            np.testing.assert_array_equal(together[name][:, channel], alone[name])


@pytest.mark.parametrize("rate", [11025, 44100])
def test_other_rates_come_back_at_their_rate_and_length(rate):
    time = np.arange(2 * rate + 7) / rate
    # Within the band of the model, and faded: resamplers need room at the edges.
    tone = np.sin(2 * np.pi * 440 * time) * np.hanning(len(time))
    mixture = tone.astype(np.float32)[:, None]
    stems = separate(Shares(), {}, mixture, sample_rate=rate, chunk=0.5)
    total = stems["one"] + stems["two"]
    assert total.shape == mixture.shape
    assert snr(mixture, total) > 80


def test_silence_gives_silence():
    class Hum(Shares):
        def __call__(self, mixture):
            hum = jnp.ones((*mixture.shape[:1], 2, mixture.shape[-1]))
            return SimpleNamespace(estimates=hum)

    stems = separate(Hum(), {}, np.zeros((5000, 2)), sample_rate=44100)
    assert all(not stem.any() for stem in stems.values())
    half = noise(8000) * [1.0, 0.0]
    stems = separate(Hum(), {}, half, sample_rate=RATE, chunk=0.25, rescale=False)
    assert stems["one"][:, 0].any()
    assert not stems["one"][:, 1].any()


def test_a_constant_is_no_reason_to_blow_up():
    stems = separate(Shares(), {}, np.full((4000, 1), 0.5), sample_rate=RATE)
    np.testing.assert_allclose(stems["one"] + stems["two"], 0.5, rtol=1e-5)


def test_mono_in_one_dimension():
    stems = separate(Shares(), {}, noise(3000)[:, 0], sample_rate=RATE)
    assert stems["one"].shape == (3000,)


def fitted(estimates, mixture):
    fit = ScaleFit()
    fit.add(estimates.T[..., None], mixture[:, None])
    return fit.solved()[:, 0]


def test_scale_fit_undoes_any_scale_and_sign():
    sources = np.stack([noise(400000, 1, seed)[:, 0] for seed in range(3)])
    mixture = sources.sum(0)
    spoiled = sources * np.float32([[1e-5], [-300.0], [2.0]])
    scales = fitted(spoiled, mixture)
    np.testing.assert_allclose(scales, [1e5, -1 / 300, 0.5], rtol=1e-4)


def test_scale_fit_of_silent_and_equal_estimates():
    wave = noise(5000, 1)[:, 0]
    estimates = np.stack([wave, wave, 0 * wave])
    scales = fitted(estimates, 3 * wave)
    np.testing.assert_allclose(scales, [1.5, 1.5, 0.0], rtol=1e-4)


def test_a_stereo_model_hears_both_channels():
    class Middle(Shares):
        audio_channels: int = 2

        def __call__(self, mixture):
            middle = mixture.mean(axis=1, keepdims=True)
            both = jnp.stack([middle + 0 * mixture, mixture - middle], axis=1)
            return SimpleNamespace(estimates=both)

    mixture = noise(5000) * [1.0, 0.3]
    options = {"sample_rate": RATE, "chunk": 0.25, "rescale": False}
    stems = separate(Middle(), {}, mixture, **options)
    middle = np.broadcast_to(mixture.mean(1, keepdims=True), mixture.shape)
    assert snr(middle, stems["one"]) > 110
    mono = separate(Middle(), {}, mixture[:, 0], **options)
    assert snr(mixture[:, 0], mono["one"]) > 110
    with pytest.raises(ValueError, match=r"2 channels together.*has 3"):
        separate(Middle(), {}, noise(5000, 3), **options)


def test_an_ideal_mask_is_given_the_references():
    class Oracle(Shares):
        needs_sources: bool = True

        def __call__(self, mixture, sources):
            return SimpleNamespace(estimates=sources)

    references = np.stack([noise(9000, 2, seed) for seed in (1, 2)])
    mixture = references.sum(0)
    stems = separate(
        Oracle(), {}, mixture, sample_rate=RATE, chunk=0.25, references=references
    )
    assert snr(references[1], stems["two"]) > 100
    with pytest.raises(ValueError, match="needs the true references"):
        separate(Oracle(), {}, mixture, sample_rate=RATE)


def test_a_non_finite_estimate_names_source_and_time():
    class Broken(Shares):
        def __call__(self, mixture):
            one, two = mixture, jnp.where(mixture.max() > 5, jnp.nan, mixture)
            return SimpleNamespace(estimates=jnp.stack([one, two], axis=1))

    mixture = noise(8000, 1)
    separate(Broken(), {}, mixture, sample_rate=RATE, chunk=0.25, overlap=0.0)
    mixture[4100] = 100.0
    with pytest.raises(FloatingPointError, match=r"'two'.*between 0\.5 and 0\.8 s"):
        separate(Broken(), {}, mixture, sample_rate=RATE, chunk=0.25, overlap=0.0)


@pytest.mark.parametrize(
    ("mixture", "options", "message"),
    [
        (np.array([[0.0], [np.nan], [np.inf]]), {}, r"2 of 3 samples.*0\.000 s"),
        (np.zeros((10, 1), np.int16), {}, "int16.*floats"),
        (np.zeros((0, 2)), {}, r"\(0, 2\)"),
        (np.zeros((2, 2, 2)), {}, r"must be \(time, channels\)"),
        (np.ones((10, 1)), {"chunk": 0.0}, "chunk=0.0"),
        (np.ones((10, 1)), {"overlap": 1.0}, r"overlap=1.0"),
        (np.ones((10, 1)), {"sample_rate": 0}, "sample_rate=0"),
        ([0.0, 1.0], {}, "is a list: give an array"),
    ],
)
def test_what_cannot_be_separated_is_refused(mixture, options, message):
    with pytest.raises(ValueError, match=message):
        separate(Shares(), {}, mixture, **{"sample_rate": RATE} | options)


def test_a_mixture_that_lies_on_its_side_is_told():
    with pytest.raises(ValueError, match=r"\(2, 400\) must be .*: transpose it"):
        separate(Shares(), {}, noise(400).T, sample_rate=RATE)


@pytest.mark.parametrize("rate", [float("nan"), 1e12, 10**12, "44100", 8000.5, None])
def test_a_rate_is_a_whole_number(rate):
    with pytest.raises(ValueError, match="must be a whole number of Hz"):
        separate(Shares(), {}, noise(400), sample_rate=rate)
