"""Files whose header does not say how long they are, or says it wrongly."""

import os
import socket
import struct
import threading
import warnings

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from data_pipelines.audio.files import bit_depth, probe, read_blocks, spooled
from data_pipelines.manifest import DataError

PCM16 = struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16)
PCM24 = struct.pack("<HHIIHH", 1, 2, 8000, 48000, 6, 24)
FLOAT = struct.pack("<HHIIHH", 3, 2, 8000, 64000, 8, 32)


def header(size, fields=PCM16, before=b""):
    fields = struct.pack("<I", len(fields)) + fields
    data = b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + fields + before + data


def read(path, **options):
    return np.concatenate(list(read_blocks(probe(str(path)), **options)))


def by_pyav(path):
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    wave = np.concatenate(frames, axis=1).T
    return wave / np.float32(32768) if wave.dtype == np.int16 else wave


def sweep(frames, level=0.3):
    """Stereo whose every part differs; a quiet second first, so that bit rates do."""
    time = np.arange(frames) / 44100
    wave = np.stack([np.sin(2e3 * time * (1 + time)), np.sin(3e3 * time)], 1)
    return wave * np.where(time < 1, 1e-4, level)[:, None]


@pytest.fixture(scope="module")
def mp3s(tmp_path_factory):
    """MP3 with and without the frame that counts, joined, with tags, by name."""
    folder, made = tmp_path_factory.mktemp("mp3"), {}
    for name, mode, rate in [
        ("vbr", "VARIABLE", 44100),
        ("cbr", "CONSTANT", 44100),
        ("mpeg2", "VARIABLE", 22050),
    ]:
        path = folder / f"{name}.mp3"
        soundfile.write(path, sweep(130000), rate, bitrate_mode=mode)
        made[name] = path.read_bytes()
        second = made[name].index(made[name][:2], 64)
        made[f"{name} uncounted"] = made[name][second:]
    tag = b"ID3\x03\0\0\0\0\x10\0" + bytes(2048)
    end = b"TAG" + bytes(125)
    made["tags uncounted"] = tag + made["vbr uncounted"] + end
    made["tags"] = tag + made["vbr"] + end
    made["joined"] = made["vbr"] + made["cbr"]
    made["joined with tags"] = made["tags"] + made["tags"]
    made["joined uncounted"] = made["vbr uncounted"] + made["cbr uncounted"]
    at, second = (
        made["vbr"].index(b"Xing") + 4,
        len(made["vbr"]) - len(made["vbr uncounted"]),
    )
    made["no counts"] = made["vbr"][:at] + bytes(second - at) + made["vbr uncounted"]
    for name, data in made.items():
        (folder / f"{name}.mp3").write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("vbr", 130000),
        ("cbr", 130000),
        ("mpeg2", 130000),
        ("tags", 130000),
        ("vbr uncounted", 131328),
        ("cbr uncounted", 131328),
        ("mpeg2 uncounted", 0),
        ("tags uncounted", 131328),
        ("joined", 0),
        ("joined uncounted", 0),
        ("joined with tags", 0),
        ("no counts", 0),
    ],
)
def test_mp3_is_read_to_its_end(mp3s, name, frames):
    path = mp3s / f"{name}.mp3"
    ours, whole = read(path), by_pyav(path)
    assert len(ours) == probe(str(path)).frames == open_part(path).frames
    assert frames in (0, len(ours))
    # PyAV decodes a counting frame without counts, and loses one frame at a tag.
    whole = whole[1152 if name == "no counts" else 0 :]
    assert len(whole) - len(ours) in (0, -1152 if name == "joined with tags" else 0)
    np.testing.assert_allclose(ours[:120000], whole[:120000], atol=1e-5)
    np.testing.assert_allclose(ours[-120000:], whole[-120000:], atol=1e-5)
    np.testing.assert_array_equal(np.concatenate(list(open_part(path).blocks())), ours)
    part = read(path, start=90001, stop=100001, frames=999)
    np.testing.assert_allclose(part, ours[90001:100001], atol=1e-6)


def test_recordings_of_different_rates_in_one_file_are_refused(mp3s, tmp_path):
    data = [(mp3s / f"{name}.mp3").read_bytes() for name in ("vbr", "mpeg2")]
    (tmp_path / "a.mp3").write_bytes(b"".join(data))
    with pytest.raises(DataError, match=r"a.mp3: decoding ends after 2.9. s"):
        probe(str(tmp_path / "a.mp3"))


# Only MP3 has a frame that counts the others.
@pytest.mark.parametrize(
    ("codec", "counted"),
    [("aac", False), ("mp2", False), ("mp3", False), ("mp3", True)],
)
def test_streams_of_frames_from_ffmpeg(tmp_path, codec, counted):
    pytest.importorskip("av")
    from tests.support.stem_file import write_streams

    wave = (sweep(100000) * 32767).astype(np.int16)
    uncounted = codec == "mp3" and not counted
    options = {"container_options": {"write_xing": "0"}} if uncounted else {}
    path = write_streams(tmp_path / f"a.{codec}", [wave], 44100, codec, **options)
    ours, whole = np.concatenate(list(open_part(path).blocks())), by_pyav(path)
    assert 100000 <= len(ours) <= 100000 + 4 * 1152
    assert len(ours) == len(whole)
    # FFmpeg decodes layer 2 to 16 bits; what libsndfile does not read, we do.
    bound = {"mp3": 1e-5, "mp2": 2**-14}.get(codec, 2**-15)
    np.testing.assert_allclose(ours, np.clip(whole, -1, 1), atol=bound)
    if codec == "mp2":
        np.testing.assert_allclose(read(path), whole, atol=2**-14)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_is_read_to_its_end(tmp_path, subtype):
    parts = []
    for name, count in ("a", 50000), ("b", 20011):
        path = tmp_path / f"{name}.ogg"
        soundfile.write(path, sweep(count), 48000, format="OGG", subtype=subtype)
        parts.append(path.read_bytes())
    (tmp_path / "c.ogg").write_bytes(b"".join(parts))
    joined = read(tmp_path / "c.ogg")
    single = [read(tmp_path / name) for name in ("a.ogg", "b.ogg")]
    np.testing.assert_array_equal(joined, np.concatenate(single))
    part = read(tmp_path / "c.ogg", start=49000, stop=51000, frames=777)
    np.testing.assert_array_equal(part, joined[49000:51000])
    assert (
        0 <= len(by_pyav(tmp_path / "c.ogg")) - len(joined) <= 2048
    )  # nor what ends in them
    soundfile.write(
        tmp_path / "b.ogg", np.zeros(99), 24000, format="OGG", subtype=subtype
    )
    parts[1] = (tmp_path / "b.ogg").read_bytes()
    (tmp_path / "c.ogg").write_bytes(b"".join(parts))
    with pytest.raises(DataError, match=r"c.ogg: recordings of 2 channels, 48000 Hz"):
        probe(str(tmp_path / "c.ogg"))


def test_flac_of_unknown_length(tmp_path, noise):
    wave = noise(0, 300001, 2) / 4
    soundfile.write(tmp_path / "a.flac", wave.astype(np.int16), 8000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(data)
    assert probe(str(tmp_path / "a.flac")).frames == 300001
    np.testing.assert_array_equal(
        read(tmp_path / "a.flac") * 32768, wave.astype(np.int16)
    )
    np.testing.assert_array_equal(
        read(tmp_path / "a.flac", start=299000, stop=300001) * 32768,
        wave.astype(np.int16)[299000:],
    )


def test_flac_that_promises_what_it_cannot_hold(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", noise(0, 3000, 2), 8000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[22:26] = b"\xff" * 4
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(DataError, match=r"promises 4294967295 frames, 3000 can be"):
        probe(str(tmp_path / "a.flac"))


def test_silence_is_believed(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(2_000_000, np.int16), 8000)
    assert read(tmp_path / "a.flac").shape == (2_000_000, 1)


def test_a_truncated_flac_says_where(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", noise(0, 80000, 2), 8000)
    data = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"truncated .* after [45]\.\d\d of 10.00 s"):
        read(tmp_path / "a.flac")


SIZES = [
    0,  # GStreamer, FFmpeg once
    0x7FFFF000,  # SoX
    0x7FFFF000 - 36,
    0x7FFFEFFA,  # whole frames
    0x7FFFFF00,
    0x7FFFFFFF,
    0x7FFFFFFF - 36,
    0x80000000,  # arecord
    0xFFFFFFFF - 36,
    0xFFFFFFFF - 78,
    0xFFFFFFFF,  # FFmpeg
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fields", [PCM16, PCM24, FLOAT], ids=["16", "24", "float"])
def test_sizes_of_programs_that_write_into_a_pipe(tmp_path, noise, size, fields):
    wave = noise(0, 1000, 2)
    wide = {PCM16: "<i2", PCM24: "<i4", FLOAT: "<f4"}[fields]
    content = (wave / 32768 if fields == FLOAT else wave.astype(wide)).astype(wide)
    content = (content << 8 if fields == PCM24 else content).tobytes()
    if fields == PCM24:
        content = np.frombuffer(content, "u1").reshape(-1, 4)[:, :3].tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(header(size, fields, b"LIST\4\0\0\0INFO") + content + b"\0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = probe(str(path))
    assert (file.frames, file.data_offset >= 0) == (1000, fields == PCM16)
    np.testing.assert_array_equal(read(path) * 32768, wave)
    if fields == PCM16:
        mapped = np.memmap(path, "<i2", "r", file.data_offset, (file.frames, 2))
        np.testing.assert_array_equal(mapped, wave)


@pytest.mark.parametrize("fields", [PCM16, FLOAT], ids=["16", "float"])
@pytest.mark.parametrize("promised", [8, 1000, 3999, 7000])
def test_more_samples_than_promised_are_read_and_told(
    tmp_path, noise, fields, promised
):
    wave = noise(0, 2000, 2) / np.float32(32768)
    content = wave if fields == FLOAT else (wave * 32768).astype("<i2")
    (tmp_path / "a.wav").write_bytes(header(promised, fields) + content.tobytes())
    size = content.nbytes
    match = rf"a.wav: its header promises {promised} bytes of samples, {size} are there"
    with pytest.warns(UserWarning, match=match):
        np.testing.assert_array_equal(read(tmp_path / "a.wav"), wave)


@pytest.mark.parametrize("fields", [PCM16, FLOAT], ids=["16", "float"])
def test_a_size_beyond_4_gib_that_has_lost_its_upper_bits(tmp_path, noise, fields):
    start = noise(0, 4000, 2).tobytes()
    width, path = (4 if fields == PCM16 else 8), tmp_path / "a.wav"
    with open(path, "wb") as file:  # takes no disk
        file.write(header(len(start), fields) + start)
        file.truncate(44 + len(start) + 2**32)
        file.seek(0, os.SEEK_END)
        file.write(b"LIST\4\0\0\0INFO")
    with pytest.warns(UserWarning, match=r"a.wav: its header promises 16000 bytes"):
        file = probe(str(path))
    assert file.frames == (2**32 + 16000) // width
    blocks = list(read_blocks(file, start=file.frames - 9, stop=file.frames))
    assert np.concatenate(blocks).shape == (9, 2)


def test_space_that_was_never_written_is_told_and_not_read(tmp_path, noise):
    start, path = noise(0, 4000, 2).tobytes(), tmp_path / "a.wav"
    with open(path, "wb") as file:
        file.write(header(len(start)) + start)
        file.truncate(44 + len(start) + 2**32)
    with pytest.warns(UserWarning, match=r"a.wav: behind its samples 4294967296 bytes"):
        assert probe(str(path)).frames == 4000


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_pipe_of_more_than_4_gib(tmp_path, size):
    with open(tmp_path / "a.wav", "wb") as file:  # takes no disk
        file.write(header(size))
        file.truncate(44 + 5 * 2**30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert probe(str(tmp_path / "a.wav")).frames == 5 * 2**28


@pytest.mark.parametrize(
    "behind",
    [
        b"LIST\4\0\0\0INFO",
        b"bext\2\0\0\0abLIST\3\0\0\0INF\0",
        b"LIST\xff\0\0\0cut off",
        b"TAG" + bytes(range(125)),
        b"ID3\3\0\0\0\0\1\0" + bytes(range(128)),
        bytes(512),
        b"\0" * 3,
    ],
)
def test_what_is_no_sound_behind_the_samples_is_left_out(tmp_path, noise, behind):
    wave = noise(0, 500, 2)
    for fields in PCM16, FLOAT:
        content = wave if fields == PCM16 else (wave / 32768).astype("<f4")
        content = content.tobytes()
        (tmp_path / "a.wav").write_bytes(
            header(len(content), fields) + content + behind
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(read(tmp_path / "a.wav") * 32768, wave)


def test_a_wav_behind_a_wav_is_told(tmp_path, noise):
    one = header(2000) + noise(0, 500, 2).tobytes()
    (tmp_path / "a.wav").write_bytes(one + one)
    with pytest.warns(UserWarning, match=r"another recording begins at byte 2044"):
        assert probe(str(tmp_path / "a.wav")).frames == 500


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("size", [None, 0, 2**64 - 1])
def test_sizes_of_64_bits(tmp_path, subtype, magic, size):
    path = tmp_path / "a.wav"
    wave = sweep(50000)
    soundfile.write(path, wave, 44100, format="RF64", subtype=subtype)
    data = path.read_bytes()
    at = data.index(b"ds64") + 8
    sizes = data[at : at + 24] if size is None else struct.pack("<QQQ", *[size] * 3)
    path.write_bytes(magic + data[4:at] + sizes + data[at + 24 :])
    np.testing.assert_allclose(read(path), wave, atol=1e-4)
    if size is None:
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(DataError, match="truncated"):
            probe(str(path))


@pytest.mark.parametrize("kind", ["AIFF", "AU", "W64"])
def test_other_truncated_files_are_refused(tmp_path, kind):
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, sweep(5000), 44100, format=kind, subtype="PCM_16")
    assert probe(str(path)).frames == 5000
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"truncated: its header promises .* copy it"):
        probe(str(path))


@pytest.mark.parametrize("kind", ["AIFF", "W64"])
def test_more_than_other_files_promise_is_told(tmp_path, kind):
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, sweep(5000), 44100, format=kind, subtype="PCM_16")
    path.write_bytes(path.read_bytes() + bytes(range(256)) * 300)
    with pytest.warns(UserWarning, match=r"its header promises .* maybe unread"):
        assert probe(str(path)).frames >= 5000


@pytest.mark.parametrize("size", [0x7F000008, 0xFFFFFFFF])
def test_an_aiff_from_a_pipe(tmp_path, noise, size):
    path = tmp_path / "a.aiff"
    soundfile.write(path, noise(0, 500, 2), 8000, subtype="PCM_16")
    data, wide = path.read_bytes(), struct.pack(">I", size)
    at, count = data.index(b"SSND") + 4, data.index(b"COMM") + 10
    data = data[:at] + wide + data[at + 4 :]
    data = data[:count] + struct.pack(">I", size // 4) + data[count + 4 :]
    path.write_bytes(data[:4] + wide + data[8:])
    np.testing.assert_array_equal(read(path) * 32768, noise(0, 500, 2))


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize(
    ("channels", "rate", "words"),
    [
        (1024, 44100, "1024 channels; files of 1 to 128"),
        (129, 44100, "129 channels"),
        (0, 44100, "Channel count is zero"),
        (2, 4, "4 Hz; rates of 1000 to 768000 Hz"),
        (2, 1_000_000, "1000000 Hz"),
        (2, 2**32 - 1, "4294967295 Hz|not readable"),
        (128, 768_000, ""),
        (1, 1000, ""),
    ],
)
def test_numbers_that_no_real_file_has(tmp_path, bits, channels, rate, words):
    width = channels * bits // 8
    tag = 1 if bits == 16 else 3
    fields = struct.pack("<HHIIHH", tag, channels, rate, 0, width, bits)
    (tmp_path / "a.wav").write_bytes(header(40 * width, fields) + bytes(40 * width))
    if words:
        with pytest.raises(DataError, match=rf"a.wav: .*({words})"):
            probe(str(tmp_path / "a.wav"))
    else:
        assert probe(str(tmp_path / "a.wav")).frames == 40


def test_a_flac_of_4_hz(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(10), 4)
    with pytest.raises(DataError, match=r"a.flac: its header says 4 Hz"):
        probe(str(tmp_path / "a.flac"))


@pytest.mark.parametrize("open_file", [probe, open_part])
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path, open_file):
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe.m4a")
    (tmp_path / "folder.wav").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
        for name, words in {
            "pipe.wav": "a pipe, which can be read only once",
            "pipe.m4a": "a pipe",
            "folder.wav": "a folder",
            "socket.wav": "a socket",
            "/dev/zero": "a device",
        }.items():
            if name.endswith("m4a") and open_file is probe:
                continue
            with pytest.raises(DataError, match=rf"not a file: {words}"):
                open_file(str(tmp_path / name))


def test_pipes_are_kept_in_a_file_for_as_long(tmp_path, noise, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(0, 500, 2), 8000)
    with spooled(tmp_path / "a.wav") as path:
        assert path == tmp_path / "a.wav"
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "a.wav").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    with spooled(str(tmp_path / "pipe")) as path:
        np.testing.assert_array_equal(read(path) * 32768, noise(0, 500, 2))
    writer.join()
    assert not path.exists()
    with open(tmp_path / "a.wav") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        with spooled("-") as path:
            assert path.read_bytes() == content
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="standard input"), spooled("-"):
        pass


@pytest.mark.parametrize(
    ("name", "subtype", "bits"),
    [
        ("a.caf", "ALAC_24", 24),
        ("a.caf", "ALAC_20", 24),
        ("a.caf", "ALAC_16", 16),
        ("a.wav", "PCM_24", 24),
        ("a.flac", "PCM_S8", 16),
        ("a.wav", "DOUBLE", 32),
        ("a.wav", "IMA_ADPCM", 16),
        ("a.ogg", "VORBIS", 16),
    ],
)
def test_the_depth_that_keeps_a_file(tmp_path, name, subtype, bits):
    soundfile.write(tmp_path / name, sweep(4000), 44100, subtype)
    assert bit_depth(probe(str(tmp_path / name))) == bits


def test_what_a_flac_holds_behind_its_samples_is_told(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 40000)
    soundfile.write(tmp_path / "a.flac", noise, 44100)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (tmp_path / "a.flac").write_bytes(data + b"TAG" + bytes(125))
        read(tmp_path / "a.flac")
    (tmp_path / "joined.flac").write_bytes(data + data)
    with pytest.warns(UserWarning, match=r"joined.flac: \d+ bytes behind its samples"):
        assert len(read(tmp_path / "joined.flac")) == 40000
    assert int.from_bytes(data[22:26]) == 40000  # of the samples
    data[22:26] = (10000).to_bytes(4)
    (tmp_path / "short.flac").write_bytes(data)
    with pytest.warns(UserWarning, match=r"short.flac: \d+ bytes behind its samples"):
        assert len(read(tmp_path / "short.flac")) == 10000


@pytest.mark.parametrize("kind", ["AU", "AIFF", "CAF"])
def test_samples_beyond_what_other_headers_promise_are_told(tmp_path, kind):
    soundfile.write(tmp_path / "a", sweep(4000), 44100, "PCM_16", format=kind)
    with open(tmp_path / "a", "ab") as file:
        file.write(bytes(range(256)) * 400)
    with pytest.warns(UserWarning, match=r"a: its header promises .* bytes"):
        probe(str(tmp_path / "a"))
