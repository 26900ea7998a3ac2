"""Ensembles, spreads, several hearings and exact sums of whole tracks."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from data_pipelines.audio.encode import Output
from sepjax.commands import cli
from sepjax.inference.augmentation import in_step, shift_lengths
from sepjax.inference.chunks import Chunking
from sepjax.inference.ensemble import EnsembleStream, Member, make_ensemble
from sepjax.inference.files import separate_file
from sepjax.inference.places import Place
from sepjax.inference.separate import separate, separate_array
from sepjax.inference.separator import load_ensemble
from sepjax.models.contract import SeparationModel, Tiling

RATE = 8000
MODEL = Path(__file__).parent / "fixtures/b054c28/weights"
CHUNKING = Chunking(0.25, rescale=False)


class Gains(SeparationModel):
    """Returns fixed shares of the mixture, which need not sum to it."""

    sources: tuple[str, ...] = ("one", "two")
    gains: tuple[float, ...] = (0.75, 0.25)
    sample_rate: int = RATE
    audio_channels: int = 1

    def __call__(self, mixture):
        gains = jnp.array(self.gains).reshape(1, -1, *[1] * (mixture.ndim - 1))
        return SimpleNamespace(estimates=gains * mixture[:, None])


class Rectifier(Gains):
    """What is positive, and the rest."""

    def __call__(self, mixture):
        positive = jnp.maximum(mixture, 0)
        estimates = jnp.stack([positive, mixture - positive], axis=1)
        return SimpleNamespace(estimates=estimates)


class Left(Gains):
    """The left channel on both sides, and the rest."""

    audio_channels: int = 2

    def __call__(self, mixture):
        left = mixture[:, :1] + 0 * mixture
        estimates = jnp.stack([left, mixture - left], axis=1)
        return SimpleNamespace(estimates=estimates)


class Ramp(Gains):
    """Louder from the beginning of a chunk to its end."""

    def __call__(self, mixture):
        ramp = jnp.linspace(0, 1, mixture.shape[-1])[None]
        estimates = jnp.stack([ramp * mixture, mixture], axis=1)
        return SimpleNamespace(estimates=estimates)


class Tiles(Gains):
    """Tiles of its own, which are added: two at a time hear a sample, and a bump."""

    @property
    def tiling(self):
        return Tiling(1000, 500, 700)

    def tile(self, mixture):
        bump = 0.5 + 0.1 * jnp.sin(jnp.arange(1000) / 50)[None]
        return self(bump * mixture)


def noise(time, channels=2, seed=0, scale=0.1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, (time, channels)).astype(np.float32)


def heard(model, wave, **options):
    options = {"sample_rate": RATE, "chunk": 0.25, "rescale": False} | options
    return separate(model, {}, wave, **options)


def joined(members, wave, rate=RATE, **options):
    ensemble = make_ensemble(members, **options)
    return separate_array(ensemble, wave[:, None], rate)


# Several hearings.


def test_polarity_inverted_and_averaged():
    wave = noise(5000)
    one = heard(Rectifier(), wave, augment=["polarity"])["one"]
    np.testing.assert_allclose(one, wave / 2, atol=1e-6)


def test_channels_swapped_and_averaged():
    wave = noise(5000)
    middle = wave.mean(1, keepdims=True) + 0 * wave
    stems = heard(Left(), wave, augment=["swap"])
    np.testing.assert_allclose(stems["one"], middle, atol=1e-6)
    np.testing.assert_allclose(stems["two"], wave - middle, atol=1e-6)
    # A model of one channel hears each alone.
    both = [heard(Ramp(), wave, augment=names)["one"] for names in ((), ["swap"])]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("time", [1, 1500, 2000, 9001])
def test_shifts_are_the_mean_of_tracks_with_silence_in_front(time):
    wave, shifts = noise(time), shift_lengths(3, RATE)
    options = dict(overlap=0.3, normalize=False)
    stems = heard(Ramp(), wave, shifts=3, **options)
    assert shifts[0] == 0
    expected = np.zeros_like(wave)
    for shift in shifts:
        later = np.pad(wave, ((shift, 0), (0, 0)))
        expected += heard(Ramp(), later, **options)["one"][shift:] / 3
    np.testing.assert_allclose(stems["one"], expected, atol=1e-6)
    again = heard(Ramp(), wave, shifts=3, **options)
    np.testing.assert_array_equal(again["one"], stems["one"])
    for none in (0, 1):
        plain = heard(Ramp(), wave, shifts=none, **options)
        np.testing.assert_array_equal(
            plain["one"], heard(Ramp(), wave, **options)["one"]
        )


def test_a_model_with_tiles_of_its_own_hears_shifts_as_well():
    wave, expected = noise(4321), 0
    bump = np.tile(1 + 0.1 * np.sin(np.arange(1000) / 50).reshape(2, 500).sum(0), 20)
    for shift in shift_lengths(3, RATE):
        expected = expected + 0.75 * bump[(700 + shift) % 500 :][:4321, None] / 3
    stems = heard(Tiles(), wave, shifts=3)
    np.testing.assert_allclose(stems["one"], expected * wave, atol=1e-6)


def test_shifts_are_spread_over_the_steps_of_a_model():
    shifts = np.array(shift_lengths(100, 44100))
    assert (shifts[:10] == shift_lengths(10, 44100)).all()
    assert len(set(shifts)) == 100
    assert shifts.max() < 22050
    for step in (10, 20, 512, 1024):
        counts, _ = np.histogram(shifts % step, bins=5, range=(0, step))
        assert counts.min() >= 10, (step, counts)


def test_the_mean_comes_before_the_fit_of_scales():
    wave = noise(6000)
    scaled = heard(Rectifier(), wave, augment=["polarity"], rescale=True)
    np.testing.assert_allclose(sum(scaled.values()), wave, atol=1e-5)


def test_streams_in_step_lose_nothing():
    rng = np.random.default_rng(0)
    track, streams = np.arange(1000), []
    for _ in range(3):
        cuts = np.sort(rng.choice(1000, 20))
        streams.append([(part,) for part in np.split(track, cuts) if len(part)])
    found = [[], [], []]
    for parts in in_step(streams):
        assert len({len(part) for (part,) in parts}) == 1
        for whole, (part,) in zip(found, parts):
            whole.append(part)
    for whole in found:
        np.testing.assert_array_equal(np.concatenate(whole), track)


# Ensembles.


def test_an_ensemble_is_the_weighted_mean_of_its_members():
    wave = noise(7000)
    # Another order of sources, rate and chunk, two channels, scales that are fitted.
    other = Gains(("two", "one"), (0.5, 0.1), 2 * RATE, 2)
    ramp = Member(Ramp(), {}, Chunking(0.5, 0.1))
    members = [Member(Gains(), {}, CHUNKING), Member(other, {}, CHUNKING), ramp]
    stems = joined(members, wave, weights={"one": [1, 2, 1]})
    assert list(stems) == ["one", "two"]
    alone = [
        heard(Gains(), wave),
        heard(other, wave),
        separate(Ramp(), {}, wave, sample_rate=RATE, chunk=0.5, overlap=0.1),
    ]
    for name, weights in (("one", (0.25, 0.5, 0.25)), ("two", (1 / 3,) * 3)):
        expected = sum(w * each[name] for w, each in zip(weights, alone))
        np.testing.assert_allclose(stems[name], expected, atol=1e-6)


def test_models_of_one_and_two_channels_hear_a_mono_track():
    wave = noise(5000, 1)
    stems = joined([Member(Gains(), {}, CHUNKING), Member(Left(), {}, CHUNKING)], wave)
    assert stems["one"].shape == wave.shape
    np.testing.assert_allclose(stems["one"], (0.75 + 1) / 2 * wave, atol=1e-6)


def test_a_group_shares_its_weight():
    member = Member(Gains(), {}, CHUNKING)
    ensemble = make_ensemble([[member] * 3, member], weights=[1, 3])
    np.testing.assert_allclose(ensemble.weights[:, 0], [1 / 12] * 3 + [3 / 4])


def test_models_with_other_sources_meet_in_sums():
    four = Gains(("bass", "drums", "vocals"), (0.2, 0.3, 0.5))
    two = Gains(("vocals", "rest"), (0.7, 0.3))
    members = [Member(two, {}, CHUNKING, "a"), Member(four, {}, CHUNKING, "b")]
    wave = noise(3000)
    stems = joined(members, wave, aggregate={"rest": ["bass", "drums"]})
    np.testing.assert_allclose(stems["rest"], 0.4 * wave, atol=1e-6)
    stems = joined(members, wave, two_stems="vocals")
    np.testing.assert_allclose(stems["vocals"], 0.6 * wave, atol=1e-6)
    np.testing.assert_allclose(stems["no_vocals"], 0.4 * wave, atol=1e-6)
    stems = joined(members, wave, stems=["vocals"])
    assert list(stems) == ["vocals"]
    with pytest.raises(ValueError, match=r"a: vocals, rest; b: bass.*ones \(vocals\)"):
        make_ensemble(members)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1]}, "one number for each model, 2 in all"),
        ({"weights": [1, -1]}, "none of them negative"),
        ({"weights": [0, 0]}, "all zero"),
        ({"weights": {"tow": [1, 2]}}, "unknown stem 'tow': did you mean 'two'"),
        ({"total": "whole"}, "'model' or 'exact'"),
        ({"total": "exact", "stems": ["one"]}, "not the whole mixture"),
    ],
)
def test_what_does_not_fit_an_ensemble_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        make_ensemble([Member(Gains(), {})] * 2, **options)


# How far members are apart.


@pytest.mark.parametrize("recipe", [{}, {"two_stems": "two", "other_method": "minus"}])
def test_a_spread_is_that_of_the_members_stems(recipe):
    wave = noise(20_500)
    wave[8000:16_000] = 0
    weights = np.array([0.25, 0.75])
    members = [Member(Gains(), {}, CHUNKING), Member(Ramp(), {}, CHUNKING)]
    stream = EnsembleStream(
        make_ensemble(members, weights=weights, **recipe),
        lambda: (wave[at : at + 3001] for at in range(0, len(wave), 3001)),
        sample_rate=RATE,
    )
    list(stream)
    facts = stream.spread()
    alone = [joined([member], wave, **recipe) for member in members]
    for name, found in facts["seconds"].items():
        stems = np.stack([stem[name] for stem in alone]).astype(np.float64)
        mean = np.tensordot(weights, stems, 1)
        apart = np.square(stems - mean).mean(0)
        for second, value in enumerate(found):
            place = slice(RATE * second, RATE * (second + 1))
            if second == 1:
                assert value is None
                continue
            level = 10 * np.log10(apart[place].sum() / np.square(mean[place]).sum())
            np.testing.assert_allclose(value, level, atol=0.006)
        level = 10 * np.log10(apart.sum() / np.square(mean).sum())
        np.testing.assert_allclose(facts["track"][name], level, atol=0.006)
    assert len(found) == 3
    json.dumps(facts, allow_nan=False)


# Sums that are exact, in files.


def write(path, wave, rate, subtype):
    soundfile.write(path, wave, rate, subtype)
    return path


@pytest.mark.parametrize(
    ("subtype", "channels", "rate", "kind"),
    [
        ("PCM_16", 2, RATE, "wav"),
        ("PCM_24", 1, 44100, "wav"),
        ("PCM_16", 1, 11025, "flac"),
        ("PCM_24", 2, RATE, "flac"),
        ("FLOAT", 2, 44100, "wav"),
    ],
)
@pytest.mark.parametrize("residual", [False, True])
def test_files_sum_to_the_mixture_exactly(
    tmp_path, subtype, channels, rate, kind, residual
):
    path = write(tmp_path / "a.wav", noise(2 * rate + 5, channels), rate, subtype)
    # Half of the track is missing in the estimates, and one member is in stereo.
    models = [Gains(gains=(0.4, 0.1)), Left()][: channels + 1]
    members = [Member(model, {}, CHUNKING) for model in models]
    ensemble = make_ensemble(members, total="exact", residual=residual)
    separate_file(
        ensemble, open_part(path), Place.of(tmp_path / "out"), path, output=Output(kind)
    )
    files = sorted((tmp_path / "out").glob(f"*.{kind}"))
    assert len(files) == 2 + residual
    assert {soundfile.info(file).subtype for file in files} == {subtype}
    mixture, _ = soundfile.read(path, always_2d=True)
    total = sum(soundfile.read(file, always_2d=True)[0] for file in files)
    if subtype != "FLOAT":
        np.testing.assert_array_equal(total, mixture)
    null = np.square(total - mixture).sum()
    assert 10 * np.log10(np.square(mixture).sum() / max(null, 1e-30)) > 120


def test_an_exact_sum_survives_what_exceeds_full_scale(tmp_path):
    wave = np.clip(noise(4000, 1, scale=0.5), -0.9, 0.9)
    path = write(tmp_path / "a.wav", wave, RATE, "PCM_16")
    ensemble = make_ensemble([Member(Gains(gains=(3.0, -2.0)), {}, CHUNKING)])
    ensemble = dataclasses.replace(ensemble, exact=True)
    note = separate_file(ensemble, open_part(path), Place.of(tmp_path / "out"), path)
    assert "float" in note
    total = sum(soundfile.read(file)[0] for file in (tmp_path / "out").iterdir())
    np.testing.assert_array_equal(total, soundfile.read(path)[0])


@pytest.mark.parametrize("channels", [1, 2])
def test_stems_share_the_error_by_their_power(channels):
    wave = noise(3000, channels)
    model = Gains(gains=(0.4, 0.1), audio_channels=2)
    stems = joined([Member(model, {}, CHUNKING)], wave, total="exact")
    for name, gain in (("one", 0.4), ("two", 0.1)):
        expected = (gain + 0.5 * gain**2 / 0.17) * wave
        np.testing.assert_allclose(stems[name], expected, atol=1e-6)


def test_scales_are_those_of_each_member():
    wave = noise(3000)
    members = [Member(Gains(gains=(gain, 0.0)), {}, Chunking(0.25)) for gain in (3, -9)]
    stems = joined(members, wave)
    np.testing.assert_allclose(stems["one"], wave, atol=1e-6)


def test_silence_sums_to_silence():
    wave = np.zeros((3000, 2), np.float32)
    stems = joined([Member(Gains(), {}, CHUNKING)], wave, total="exact")
    assert all(not stem.any() for stem in stems.values())


# The command.


def command(output, *arguments):
    return cli.main(["separate", "-o", str(output), *map(str, arguments)])


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    path = tmp_path_factory.mktemp("song") / "song.wav"
    return write(path, noise(9000, 2), RATE, "PCM_16")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(folder, name):
    return soundfile.read(folder / "song" / f"{name}.wav")[0]


def test_a_run_of_several_seeds_is_an_ensemble_of_its_seeds(tmp_path, song):
    band = tmp_path / "band"
    for seed in (9, 10):
        shutil.copytree(MODEL, band / f"seed_{seed}")
    assert command(tmp_path / "out", song, "-n", band, "--stems", "voice") == 0
    assert names(tmp_path / "out" / "song") == ["spread.json", "voice.wav"]
    facts = json.loads((tmp_path / "out" / "song" / "spread.json").read_text())
    assert [Path(name).name for name in facts["members"]] == ["seed_9", "seed_10"]
    assert facts["weights"] == {"voice": [0.5, 0.5]}
    assert facts["seconds"] == {"voice": [None, None]}  # the same seed twice
    assert command(tmp_path / "one", song, "-n", MODEL, "--stems", "voice") == 0
    alone, mean = (read(tmp_path / folder, "voice") for folder in ("one", "out"))
    np.testing.assert_allclose(mean, alone, atol=2**-15)
    # Made again of one model, nothing says how far others were apart.
    assert command(tmp_path / "out", song, "-n", MODEL, "--stems", "voice") == 0
    assert names(tmp_path / "out" / "song") == ["voice.wav"]


def test_the_stems_of_the_command(tmp_path, song):
    run = song, "-n", MODEL, "--depth", "float"
    assert command(tmp_path / "plain", *run) == 0
    voice, rest = (read(tmp_path / "plain", name) for name in ("voice", "rest"))
    more = ["--two-stems", "voice", "--other-method", "minus", "--residual"]
    assert command(tmp_path / "two", *run, *more) == 0
    made = ["minus_voice.wav", "residual.wav", "voice.wav"]
    assert names(tmp_path / "two" / "song") == made
    mixture, _ = soundfile.read(song)
    other = read(tmp_path / "two", "minus_voice")
    np.testing.assert_allclose(other, mixture - voice, atol=1e-6)
    residual = read(tmp_path / "two", "residual")
    np.testing.assert_allclose(residual, mixture - voice - rest, atol=1e-6)
    more = ["--aggregate", "all=rest,voice", "--sum", "exact"]
    assert command(tmp_path / "sum", *run, *more) == 0
    assert names(tmp_path / "sum" / "song") == ["all.wav"]
    np.testing.assert_allclose(read(tmp_path / "sum", "all"), mixture, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stems", "vocals"], "unknown stem 'vocals'"),
        (["--two-stems", "harmonics"], "did you mean 'harmonic'"),
        (["--sum", "exact", "--stems", "harmonic"], "not the whole mixture"),
        (["--aggregate", "all"], "write SUM=A,B"),
        (["--sum", "exact", "--mp3"], "mp3 changes stems: choose wav or flac"),
        (["--sum", "exact", "--clip-mode", "clamp"], "--clip-mode clamp changes"),
        (["--weights", "1,2"], "one number for each model, 1 in all"),
        (["--weights", "a"], "write 1,2 or STEM=1,2"),
        (["--weights", "1", "--weights", "harmonic=1"], "for all stems, or stem by"),
        (["--tta", "polarty"], "did you mean 'polarity'"),
        (["-n", MODEL, "--stems", "voice"], "hpss: unknown stem 'voice'"),
        (["--shifts", "-1"], "shifts=-1 must be a whole number, 0 to 100"),
    ],
)
def test_options_are_checked_before_any_work(tmp_path, song, capsys, options, message):
    assert command(tmp_path / "out", song, "-n", "hpss", *options) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "separating" not in error
    assert not list((tmp_path / "out").iterdir())


def test_a_foreign_file_is_not_replaced_by_a_spread(tmp_path, song, capsys):
    folder = tmp_path / "out" / "song"
    folder.mkdir(parents=True)
    (folder / "spread.json").write_text("[1]")
    assert command(tmp_path / "out", song, "-n", "hpss", "-n", "hpss") == 1
    assert "spread.json is no spread of sepjax" in capsys.readouterr().err
    assert names(folder) == ["spread.json"]
    assert command(tmp_path / "out", song, "-n", MODEL) == 0  # one has no spread
    assert (folder / "spread.json").read_text() == "[1]"


def test_seeds_are_loaded_in_their_order_and_share_a_weight(tmp_path):
    for seed in (10, 9, 100):
        shutil.copytree(MODEL, tmp_path / f"seed_{seed}")
    ensemble = load_ensemble([tmp_path, MODEL], shifts=2, weights=[1, 1])
    found = [Path(member.name).name for member in ensemble.members]
    assert found == ["seed_9", "seed_10", "seed_100", "weights"]
    np.testing.assert_allclose(ensemble.weights[:, 0], [1 / 6] * 3 + [1 / 2])
    assert {member.chunking.shifts for member in ensemble.members} == {2}
