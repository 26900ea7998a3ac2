"""Songs made live: the same for every model, with their clean references."""

import numpy as np
import pytest
import soundfile

from data_pipelines.feeding import live, schedule
from data_pipelines.manifest import DataError, LoadedTrack
from data_pipelines.pipeline import open_data
from data_pipelines.songs.written import write_songs
from sepjax.config import Config
from sepjax.models.tasnet.config import TasNetConfig

RATE = 8000


@pytest.fixture
def config():
    config = Config(model=TasNetConfig())
    config.data.sources = ("drums", "bass", "vocals")
    config.data.chunk_seconds = 0.5
    config.train.batch_size = 4
    config.live.train = config.live.eval = True
    config.live.reverb_low, config.live.reverb_high = 0.3, 0.4
    return config


def song(name="song", channels=2, time=9000, amplitude=0.2):
    rng = np.random.default_rng(0)
    waves = amplitude * rng.normal(size=(3, time, channels)).astype(np.float32)
    classes = ("drums", "bass", "vocals")
    return LoadedTrack(name, RATE, classes, waves.sum(0), waves)


def energy(wave):
    return float(np.square(wave, dtype=np.float64).sum())


@pytest.mark.parametrize("channels", [1, 2])
def test_a_live_song_keeps_its_clean_references(config, channels):
    track = song(channels=channels)
    recorded, clean = live.live_track(track, config, live.Venue())
    assert recorded.mixture.shape == track.mixture.shape
    np.testing.assert_array_equal(recorded.mixture, clean.mixture)
    np.testing.assert_allclose(recorded.references.sum(0), recorded.mixture, atol=2e-6)
    assert np.abs(recorded.mixture).max() <= 1
    # The clean references are the mean of the channels, at one gain for all.
    mono = track.references.mean(-1, keepdims=True)
    scale = clean.references[0, 0, 0] / mono[0, 0, 0]
    assert scale <= 1
    np.testing.assert_allclose(clean.references[..., :1], scale * mono, atol=1e-6)
    for found in (recorded, clean):
        for wave in (found.mixture, *found.references):
            np.testing.assert_array_equal(wave, np.repeat(wave[:, :1], channels, -1))
    # The direct sound is in the recording at the gain it has in the reference.
    damage = recorded.references - clean.references
    for wave, other in zip(clean.references, damage):
        assert 0.01 * energy(wave) < energy(other) < 0.6 * energy(wave)


def test_the_concert_of_a_song_follows_from_its_name(config):
    one = live.live_track(song("one"), config, live.Venue()).recorded
    config.seed = 7
    again = live.live_track(song("one"), config, live.Venue()).recorded
    other = live.live_track(song("two"), config, live.Venue()).recorded
    np.testing.assert_array_equal(one.references, again.references)
    assert np.abs(one.references - other.references).max() > 0.01


def test_rows_of_training_are_a_function_of_seed_and_step(config):
    def draws(seeds, step, rows=slice(0, 4)):
        return live.train_rows(config, live.Venue(), seeds, step, rows)["draws"]

    both, width = draws([5, 6], 3), 28
    assert both.shape == (8, width)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[::2], draws([5], 3))
    np.testing.assert_array_equal(both[1::2], draws([6], 3))
    np.testing.assert_array_equal(both[4:], draws([5, 6], 3, slice(2, 4)))
    assert np.abs(draws([5], 3) - draws([5], 4)).max() > 0.1
    # Numbers of its own, not those that cut the chunks.
    streams = (schedule.LIVE, schedule.LIVE_VALID, schedule.LIVE_TRACK, 1, 2, 3)
    assert len({schedule.uniform(5, s, 0, 1, 4).tobytes() for s in streams}) == 6


def test_a_chunk_of_validation_meets_the_same_concert(config):
    whole = live.valid_rows(config, live.Venue(), 0, 6, 4000)["draws"]
    config.seed = 7
    last = live.valid_rows(config, live.Venue(), 4, 2, 4000)["draws"]
    np.testing.assert_array_equal(whole[4:], last)


@pytest.fixture
def venue_folders(tmp_path, config):
    """A stereo response at twice the rate with its peak inside; two audiences."""
    rng = np.random.default_rng(1)
    halls, crowds = tmp_path / "halls", tmp_path / "crowds" / "loud"
    halls.mkdir()
    crowds.mkdir(parents=True)
    decay = np.exp(-np.arange(6000) / 800)[:, None]
    response = 0.02 * rng.normal(size=(6000, 2)) * decay
    response[300] = -0.5, 0.5
    soundfile.write(halls / "church.wav", response, 2 * RATE, "FLOAT")
    for name, frames, rate in (("a", 3000, RATE), ("b", 30000, 2 * RATE)):
        noise = 0.1 * rng.normal(size=(frames, 2))
        soundfile.write(crowds / f"{name}.flac", noise, rate)
    config.live.impulse_responses = str(halls)
    config.live.crowd_recordings = str(tmp_path / "crowds")
    return halls, crowds


def test_halls_and_audiences_from_folders(config, venue_folders):
    venue = live.open_venue(config)
    assert venue.tails.shape == (2, 2850)  # each channel, from its peak, at 8 kHz
    assert (venue.tails[:, :21] == 0).all()
    assert (np.abs(venue.tails).max(1) < 0.2).all()  # beside a direct sound of one
    assert [file.frames for file in venue.audience.files] == [3000, 15000]
    made = live.train_rows(config, venue, [5], 0, slice(0, 4))
    assert made["tails"].shape == (4, 3, 2850)
    assert made["recordings"].shape == (4, 4000)
    assert (np.abs(made["recordings"]).max(1) > 0.05).all()
    recorded, _ = live.live_track(song(), config, venue)
    synthetic, _ = live.live_track(song(), config, live.Venue())
    assert np.abs(recorded.mixture - synthetic.mixture).max() > 0.01


@pytest.fixture
def music(config, write_song, tmp_path):
    """Five songs of noise, one of which is for validation and one for the test."""
    for name in "abcde":
        write_song(tmp_path / "songs" / name, config.data.sources, frames=9000)
    config.data.dataset, config.data.root = "folder", str(tmp_path / "songs")
    return config


def test_batches_bring_their_concerts(music):
    live_data = open_data(music)
    seen = list(live_data.train_batches(3, 5))
    np.testing.assert_array_equal(
        seen[1]["draws"], next(live_data.train_batches(4, 5))["draws"]
    )
    assert [batch["draws"].shape for batch in seen] == [(4, 28)] * 2
    halves = [next(live_data.train_batches(3, 4, p, 2))["draws"] for p in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), seen[0]["draws"])
    valid = [batch["draws"] for batch in live_data.valid_batches(2)]
    again = [batch["draws"] for batch in live_data.valid_batches(4)]
    np.testing.assert_array_equal(np.concatenate(valid)[:3], np.concatenate(again)[:3])
    # All else stays as it is, and so do batches of music that is not live.
    music.live.train = False
    plain = next(open_data(music).train_batches(3, 4))
    assert set(seen[0]) - set(plain) == {"draws"}
    for name, values in plain.items():
        np.testing.assert_array_equal(values, seen[0][name])


def test_songs_of_the_test_are_live_if_asked(music):
    recorded = next(open_data(music).tracks("test"))
    music.live.targets = "clean"
    clean = next(open_data(music).tracks("test"))
    music.live.eval = False
    dry = next(open_data(music).tracks("test"))
    np.testing.assert_array_equal(recorded.mixture, clean.mixture)
    assert np.abs(recorded.references - clean.references).max() > 0.01
    scale = clean.references.max() / dry.references.max()
    np.testing.assert_allclose(clean.references, scale * dry.references, atol=1e-6)


def test_concerts_that_are_written_are_songs_again(music, tmp_path):
    out = tmp_path / "written"
    made = list(open_data(music).tracks("train"))
    for split in ("train", "valid", "test"):
        write_songs(open_data(music).tracks(split), out / split)
    assert not [path for path in out.rglob("*.part*")]
    music.data.root, music.live.eval, music.live.train = str(out), False, False
    again = list(open_data(music).tracks("train"))
    assert [one.name for one in again] == [one.name for one in made]
    for old, new in zip(made, again):
        # Rounded to 16 bits, and clipped there if a stem exceeds full scale.
        for name in ("mixture", "references"):
            clipped = np.clip(getattr(old, name), -1, 1)
            np.testing.assert_allclose(getattr(new, name), clipped, atol=2**-15)
    with pytest.raises(DataError, match="test exists: name another folder"):
        write_songs([], out / "test")
    with pytest.raises(DataError, match=r"'\.\./a' cannot be the name of a folder"):
        write_songs([song("../a")], out / "other")


def test_what_is_wrong_with_a_folder_is_said_by_name(config, venue_folders, tmp_path):
    halls, crowds = venue_folders
    (crowds / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"crowd_recordings: 1 problem\n.*broken\.wav"):
        live.open_venue(config)
    dry = np.zeros((100, 1))
    dry[3] = 0.5
    soundfile.write(halls / "dry.wav", dry, RATE)
    with pytest.raises(DataError, match=r"dry\.wav: channel 1 holds no reverberation"):
        live.open_venue(config)
    config.live.impulse_responses = str(tmp_path / "hals")
    with pytest.raises(DataError, match=r"impulse_responses=.*hals: no such folder"):
        live.open_venue(config)
