import sys

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import Decoded, open_part, read_part
from data_pipelines.audio.int16 import to_int16
from data_pipelines.manifest import DataError
from tests.support.stem_file import tone, write_streams

FRAMES = 11025 + 7  # a quarter of a second, and no whole number of packets


@pytest.fixture(scope="module")
def stems(tmp_path_factory):
    """Five streams of AAC: tones of 220, 440, ... Hz."""
    path = tmp_path_factory.mktemp("stems") / "a.stem.mp4"
    return write_streams(path, [tone(220 * k, FRAMES) for k in range(1, 6)])


def read(path, stream=0, **options):
    return np.concatenate(list(read_part(path, stream, **options)))


def test_streams_of_a_stem_file(stems):
    for stream in range(5):
        wave = read(stems, stream)
        assert wave.shape == (FRAMES, 2)
        assert wave.dtype == np.float32
        # The decoder's samples are those of 16 bits.
        np.testing.assert_array_equal(to_int16(wave)[0] / np.float32(32768), wave)
        # The tone of this stream up to what AAC loses, and at the right time.
        original = tone(220 * (stream + 1), FRAMES) / 32768
        inner = original[1024:-1024]
        errors = [
            np.square(wave[1024 + lag : FRAMES - 1024 + lag] - inner).sum()
            for lag in range(-3, 4)
        ]
        assert np.argmin(errors) == 3
        assert min(errors) < 0.01 * np.square(inner).sum()
    found = open_part(stems, 3)
    assert found[1:] == (2, 44100, False)
    assert abs(found.frames - FRAMES) < 1024


def test_samples_are_those_of_ffmpegs_decoder_rounded(stems):
    import av

    with av.open(str(stems)) as container:
        frames = list(container.decode(container.streams.audio[2]))
    decoded = np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T
    np.testing.assert_array_equal(read(stems, 2), to_int16(decoded)[0][:FRAMES] / 32768)


def test_blocks_have_the_size_asked_for(stems):
    blocks = list(read_part(stems, 1, frames=5000))
    assert [len(block) for block in blocks] == [5000, 5000, FRAMES - 10000]
    np.testing.assert_array_equal(np.concatenate(blocks), read(stems, 1))


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "alac"), ("a.mka", "flac")])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_streams_are_exact(tmp_path, noise, name, codec, channels):
    wave = noise(0, 10007, channels)
    path = write_streams(tmp_path / name, [wave], 8000, codec)
    np.testing.assert_array_equal(read(path), wave / 32768)
    assert open_part(path)[1:] == (channels, 8000, False)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_plain_files(tmp_path, name):
    wave = tone(440, 9001)
    soundfile.write(tmp_path / name, wave / 32768, 44100)
    read_ = read(tmp_path / name, frames=4000)
    assert open_part(tmp_path / name) == Decoded(9001, 2, 44100, True)
    assert read_.shape == wave.shape
    lossy = name.endswith(("ogg", "mp3"))
    bound = 0.05 * np.abs(wave).max() / 32768 if lossy else 0.0
    assert np.abs(read_ - wave / 32768)[2000:-2000].max() <= bound


def test_a_stream_that_is_not_there(tmp_path, stems):
    with pytest.raises(DataError, match=r"no audio stream 5: it has 5, 0 to 4"):
        open_part(stems, 5)
    with pytest.raises(DataError, match=r"no audio stream -1"):
        read(stems, -1)
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    with pytest.raises(DataError, match=r"a.wav: no audio stream 1: it has 1, number"):
        open_part(tmp_path / "a.wav", 1)


def test_files_that_are_no_audio(tmp_path):
    (tmp_path / "empty.m4a").touch()
    (tmp_path / "text.m4a").write_text("no audio at all")
    for name, message in {
        "empty.m4a": "empty file",
        "text.m4a": "not readable as audio",
        "missing.m4a": "No such file",
        "missing.wav": "No such file",
    }.items():
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            open_part(tmp_path / name)


def test_damaged_containers(tmp_path, stems):
    content = stems.read_bytes()
    path = tmp_path / "a.mp4"
    path.write_bytes(content[: len(content) // 2])  # the index lies at the end
    with pytest.raises(DataError, match=r"a.mp4: not readable as audio"):
        open_part(path)
    middle = content.index(b"mdat") + 4096
    path.write_bytes(content[:middle] + bytes(4096) + content[middle + 4096 :])
    with pytest.raises(DataError, match=r"a.mp4: audio stream 0: decoding fails after"):
        read(path)


def test_a_truncated_container(tmp_path):
    options = {"container_options": {"movflags": "faststart"}}
    path = write_streams(tmp_path / "a.mp4", [tone(220, 30000)], **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(DataError, match=r"a.mp4: .*copy it again"):
        read(path)


def test_without_pyav(monkeypatch, stems, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"needs PyAV: pip install 'sepjax\[media\]'"):
        open_part(stems)
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    assert open_part(tmp_path / "a.wav").frames == 10
