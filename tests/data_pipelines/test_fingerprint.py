"""Copies are found whatever happened to them; other songs are not, even of one session.

The songs are those of the demo: of one session they are made of the same takes.
"""

import io
import itertools

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from data_pipelines.doctor import fingerprint as module
from data_pipelines.doctor.fingerprint import HOP, RATE, Fingerprint, fingerprint
from data_pipelines.doctor.listening import mono_wave
from data_pipelines.doctor.matching import build_index, candidates, shared_part
from data_pipelines.doctor.same_audio import PARTLY, SAME
from data_pipelines.songs import demo

SONGS = 200  # of which those with much in common are looked at
HIGH = 32000  # Hz at which copies are made; MP3 and AAC know it


@pytest.fixture(scope="module")
def manifest():
    return demo.build_manifest("", demo.CLASSES, songs={"train": SONGS})


@pytest.fixture(scope="module")
def waves(manifest):
    """A song of each session, at its plain speed."""
    first = {}
    for track in manifest.tracks:
        if rate(manifest, track) == demo.SAMPLE_RATE:
            first.setdefault(track.group, track)
    return [mono_wave(manifest, track) for track in first.values()]


@pytest.fixture(scope="module")
def index(waves):
    return build_index([fingerprint(wave) for wave in waves])


def rate(manifest, track):
    return manifest.files[next(iter(track.stems.values())).file].sample_rate


def takes(track):
    return {(stem.file, stem.start) for stem in track.stems.values()}


def share(wave, other, found):
    if len(wave) <= len(other):
        return shared_part(wave, other, found.offsets)
    return shared_part(other, wave, [-offset for offset in found.offsets])


def later(wave):
    return np.concatenate([np.zeros(round(3.217 * HIGH), np.float32), wave])


def middle(wave):
    return wave[len(wave) // 4 : -len(wave) // 4]


def mp3(wave):
    file = io.BytesIO()
    soundfile.write(file, wave, HIGH, format="MP3", subtype="MPEG_LAYER_III")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def aac(wave):
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as output:
        stream = output.add_stream("aac", rate=HIGH, layout="mono")
        stream.bit_rate = 48_000
        frame = av.AudioFrame.from_ndarray(wave[None].copy(), "fltp", "mono")
        frame.sample_rate = HIGH
        pieces = av.AudioFifo()
        pieces.write(frame)
        while piece := pieces.read(1024, partial=True):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as source:
        return np.concatenate([f.to_ndarray()[0] for f in source.decode(audio=0)])


def noisy(wave):
    noise = np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    return wave + 0.1 * wave.std() * noise


def equalized(wave, hertz, kind):
    return sosfilt(butter(2, hertz, kind, fs=HIGH, output="sos"), wave)


COPIES = {
    "same": lambda wave: wave,
    "softer": lambda wave: wave / 2,
    "inverted": lambda wave: -wave,
    "later": later,
    "without its start": lambda wave: wave[round(3.217 * HIGH) :],
    "middle half": middle,
    "mp3": mp3,
    "aac": aac,
    "11 kHz": lambda w: soxr.resample(soxr.resample(w, HIGH, 11025), 11025, HIGH),
    "noise": noisy,
    "clipped": lambda wave: wave.clip(-abs(wave).max() / 2, abs(wave).max() / 2),
    "without bass": lambda wave: equalized(wave, 80, "high"),
    "more bass": lambda wave: wave + equalized(wave, 120, "low"),
    "softer, later, half, mp3": lambda wave: mp3(later(middle(wave) / 2)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_found_and_nothing_else(waves, index, kind):
    number = list(COPIES).index(kind) % len(waves)
    copy = COPIES[kind](soxr.resample(waves[number], RATE, HIGH))
    copy = soxr.resample(copy.astype(np.float32), HIGH, RATE)
    found = candidates(index, fingerprint(copy))
    parts = {one.song: share(copy, waves[one.song], one) for one in found}
    assert [song for song, part in parts.items() if part >= SAME] == [number]


def test_songs_of_other_sessions_have_nothing_in_common(waves, index):
    for number, wave in enumerate(waves):
        assert [one.song for one in candidates(index, fingerprint(wave))] == [number]


def test_songs_that_share_takes_are_different_songs(manifest):
    """Of all pairs, those with most takes in common, at one speed and in one bar."""
    session = [track for track in manifest.tracks if track.group == "session2"]
    pairs = sorted(
        (
            (len(takes(a) & takes(b)) / len(takes(a) | takes(b)), a.name, b.name)
            for a, b in itertools.combinations(session, 2)
        ),
        reverse=True,
    )[:5]
    assert 0.6 < pairs[0][0] < 1
    tracks = {track.name: track for track in manifest.tracks}
    shares = []
    for _, *names in pairs:
        one, other = (mono_wave(manifest, tracks[name]) for name in names)
        found = candidates(build_index([fingerprint(other)]), fingerprint(one))
        assert found  # the index alone cannot tell
        shares.append(share(one, other, found[0]))
    assert max(shares) < SAME
    assert np.median(shares) < PARTLY


def test_tunes_over_one_beat_are_different_songs():
    """However loud the kick: most of what is heard differs."""
    time = np.arange(RATE // 2) / RATE
    kick = 9 * np.sin(2 * np.pi * 55 * time) * np.exp(-6 * time)

    def tune(seed):
        notes = 220 * 2 ** (np.random.default_rng(seed).integers(0, 24, 48) / 12)
        partials = np.arange(1, 6)[:, None]
        bars = [(np.sin(6.3 * n * partials * time) / partials).sum(0) for n in notes]
        return np.concatenate([bar * np.exp(-4 * time) + kick for bar in bars])

    one, other = tune(0), tune(1)
    assert np.corrcoef(one, other)[0, 1] > 0.95
    assert shared_part(one, other, [0]) == 0.0
    # And a high-pass, which shifts that kick by many samples, hides no copy.
    copy = sosfilt(butter(2, 80, "high", fs=RATE, output="sos"), one)
    assert shared_part(copy, one, [0]) == 1.0


def test_what_is_left_after_many_cuts_is_found(noise):
    """Two seconds of every twelve are gone: ten pieces at as many offsets."""
    whole = noise(0, 120 * RATE)[:, 0].astype(np.float32)
    version = whole.reshape(10, -1)[:, : 10 * RATE].ravel()
    (found,) = candidates(build_index([fingerprint(whole)]), fingerprint(version))
    assert len(found.offsets) >= 10
    assert shared_part(version, whole, found.offsets) > 0.6  # without blocks at cuts


def test_the_part_that_is_shared_is_measured(waves):
    """A medley of three songs: a third of it is in each."""
    third = 320 * HOP  # 10 s
    medley = np.concatenate([wave[:third] for wave in waves[:3]])
    index = build_index([fingerprint(medley)])
    for number, wave in enumerate(waves[:3]):
        (found,) = candidates(index, fingerprint(wave))
        assert 320 * number in found.offsets
        assert shared_part(medley, wave, [-o for o in found.offsets]) < SAME
        assert shared_part(wave[:third], medley, found.offsets) == 1.0


def test_what_lies_before_the_others_start_is_not_in_it(noise):
    """Bars that the other holds elsewhere, but at this offset not at all."""
    pieces = (noise(seed, 125 * HOP)[:, 0] for seed in range(3))  # 4 s each
    bar, start, rest = (piece.astype(np.float32) for piece in pieces)
    wave = np.concatenate([bar, bar, bar, start])
    other = np.concatenate([start, rest, bar, rest])
    assert shared_part(wave, other, [-375]) == 0.25  # only what begins it
    assert shared_part(wave, other, [-1000]) == 0.0


def test_offset_is_where_the_copy_begins(waves):
    song, index = waves[1], build_index([fingerprint(waves[1])])
    (found,) = candidates(index, fingerprint(song[100 * HOP :][: 12 * RATE]))
    assert 100 in found.offsets


@pytest.mark.parametrize("frames", [0, 1, 1000, 1024, 5000])
def test_short_and_silent_waves(waves, index, frames):
    for wave in (waves[0][:frames], np.zeros(frames, np.float32)):
        found = candidates(index, fingerprint(wave))
        # A piece of 0.6 s is found already.
        assert [one.song for one in found] == [0] * bool(wave.any() and frames == 5000)
        assert shared_part(wave, waves[0], [0]) == float(wave.any())
    assert not candidates(build_index([]), fingerprint(waves[0]))
    assert shared_part(np.zeros(9000, np.float32), waves[0], [0]) == 0.0


def test_the_spectrogram_may_be_made_in_any_pieces(waves, monkeypatch):
    whole = fingerprint(waves[0])
    monkeypatch.setattr(module, "FRAMES", 37)
    pieces = fingerprint(waves[0])
    for a, b in zip(whole, pieces):
        np.testing.assert_array_equal(a, b)


def test_hashes_say_what_a_pair_is():
    """Two short tones: one pair of peaks, at the bins and frames of the tones."""
    wave = np.zeros(8 * RATE, np.float32)
    for start, bin_ in ((100, 64), (130, 100)):
        at = np.arange(module.WINDOW) + start * HOP
        wave[at] += np.hanning(module.WINDOW) * np.sin(2 * np.pi * bin_ * at / 1024)
    found = fingerprint(wave)
    spread = 100 - 64 + module.SPREAD
    assert Fingerprint(*map(list, found)) == ([(64 << 13) | (spread << 6) | 30], [100])
