import struct

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.files import probe, read_blocks
from data_pipelines.audio.int16 import to_int16
from data_pipelines.manifest import DataError


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def riff(samples: np.ndarray, before: bytes = b"", extensible: bool = False) -> bytes:
    channels = samples.shape[1]
    tag = 0xFFFE if extensible else 1
    fields = struct.pack(
        "<HHIIHH", tag, channels, 8000, 16000 * channels, 2 * channels, 16
    )
    if extensible:
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        fields += struct.pack("<HHI", 22, 16, 0) + guid
    body = b"WAVE" + chunk(b"fmt ", fields) + before
    body += chunk(b"data", samples.astype("<i2").tobytes())
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    "before", [b"", chunk(b"LIST", b"INFOodd"), chunk(b"junk", b"x") * 3]
)
def test_finds_the_samples_behind_any_header(
    tmp_path, noise, before, channels, extensible
):
    samples = noise(0, 100, channels)
    path = tmp_path / "a.wav"
    path.write_bytes(riff(samples, before, extensible) + chunk(b"LIST", b"after"))
    file = probe(str(path))
    read = np.memmap(path, "<i2", "r", file.data_offset, (file.frames, file.channels))
    np.testing.assert_array_equal(read, samples)
    np.testing.assert_array_equal(
        soundfile.read(path, dtype="int16", always_2d=True)[0], samples
    )


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
def test_other_sample_formats_must_be_decoded(tmp_path, subtype, format):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(10), 8000, subtype=subtype, format=format)
    assert probe(str(path)).data_offset == -1


def test_an_unknown_data_size_means_up_to_the_end(tmp_path, noise):
    samples = noise(0, 100)
    content = riff(samples).replace(struct.pack("<I", 200), b"\xff" * 4)
    (tmp_path / "a.wav").write_bytes(content)
    file = probe(str(tmp_path / "a.wav"))
    assert (file.data_offset, file.frames) == (44, 100)
    np.testing.assert_array_equal(
        np.concatenate(list(read_blocks(file))) * 32768, samples
    )


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_truncated_files_are_named(tmp_path, noise, name):
    path = tmp_path / name
    soundfile.write(path, noise(0, 20000), 8000)
    path.write_bytes(path.read_bytes()[:-9001])
    with pytest.raises(DataError, match=name) as error:
        list(read_blocks(probe(str(path))))
    assert "copy it again" in str(error.value)


def test_empty_missing_and_foreign_files_are_named(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio at all")
    soundfile.write(tmp_path / "header.wav", np.zeros(0), 8000)
    for name, message in {
        "empty.wav": "empty file",
        "text.wav": "not readable as audio",
        "header.wav": "holds no samples",
        "missing.wav": "No such file",
    }.items():
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            probe(str(tmp_path / name))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_located(tmp_path, value):
    samples = np.zeros((1000, 2), np.float32)
    samples[400, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(DataError, match=r"a.wav: NaN or infinite sample at 0.050 s"):
        list(read_blocks(probe(str(tmp_path / "a.wav")), frames=256))


def test_int16_survives_the_way_through_float():
    samples = np.arange(-32768, 32768, dtype=np.int16)
    again, clipped = to_int16(samples.astype(np.float32) / 32768)
    np.testing.assert_array_equal(again, samples)
    assert clipped == 0
