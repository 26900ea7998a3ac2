import dataclasses
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.canonical import canonicalize
from data_pipelines.audio.files import probe
from data_pipelines.feeding.host import load_track, map_file
from data_pipelines.manifest import DataError, Manifest, Stem, Track


@pytest.fixture
def single(tmp_path):
    """A manifest of one file and one track that is all of it."""

    def make(samples, rate=8000, name="a.wav", loop=False, **format) -> Manifest:
        soundfile.write(tmp_path / name, samples, rate, **format)
        file = dataclasses.replace(probe(str(tmp_path / name)), path=name)
        track = Track("t", "train", "", file.frames, {"x": Stem(0, loop=loop)})
        return Manifest(
            "d", str(tmp_path), rate, file.channels, ("x",), (file,), (track,)
        )

    return make


def test_canonical_files_stay_in_place(single, noise, cache):
    manifest = single(noise(0, 100, 2), format="WAVEX")
    assert canonicalize(manifest, 8000) == manifest
    assert not cache.exists()


@pytest.mark.parametrize(
    "format",
    [
        {"name": "a.flac"},
        {"name": "a.flac", "subtype": "PCM_24"},
        {"subtype": "PCM_24"},
        {"subtype": "PCM_24", "format": "WAVEX"},
        {"subtype": "FLOAT"},
    ],
)
def test_other_formats_keep_their_16_bits(single, noise, cache, format):
    samples = noise(0, 1000, 2)
    manifest = canonicalize(single(samples / 32768, **format), 8000)
    assert manifest.files[0].path.startswith(str(cache))
    np.testing.assert_array_equal(map_file(manifest, 0), samples)


def test_resampling_keeps_a_tone_and_the_length(single):
    rate, frames = 44100, 44103
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(frames) / rate)
    manifest = canonicalize(single(tone, rate), 8000)
    (track,) = manifest.tracks
    assert manifest.files[0].frames == track.frames == round(frames * 8000 / rate)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(track.frames) / 8000)
    error = (load_track(manifest, track).references[0, :, 0] - expected)[500:-500]
    # Rounding to 16 bits twice leaves 2**-16 each; the filter adds less.
    assert np.abs(error).max() < 2**-14


def test_loops_are_resampled_as_loops(single, noise):
    # A loop that starts elsewhere must become the same loop that starts elsewhere.
    samples, shift = noise(0, 16000), 4000
    plain = canonicalize(single(samples, 16000, "a.wav", loop=True), 8000)
    moved = canonicalize(
        single(np.roll(samples, shift, axis=0), 16000, "b.wav", loop=True), 8000
    )
    difference = np.roll(map_file(plain, 0), shift // 2) - map_file(moved, 0)
    assert np.abs(difference).max() <= 1  # rounding
    assert np.abs(map_file(plain, 0)).max() > 1000


def test_starts_move_with_the_rate(single, noise):
    manifest = single(noise(0, 16000), 16000)
    track = dataclasses.replace(
        manifest.tracks[0],
        frames=8001,
        stems={"x": Stem(0, 4001)},
        mixture=Stem(0, 4003),
    )
    manifest = canonicalize(dataclasses.replace(manifest, tracks=(track,)), 8000)
    (track,) = manifest.tracks
    assert (track.frames, track.stems["x"].start, track.mixture.start) == (
        4001,
        2001,
        2002,
    )


def test_clipping_is_counted(single):
    samples = np.zeros(100)
    samples[[3, 7]] = 1.5, -2
    with pytest.warns(UserWarning, match=r"clipped at full scale:\n.*a.wav: 2 samples"):
        manifest = canonicalize(single(samples, subtype="FLOAT"), 8000)
    assert map_file(manifest, 0)[[3, 7], 0].tolist() == [32767, -32768]


def test_equal_content_is_converted_once_by_many_at_once(single, noise, cache):
    manifest = single(noise(0, 50000), 16000)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: canonicalize(manifest, 8000), range(8)))
    assert all(result == results[0] for result in results)
    assert len(list((cache / "audio").iterdir())) == 1


def test_a_bad_file_is_an_error_and_leaves_nothing(single, cache):
    samples = np.zeros(100)
    samples[50] = np.nan
    with pytest.raises(DataError, match=r"a.wav: NaN"):
        canonicalize(single(samples, subtype="FLOAT"), 8000)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_named(single, noise, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write the cache .*file.*SEPJAX_CACHE"):
        canonicalize(single(noise(0, 100), 16000), 8000, tmp_path / "file")


def test_a_full_disk_is_an_error_and_leaves_nothing(single, noise, cache):
    manifest = single(noise(0, 100000), 16000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write the cache.*free some space"):
            canonicalize(manifest, 8000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((cache / "audio").iterdir())
    assert canonicalize(manifest, 8000).files[0].frames == 50000
