"""Songs and classes of two folders find each other by name, or say why not."""

import os

import numpy as np
import pytest
import soundfile

from sepjax.evaluation.folders.pairing import Pair, find_songs, pair_tracks
from sepjax.evaluation.folders.reading import read_pair

RATE = 8000


def write(path, frames=100, channels=1, rate=RATE, seed=0, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    wave = rng.uniform(-0.5, 0.5, (frames, channels))
    soundfile.write(path, wave, rate, subtype)
    return path


def touch(root, *names):
    """Files are paired by their names: nothing need be in them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def shape(pairing):
    return {pair.title: [*pair.references] for pair in pairing.pairs}


@pytest.fixture
def two(tmp_path):
    return tmp_path / "true", tmp_path / "guess"


@pytest.mark.parametrize(
    "estimates",
    [
        ("test/A - b/vocals.wav", "test/A - b/bass.wav", "test/C/bass.wav"),
        ("A - b/vocals.flac", "A - b/bass.flac", "C/bass.flac"),
        ("A - b_vocals.wav", "A - b_bass.wav", "C_bass.wav"),
        ("test/A - b_vocals.wav", "test/A - b_bass.wav", "test/C_bass.wav"),
        ("A - b/A - b_Vocals.wav", "A - b/A - b_Bass.wav", "C/C_bass.wav"),
    ],
    ids=["hq", "plain", "flat", "flat in subsets", "song in file names"],
)
def test_layouts_may_differ(two, estimates):
    truth, guess = two
    touch(truth, "test/A - b/vocals.wav", "test/A - b/bass.wav", "test/C/bass.wav")
    touch(truth, "test/A - b/mixture.wav", "test/C/mixture.wav")
    touch(guess, *estimates)
    pairing = pair_tracks(truth, guess)
    assert shape(pairing) == {"test/A - b": ["bass", "vocals"], "test/C": ["bass"]}
    assert not pairing.remarks
    for pair in pairing.pairs:
        for name, paths in pair.estimates.items():
            assert [name in str(path).lower() for path in paths] == [True]


def test_order_never_counts(two):
    truth, guess = two
    touch(truth, "a/vocals.wav", "a/bass.wav", "b/vocals.wav", "b/bass.wav")
    # In order of their names the first estimates would meet the wrong songs.
    touch(guess, "0 extra/vocals.wav", "b/vocals.wav", "b/accordion.wav")
    pairing = pair_tracks(truth, guess)
    assert shape(pairing) == {"b": ["vocals"]}
    assert pairing.pairs[0].references["vocals"] == [truth / "b/vocals.wav"]
    assert pairing.pairs[0].estimates["vocals"] == [guess / "b/vocals.wav"]


def test_what_has_no_partner_is_told_with_the_nearest_names(two):
    truth, guess = two
    touch(truth, "Sunny Day/vocals.wav", "Sunny Day/bass.wav", "Rain/vocals.wav")
    touch(truth, "Fog/vocals.wav")
    touch(guess, "Suny Day/vocals.wav", "Rain/vocal.wav", "Fog/vocals.wav")
    remarks = "\n".join(pair_tracks(truth, guess).remarks)
    assert "no reference of song 'Suny Day'; did you mean 'Sunny Day'?" in remarks
    assert "no reference of class 'vocal'; did you mean 'vocals'? (Rain)" in remarks
    assert "no estimate of class 'vocals', which is not scored (Rain)" in remarks
    assert "1 songs have no estimates and are not scored: Sunny Day" in remarks


def test_a_whole_subset_without_estimates_is_one_remark(two):
    truth, guess = two
    touch(truth, *(f"train/{n}/bass.wav" for n in range(50)), "test/x/bass.wav")
    touch(guess, "test/x/bass.wav")
    (remark,) = pair_tracks(truth, guess).remarks
    assert "50 songs of train have no estimates" in remark
    assert "and 45 more" in remark


def test_songs_of_one_name_in_two_subsets(two):
    truth, guess = two
    touch(truth, "train/x/bass.wav", "test/x/bass.wav")
    touch(guess, "test/x/bass.wav", "train/x/bass.wav")
    assert shape(pair_tracks(truth, guess)) == {"test/x": ["bass"], "train/x": ["bass"]}
    touch(guess.with_name("plain"), "x/bass.wav")
    with pytest.raises(ValueError, match="'x' is in test and in train"):
        pair_tracks(truth, guess.with_name("plain"))


def test_single_songs_need_not_have_one_name(two):
    truth, guess = two
    touch(truth, "vocals.wav", "lead_guitar.wav", "mixture.wav")
    touch(guess, "vocals.wav", "lead_guitar.wav")
    assert shape(pair_tracks(truth, guess)) == {"true": ["lead_guitar", "vocals"]}


def test_classes_say_where_a_song_ends(two):
    truth, guess = two
    for root in two:
        touch(root, "my_song_lead_vocals.wav", "my_song_bass.wav", "notes.wav")
    found = shape(pair_tracks(truth, guess, ["lead_vocals", "bass"]))
    assert found == {"my_song": ["lead_vocals", "bass"]}
    assert "my_song_lead" in shape(pair_tracks(truth, guess))


def test_accents_have_two_encodings(two):
    touch(two[0], "Fianc\u00e9/bass.wav")
    touch(two[1], "Fiance\u0301/bass.wav")  # as macOS and its archives write it
    assert shape(pair_tracks(*two)) == {"Fianc\u00e9": ["bass"]}


def test_what_systems_leave_and_names_of_splits_make_no_difference(two):
    touch(two[0], "Validation/a/bass.wav", "Validation/a/._bass.wav")
    touch(two[0], "Validation/__MACOSX/a/bass.wav", "__MACOSX/b/bass.wav")
    touch(two[1], "valid/a/BASS.WAV", "@eaDir/bass.wav")
    pairing = pair_tracks(*two)
    assert shape(pairing) == {"Validation/a": ["bass"]}
    assert not pairing.remarks


@pytest.mark.parametrize("name", [b"a/caf\xe9.wav", b"caf\xe9/bass.wav"])
def test_names_that_are_not_utf8_are_told(two, name):
    touch(two[0], "a/bass.wav"), touch(two[1], os.fsdecode(name))
    with pytest.raises(ValueError, match=r"'caf\\udce9' is not UTF-8"):
        pair_tracks(*two)


def test_a_song_called_test_is_a_song(tmp_path):
    touch(tmp_path, "test/bass.wav", "other song/bass.wav")
    assert list(find_songs(tmp_path)) == [("", "other song"), ("", "test")]


def test_folders_without_songs_say_what_they_hold(two):
    truth, guess = two
    with pytest.raises(FileNotFoundError, match="no such folder"):
        pair_tracks(truth, guess)
    touch(truth, "a/bass.wav")
    guess.mkdir()
    with pytest.raises(ValueError, match=r"holds no songs\. Expected"):
        pair_tracks(truth, guess)
    touch(guess, "model/songs/a/bass.wav")
    with pytest.raises(ValueError, match=r"the first audio below it is .*bass\.wav"):
        pair_tracks(truth, guess)
    touch(guess, "b/x.wav")
    with pytest.raises(ValueError, match="nothing to score: no song and class") as told:
        pair_tracks(truth, guess)
    assert "no reference of song 'b'; did you mean" not in str(told.value)
    touch(truth.with_name("packed"), "train/a.stem.mp4")
    with pytest.raises(ValueError, match="musdbconvert"):
        find_songs(truth.with_name("packed"))


def pair(two, names=("bass", "vocals")):
    files = [{n: [root / f"{n}.wav"] for n in names} for root in two]
    return Pair("song", "", *files)


def test_integers_and_floats_have_one_scale(two):
    truth, guess = two
    for name, (left, right) in {
        "bass": ("PCM_16", "FLOAT"),
        "vocals": ("PCM_24", "PCM_16"),
    }.items():
        write(truth / f"{name}.wav", subtype=left)
        write(guess / f"{name}.wav", subtype=right)
    loaded = read_pair(pair(two))
    assert loaded.classes == ("bass", "vocals")
    # Half a step of 16 bits where the file was rounded.
    np.testing.assert_allclose(
        loaded.references, loaded.estimates["model"], atol=2**-15
    )
    assert np.abs(loaded.references).max() > 0.4


def test_lengths_are_those_of_the_references(two):
    truth, guess = two
    write(truth / "bass.wav", 100), write(truth / "vocals.wav", 100)
    write(guess / "bass.wav", 120), write(guess / "vocals.wav", 70)
    loaded = read_pair(pair(two))
    assert loaded.estimates["model"].shape == loaded.references.shape == (2, 100, 1)
    assert not loaded.estimates["model"][1, 70:].any()
    assert loaded.estimates["model"][1, :70].all()
    assert loaded.notes == (
        "estimate of bass: 20 samples (0.0025 s) longer, cut",
        "estimate of vocals: 30 samples (0.00375 s) shorter, filled with zeros",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("guess", "bass", {"rate": 44100}), "ffmpeg -i .* -ar 8000"),
        (("true", "bass", {"rate": 44100}), r"sample rates \(Hz\): bass 44100"),
        (("true", "bass", {"frames": 99}), r"lengths \(samples\): bass 99, vocals 100"),
        (("guess", "bass", {"channels": 2}), "2 different channels .*-ac 1"),
    ],
)
def test_what_does_not_belong_together_is_refused(two, tmp_path, change, message):
    for root in two:
        write(root / "bass.wav"), write(root / "vocals.wav")
    side, name, how = change
    path = write(tmp_path / side / f"{name}.wav", **how)
    with pytest.raises(ValueError, match=message) as told:
        read_pair(pair(two))
    assert str(path.parent) in str(told.value)


def test_mono_and_stereo(two):
    truth, guess = two
    names = ("bass",)
    mono, _ = soundfile.read(write(guess / "bass.wav"), always_2d=True)
    write(truth / "bass.wav", channels=2, seed=1)
    with pytest.raises(ValueError, match="1 channels where the reference has 2 differ"):
        read_pair(pair(two, names))
    soundfile.write(truth / "bass.wav", np.repeat(mono, 2, 1), RATE)
    loaded = read_pair(pair(two, names))
    np.testing.assert_array_equal(loaded.estimates["model"], loaded.references)
    swapped = read_pair(pair(two[::-1], names))
    assert swapped.estimates["model"].shape == (1, 100, 1)
    np.testing.assert_array_equal(swapped.estimates["model"], swapped.references)
    assert "all channels are equal" in swapped.notes[0]


def test_two_files_of_a_class(two):
    for root in two:
        write(root / "bass.wav")
    broken = pair(two, ("bass",))
    broken.estimates["bass"].append(write(two[1] / "bass.flac"))
    with pytest.raises(ValueError, match=r"several files, .*keep one"):
        read_pair(broken)
