"""What listeners hear: which songs, which excerpts, how loud, which anchors."""

import numpy as np
import pytest
import soundfile
from scipy.signal import welch

from sepjax.commands import cli
from sepjax.evaluation.excerpts import Collector
from sepjax.listening.clips import FADE, LOUDNESS, low_pass, make_clips
from sepjax.listening.items import Item, choose, find_items, loudness
from sepjax.listening.songs import name_systems, shared_songs
from tests.listening.systems import RATE, SONGS, write_systems


def items_of(references, *systems, seconds=0.5):
    named = name_systems(systems)
    songs, remarks = shared_songs(named, references)
    items, more = find_items(songs, [*named], seconds)
    return items, remarks + more


def test_excerpts_lie_where_all_sound_and_have_the_scores_of_the_systems(tmp_path):
    items, remarks = items_of(*write_systems(tmp_path))
    assert remarks == []
    assert [item.song for item in items] == sorted(SONGS)
    for item in items:
        assert (item.start, item.seconds, item.rate) == (0.5, 0.5, RATE)
        truth, *estimates = item.read()
        whole = soundfile.read(tmp_path / "true" / item.song / "vocals.wav")[0]
        np.testing.assert_array_equal(truth[:, 0], whole[4000:].astype(np.float32))
        for score, estimate in zip(item.scores, estimates):
            truth64, guess = truth.astype(float), estimate.astype(float)
            part = np.vdot(guess, truth64) / np.vdot(truth64, truth64) * truth64
            sdr = 10 * np.log10(
                np.vdot(part, part) / np.vdot(part - guess, part - guess)
            )
            assert score == pytest.approx(sdr, abs=1e-6)


def test_excerpts_are_the_lowest_the_median_and_the_highest(tmp_path):
    items, _ = items_of(*write_systems(tmp_path))
    chosen = choose(items, 3)
    assert [item.song for item in chosen] == ["three", "two", "one"]
    assert [one.rank for one in chosen] == [
        "lowest of 3",
        "median of 3",
        "highest of 3",
    ]
    assert [item.song for item in choose(items, 1)] == ["two"]
    assert len(choose(items, 9)) == 3


def test_a_copy_of_the_reference_ranks_highest():
    facts = "vocals", 0.0, 1.0, RATE
    songs = {"copy": (np.inf, np.inf), "good": (20.0, 10.0), "bad": (-3.0, -np.inf)}
    items = [Item(name, *facts, scores, None) for name, scores in songs.items()]
    assert [item.song for item in choose(items, 3)] == ["bad", "good", "copy"]


def test_runs_are_heard_by_their_excerpts(tmp_path):
    rng = np.random.default_rng(0)
    references = rng.normal(0, 0.1, (2, RATE, 1)).astype(np.float32)
    for name, noise in (("a", 0.01), ("b", 0.05)):
        collector = Collector(1, 0.5)
        guess = references + rng.normal(0, noise, references.shape)
        facts = 0, "song", RATE, ("bass", "vocals")
        collector.add(*facts, references.sum(0), references, guess)
        collector.write(tmp_path / name / "audio")
    items, _ = items_of(None, tmp_path / "a", tmp_path / "b")
    assert [(item.song, item.class_) for item in items] == [
        ("song", "bass"),
        ("song", "vocals"),
    ]
    assert all(item.scores[0] > item.scores[1] for item in items)
    assert items[0].read().shape == (3, RATE // 2, 1)
    named = name_systems([tmp_path / "a", tmp_path / "b"])
    songs, _ = shared_songs(named, None, ["Vocals"])
    assert [item.class_ for item in find_items(songs, "ab", 0.5)[0]] == ["vocals"]
    # Other music under the same names and times is no comparison.
    collector = Collector(1, 0.5)
    other = rng.normal(0, 0.1, references.shape)
    index = (tmp_path / "b/audio/index.json").read_text()
    collector.add(*facts, other.sum(0), other, other)
    collector.write(tmp_path / "b/audio")
    (tmp_path / "b/audio/index.json").write_text(index)
    with pytest.raises(ValueError, match="different music under this name"):
        items_of(None, tmp_path / "a", tmp_path / "b")


def test_all_clips_are_equally_loud_and_a_scaled_copy_is_the_reference():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.05, (RATE, 2))
    noise = rng.normal(0, 0.01, (RATE, 2))
    clips = make_clips(np.stack([truth, 0.01 * truth, truth + noise]), RATE, [700])
    assert clips.shape == (4, RATE, 2)
    np.testing.assert_allclose(clips[1], clips[0], atol=1e-9)
    middle = clips[:, 200:-200]
    for clip in middle:
        assert loudness(clip, RATE) == pytest.approx(LOUDNESS, abs=0.1)
    ramp = round(FADE * RATE)
    edges = np.abs(clips[:, [0, -1]]).max()
    assert edges < 0.01 * np.abs(clips[:, ramp]).max()


def test_a_peak_beyond_full_scale_turns_all_clips_down_alike():
    rng = np.random.default_rng(0)
    click = 1e-3 * rng.normal(size=(RATE, 1))
    click[4000] = 1.0
    clips = make_clips(np.stack([rng.normal(0, 0.1, (RATE, 1)), click]), RATE, [])
    assert np.abs(clips).max() == pytest.approx(1)
    levels = [loudness(clip, RATE) for clip in clips]
    assert levels[0] == pytest.approx(levels[1], abs=0.05)
    assert levels[0] < LOUDNESS - 1


def test_the_low_anchor_is_within_the_mask_of_the_standard():
    rate = 44100
    impulse = np.zeros((rate, 1))
    impulse[rate // 2] = 1
    answer = low_pass(impulse, rate, 3500)[:, 0]
    assert np.argmax(answer) == rate // 2  # in phase with the reference
    gain = 20 * np.log10(np.abs(np.fft.rfft(answer)) + 1e-12)  # one bin per Hz
    assert np.abs(gain[:3501]).max() < 0.1
    assert gain[4000:].max() < -25
    assert gain[4500:].max() < -50
    noise = np.random.default_rng(0).normal(size=(rate, 1))
    _, power = welch(low_pass(noise, rate, 7000)[:, 0], rate, nperseg=1024)
    assert power[: int(7000 / rate * 1024)].min() > 1e3 * power[190:].max()


def test_anchors_need_something_to_take_away():
    with pytest.raises(ValueError, match=r"--anchors 3500: .* 0 and 3500 Hz"):
        low_pass(np.ones((800, 1)), RATE, 3500)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda root: (root / "B/one/vocals.wav").unlink(), None),
        (lambda root: short(root / "B/one/vocals.wav"), "lengths differ, in samples"),
        (lambda root: silent(root / "B/one/vocals.wav"), "estimate of B is silent"),
        (lambda root: rename(root / "B", SONGS), "nothing to score: no song and class"),
        (lambda root: part(root), "no song is in all systems, and names decide"),
        (lambda root: short(root / "true/one/vocals.wav", 0), "lengths differ"),
    ],
)
def test_what_cannot_be_compared_is_told_before_anything_is_written(
    tmp_path, capsys, change, text
):
    references, *systems = write_systems(tmp_path)
    change(tmp_path)
    arguments = [*map(str, systems), "--references", str(references)]
    options = ["--seconds", "0.5", "--abx", "1", "-o", str(tmp_path / "out")]
    status = cli.main(["listen", *arguments, *options])
    errors = capsys.readouterr().err
    if text is None:  # one song less
        assert status == 0
        assert "A: songs that not all systems have: one\n" in errors
        return
    assert status == 1
    assert text in errors
    assert not [*(tmp_path / "out").iterdir()]


def short(path, frames=-100):
    wave, rate = soundfile.read(path)
    soundfile.write(path, wave[:frames] if frames else np.tile(wave, 2), rate)


def silent(path):
    wave, rate = soundfile.read(path)
    soundfile.write(path, 0 * wave, rate)


def part(root):
    rename(root / "A", SONGS[:1])
    rename(root / "B", SONGS[1:])


def rename(folder, songs):
    for song in songs:
        (folder / song).rename(folder / f"other {song}")


def test_a_silent_reference_is_left_out(tmp_path):
    references, *systems = write_systems(tmp_path)
    for root in (references, *systems):
        silent(root / "one" / "vocals.wav")
    items, remarks = items_of(references, *systems)
    assert [item.song for item in items] == ["three", "two"]
    assert remarks == ["song 'one': vocals is silent: left out"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["A"], "1 systems: a listening test compares 2 to 9"),
        (["A", "A"], "one system comes twice"),
        (["A", "B"], "name the folder of the true stems, --references DIR"),
        (["A", "B", "--seconds", "99", "--references", "true"], "--seconds 99"),
        (["A", "B", "--abx", "0", "--no-mushra"], "ABX trials, or ratings, or both"),
        (["A", "B", "--excerpts", "0"], "--excerpts 0: one of each class"),
        (["A", "B", "-o", "true", "--references", "true"], "true is there already"),
        (["A", "B", "-o", "file/out"], "file/out: no test can be written there"),
        (["A", "reference"], "is called as a condition"),
        (["--merge", "key.json"], "name files of ratings"),
    ],
)
def test_a_wrong_command_is_told(tmp_path, monkeypatch, capsys, arguments, text):
    write_systems(tmp_path)
    (tmp_path / "reference").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["listen", *arguments]) == 1
    assert text in capsys.readouterr().err
