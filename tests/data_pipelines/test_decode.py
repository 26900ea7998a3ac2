import struct
import sys

import av
import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
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
    return np.concatenate(list(open_part(path, stream).blocks(**options)))


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
    assert (found.channels, found.sample_rate, found.exact) == (2, 44100, False)
    assert abs(found.frames - FRAMES) < 1024


def test_samples_are_those_of_ffmpegs_decoder_rounded(stems):
    import av

    with av.open(str(stems)) as container:
        frames = list(container.decode(container.streams.audio[2]))
    decoded = np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T
    np.testing.assert_array_equal(read(stems, 2), to_int16(decoded)[0][:FRAMES] / 32768)


def test_blocks_have_the_size_asked_for(stems):
    blocks = list(open_part(stems, 1).blocks(5000))
    assert [len(block) for block in blocks] == [5000, 5000, FRAMES - 10000]
    np.testing.assert_array_equal(np.concatenate(blocks), read(stems, 1))


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "alac"), ("a.mka", "flac")])
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_streams_are_exact(tmp_path, noise, name, codec, channels):
    wave = noise(0, 10007, channels)
    path = write_streams(tmp_path / name, [wave], 8000, codec)
    np.testing.assert_array_equal(read(path), wave / 32768)
    found = open_part(path)
    assert (found.channels, found.sample_rate, found.exact) == (channels, 8000, False)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_plain_files(tmp_path, name):
    wave = tone(440, 9001)
    soundfile.write(tmp_path / name, wave / 32768, 44100)
    read_ = read(tmp_path / name, frames=4000)
    path = tmp_path / name
    found = open_part(path)
    form = found.frames, found.channels, found.sample_rate, found.exact
    assert form == (9001, 2, 44100, True)
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
    with pytest.raises(DataError, match=r"need PyAV: pip install av"):
        open_part(stems)
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    assert open_part(tmp_path / "a.wav").frames == 10


def lag(wave, original):
    """Samples by which a decoded mono signal is late, by its cross-correlation."""
    size = 1 << (len(wave) + len(original)).bit_length()
    pair = np.fft.rfft(wave, size) * np.fft.rfft(original, size).conj()
    late = int(np.argmax(np.fft.irfft(pair, size)))
    return late - size if late > size // 2 else late


@pytest.mark.parametrize("frames", [700, 1024 * 12, 20011])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"),
        ("a.mp4", "aac"),
        ("a.mov", "alac"),
        ("a.mka", "flac"),
        ("a.mp3", "mp3"),
        ("a.webm", "libopus"),
        ("a.opus", "libopus"),
        ("a.mka", "libopus"),
    ],
)
def test_what_encoders_add_is_cut_off(tmp_path, noise, name, codec, frames):
    wave, rate = noise(0, frames), 48000 if codec == "libopus" else 44100
    path = write_streams(tmp_path / name, [wave], rate, codec)
    decoded = read(path)
    assert len(decoded) == frames
    assert lag(decoded[:, 0], wave[:, 0]) == 0


def with_itunes_length(content, frames, delay, padding):
    """An MP4 whose index ends the file, with iTunes' note on its length."""

    def box(name, *parts):
        body = b"".join(parts)
        return struct.pack(">I", len(body) + 8) + name + body

    note = f" 00000000 {delay:08X} {padding:08X} {frames:016X}" + 8 * " 00000000"
    added = box(
        b"----",
        box(b"mean", bytes(4), b"com.apple.iTunes"),
        box(b"name", bytes(4), b"iTunSMPB"),
        box(b"data", struct.pack(">II", 1, 0), note.encode()),
    )
    out = bytearray(content)
    for name in (b"moov", b"udta", b"meta", b"ilst"):
        at = content.rindex(name) - 4
        (size,) = struct.unpack_from(">I", content, at)
        out[at : at + 4] = struct.pack(">I", size + len(added))
    out[at + size : at + size] = added
    return bytes(out)


@pytest.mark.parametrize("noted", [True, False])
def test_the_length_that_itunes_notes(tmp_path, noise, noted):
    frames, packet = 20011, 1024
    options = {"container_options": {"use_editlist": "0"}, "format": "ipod"}
    wave = noise(0, frames)
    path = write_streams(tmp_path / "a.m4a", [wave], **options)
    content = path.read_bytes()
    # As iTunes does, all packets count in full: the table of times has one entry.
    at = content.index(b"stts") + 8
    entries = [struct.unpack_from(">II", content, at + 4 + 8 * n) for n in range(2)]
    assert [length for _, length in entries] == [packet, (frames + packet) % packet]
    whole = struct.pack(">IIII", entries[0][0], packet, entries[1][0], packet)
    content = content[: at + 4] + whole + content[at + 20 :]
    total = -(-(frames + packet) // packet) * packet
    if noted:
        content = with_itunes_length(content, frames, packet, total - packet - frames)
    path.write_bytes(content)
    decoded = read(path)
    assert len(decoded) == (frames if noted else total)
    assert lag(decoded[:, 0], wave[:, 0]) == (0 if noted else packet)


def test_the_content_decides_and_not_the_extension(tmp_path, noise):
    wave = noise(0, 3000)
    soundfile.write(tmp_path / "wav.m4a", wave, 8000, format="WAV")
    write_streams(tmp_path / "alac.m4a", [wave], 8000, "alac")
    (tmp_path / "alac.m4a").rename(tmp_path / "alac.wav")
    for name, exact in {"wav.m4a": True, "alac.wav": False}.items():
        np.testing.assert_array_equal(read(tmp_path / name), wave / 32768)
        assert open_part(tmp_path / name).exact == exact


@pytest.mark.parametrize(
    ("name", "codec", "depth"),
    [
        ("a.m4a", "aac", 16),
        ("a.m4a", "alac", 16),
        ("a.mka", "flac", 16),
        ("a.mov", "pcm_f32le", 32),
    ],
)
def test_bits_that_a_stream_is_worth(tmp_path, noise, name, codec, depth):
    wave = noise(0, 3000, 2)
    path = write_streams(tmp_path / name, [wave], 8000, codec)
    assert open_part(path).depth() == depth
    assert read(path).shape == wave.shape


def test_more_than_16_bits_come_through(tmp_path):
    wave = np.random.default_rng(0).integers(-(2**22), 2**22, (5000, 1), np.int32)
    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        stream = container.add_stream("alac", rate=8000, layout="mono")
        stream.codec_context.format = "s32p"
        frame = av.AudioFrame.from_ndarray(wave.T << 8, "s32p", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert open_part(tmp_path / "a.m4a").depth() == 24
    np.testing.assert_array_equal(read(tmp_path / "a.m4a"), wave / np.float32(2**23))


def test_the_sound_of_a_film(tmp_path):
    path, wave = tmp_path / "a.mkv", tone(300, 8000, 8000, 1)
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=10)
        film.width = film.height = 32
        sound = container.add_stream("flac", rate=8000, layout="mono")
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
        picture.pts = 0
        container.mux(film.encode(picture))
        frame = av.AudioFrame.from_ndarray(wave.T, "s16", "mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(sound.encode(frame))
        for stream in (film, sound):
            container.mux(stream.encode(None))
    np.testing.assert_array_equal(read(path), wave / 32768)
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as container:
        film = container.add_stream("mpeg4", rate=10)
        film.width = film.height = 32
        container.mux(film.encode(picture))
        container.mux(film.encode(None))
    with pytest.raises(DataError, match=r"silent.mp4: no audio stream 0: it has none"):
        open_part(silent)


def test_a_truncated_matroska(tmp_path, noise):
    path = write_streams(tmp_path / "a.mka", [noise(0, 30000)], 8000, "flac")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(
        DataError, match=r"a.mka: .*truncated: its header promises 3.75"
    ):
        read(path)


def test_tags_that_are_no_text_do_no_harm(tmp_path, noise):
    path = write_streams(tmp_path / "a.m4a", [noise(0, 3000)], 8000, "alac")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Lavf", b"\xf9\xffvf"))
    assert path.read_bytes() != content
    assert len(read(path)) == 3000


def test_both_libraries_say_why(tmp_path):
    path = tmp_path / "text.m4a"
    path.write_text("no audio at all" * 99)
    with pytest.raises(DataError, match=r"libsndfile: .+; FFmpeg: .+\); export it"):
        open_part(path)


@pytest.mark.parametrize("name", ["a.flac", "a.mp3"])
def test_nothing_is_left_out_around_damage(tmp_path, noise, name):
    path = tmp_path / name
    soundfile.write(path, noise(0, 30000), 8000)
    path.write_bytes(path.read_bytes()[1500:])  # FFmpeg finds the next frame
    with pytest.raises(DataError, match="not readable as audio"):
        open_part(path)
