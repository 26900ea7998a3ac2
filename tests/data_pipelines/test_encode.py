"""Files that are written: length, place, bit rate, depth and comment come back."""

import struct

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from data_pipelines.audio.encode import FORMATS, Output, encoder, read_comment
from data_pipelines.audio.inputs import media_files

# kb/s of layer III by the four bits of a header: MPEG 1, and 2 with 2.5 (ISO 11172-3).
RATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sound(frames, channels=2):
    """Noise below a sixth of the band, which all encoders keep."""
    rng = np.random.default_rng(frames)
    wave = rng.normal(0, 1.0, (frames + 31, channels))
    kernel = np.hanning(32) / 16
    parts = [np.convolve(column, kernel, "valid") for column in wave.T]
    return np.stack(parts, -1).astype(np.float32)


def write(path, wave, rate, comment="", **options):
    output = Output(path.suffix[1:], **options).of_depth(16)
    with encoder(path, output, rate, wave.shape[1], comment) as take:
        for start in range(0, len(wave), 7000):
            take(wave[start : start + 7000])
    return np.concatenate(list(open_part(path).blocks()))


def snr(wave, other):
    return 10 * np.log10(np.sum(wave**2) / np.sum((wave - other) ** 2))


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_samples_come_back_in_their_places(tmp_path, kind, rate):
    path = tmp_path / f"a.{kind}"
    assert FORMATS["mp3"].rate(96000) == 48000
    if FORMATS[kind].rate(rate) != rate:
        assert (kind, rate) == ("opus", 44100)
        return
    for frames in (700, 20011):
        for channels in (1, 2):
            wave = sound(frames, channels)
            decoded = write(path, wave, rate, comment="of mine")
            assert decoded.shape == wave.shape
            # A sample late costs all but 3 dB of this noise; too many bits cost none.
            assert snr(wave[200:-200], decoded[200:-200]) > 15
            assert read_comment(path) == "of mine"


@pytest.mark.parametrize(
    ("rate", "asked", "made"),
    [
        (44100, 320, 320),
        (44100, 128, 128),
        (44100, 64, 64),
        (44100, 500, 320),
        (22050, 320, 160),
        (22050, 96, 96),
        (8000, 320, 64),
        (48000, 192, 192),
    ],
)
def test_mp3_has_the_bit_rate_that_was_asked_for(tmp_path, rate, asked, made):
    path = tmp_path / "a.mp3"
    write(path, sound(20000), rate, bitrate=asked)
    data, at, rates = path.read_bytes(), 0, []
    if data[:3] == b"ID3":
        at = 10 + sum(byte << 7 * (3 - n) for n, byte in enumerate(data[6:10]))
    while at < len(data) - 4:
        (head,) = struct.unpack_from(">I", data, at)
        version, padding = head >> 19 & 3, head >> 9 & 1
        assert head >> 21 == 0x7FF
        rates.append(RATES[3 if version == 3 else 2][head >> 12 & 15])
        at += (144 if version == 3 else 72) * 1000 * rates[-1] // rate + padding
    assert set(rates[1:]) == {made}  # the first frame holds the tag alone
    assert len(rates) > 10


@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_more_bits_per_second_are_more_bytes(tmp_path, kind):
    sizes = []
    for bitrate in (48, 128, 320):
        write(tmp_path / f"a.{kind}", sound(48000 * 3), 48000, bitrate=bitrate)
        sizes.append((tmp_path / f"a.{kind}").stat().st_size)
    assert sizes == sorted(set(sizes))
    assert 8 * sizes[1] / 3 < 1.3 * 128_000


@pytest.mark.parametrize(
    ("kind", "depth", "subtype"),
    [
        ("wav", 16, "PCM_16"),
        ("wav", 24, "PCM_24"),
        ("wav", 32, "FLOAT"),
        ("flac", 16, "PCM_16"),
        ("flac", 24, "PCM_24"),
    ],
)
def test_depths_keep_so_many_bits(tmp_path, kind, depth, subtype):
    path, wave = tmp_path / f"a.{kind}", 3 * sound(9000)
    assert np.abs(wave).max() > 1
    decoded = write(path, wave, 96000, depth=depth)
    assert soundfile.info(path).subtype == subtype
    if depth == 32:
        np.testing.assert_array_equal(decoded, wave)
    else:
        kept = wave.clip(-1, 1 - 2.0 ** (1 - depth))
        np.testing.assert_allclose(decoded, kept, atol=0.51 * 2.0 ** (1 - depth))


def test_lossy_files_are_clipped_at_full_scale_by_us(tmp_path):
    wave = 5 * sound(9000, 1)
    for kind in ("mp3", "ogg", "opus"):
        loud = write(tmp_path / f"a.{kind}", wave, 48000)
        cut = write(tmp_path / f"b.{kind}", wave.clip(-1, 1), 48000)
        np.testing.assert_array_equal(loud, cut)


def test_formats_hold_so_many_channels():
    Output("wav").check_channels(24)
    with pytest.raises(ValueError, match="6 channels: mp3 holds 2 at most"):
        Output("mp3").check_channels(6)


def test_a_file_without_a_comment_has_none(tmp_path):
    (tmp_path / "a.wav").write_text("text")
    assert read_comment(tmp_path / "a.wav") == ""
    assert read_comment(tmp_path / "missing.wav") == ""


def test_recordings_in_folders_come_in_the_order_of_people(tmp_path):
    names = "1.wav 2.flac 10.MP3 CD1/b.ogg CD1/c.mp4 CD2/a.mkv CD10/a.wma z.opus"
    other = ".x.wav ._1.wav cover.jpg notes.txt __MACOSX/1.wav .git/a.wav CD1/Thumbs.db"
    for name in (names + " " + other).split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "CD1" / "up").symlink_to(tmp_path)
    (tmp_path / "CD1" / "down").symlink_to(tmp_path / "CD1")
    files = media_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in files] == names.split()
