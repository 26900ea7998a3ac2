"""Audio files to write, by libsndfile.

MP3 has the constant bit rate that is asked for, and the tag that tells delay and
padding, so that all files are as long as what was written.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.audio.files import CHANNELS
from data_pipelines.audio.int16 import quantize, to_int16
from sepjax.registry import nearest

FLOAT = 32
"""The depth in bits that means floats."""
PIECE = 1 << 12  # samples at once: libvorbis has as many on the stack
OPUS = (8000, 12000, 16000, 24000, 48000)
MPEG = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# Nominal kb/s of stereo Vorbis at qualities 0 to 10 (xiph.org/vorbis).
VORBIS = (64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 500)


class Format(NamedTuple):
    """What files of an extension can hold."""

    container: str
    codec: str = ""  # none: PCM
    depths: tuple[int, ...] = ()  # bits of a sample; none: it has bits per second
    channels: int = CHANNELS  # at most
    rates: tuple[int, ...] = ()  # Hz; none: any

    def rate(self, rate: int) -> int:
        """Return the rate, or the nearest above, else the highest that files have."""
        above = [each for each in self.rates if each >= rate]
        return min(above) if above else max(self.rates, default=rate)


FORMATS = {
    "wav": Format("WAV", depths=(16, 24, FLOAT)),
    "flac": Format("FLAC", depths=(16, 24), channels=8),
    "mp3": Format("MP3", "MPEG_LAYER_III", channels=2, rates=MPEG),
    "ogg": Format("OGG", "VORBIS"),
    "opus": Format("OGG", "OPUS", channels=8, rates=OPUS),
}
"""Extension -> format."""

CLIP_MODES = ("common", "rescale", "clamp", "none")


@dataclasses.dataclass(frozen=True)
class Output:
    """How files are written.

    Stems beyond full scale: in the mode "common" they become float WAV, or all are
    turned down by one gain; "rescale": each is divided by 1.01 times its peak; "clamp":
    cut off at 0.99; "none": at full scale, unless float.

    Raises:
        ValueError: the format has not the depth, or no format the bit rate.
    """

    kind: str = "wav"  # of FORMATS
    depth: int = 0  # bits of a sample; 0: as the recording
    bitrate: int = 320  # kb/s of formats without depths, within their limits
    clip_mode: str = "common"  # of CLIP_MODES

    def __post_init__(self) -> None:
        for what, name, known in (
            ("format", self.kind, FORMATS),
            ("clip mode", self.clip_mode, CLIP_MODES),
        ):
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}: {nearest(name, known)}")
        if self.depth and self.depth not in FORMATS[self.kind].depths:
            what = "integers" if FORMATS[self.kind].depths else "bits per second"
            depth = "float" if self.depth == FLOAT else self.depth
            text = f"--depth {depth} needs --format wav: {self.kind} stores {what} only"
            raise ValueError(text)
        if not 8 <= self.bitrate <= 512:
            raise ValueError(f"--bitrate {self.bitrate}: 8 to 512 kb/s are possible")

    def of_depth(self, bits: int) -> "Output":
        """Return the same with the depth of a recording, where none is chosen."""
        depths = FORMATS[self.kind].depths
        depth = (self.depth or min(bits, max(depths))) if depths else 0
        return dataclasses.replace(self, depth=depth)

    def check_channels(self, channels: int) -> None:
        """Raise a ValueError if files of this kind do not hold so many channels."""
        if channels > (most := FORMATS[self.kind].channels):
            text = f"{channels} channels: {self.kind} holds {most} at most"
            raise ValueError(f"{text}; choose --format wav")


@contextlib.contextmanager
def encoder(
    path: Path,
    output: Output,
    sample_rate: int,
    channels: int,
    comment: str = "",
    large: bool = False,
) -> Iterator[Callable[[np.ndarray], None]]:
    """Open a file to write; yield what takes blocks of samples (time, channels).

    What exceeds full scale is cut off, unless the depth is :data:`FLOAT`. The rate is
    one of the format's; ``large`` says that more than 4 GiB come.

    Raises:
        OSError: the disk is full.
        soundfile.LibsndfileError: likewise, or libsndfile cannot write this.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "a.mp3")
        >>> with encoder(path, Output("mp3"), 44100, 2, comment="mine") as write:
        ...     write(np.zeros((44100, 2), np.float32))
        >>> read_comment(path)
        'mine'
    """
    import soundfile

    form, depth = FORMATS[output.kind], output.depth
    options: dict[str, Any] = {"format": "RF64" if large else form.container}
    options["subtype"] = form.codec or ("FLOAT" if depth == FLOAT else f"PCM_{depth}")
    if form.codec:
        options["compression_level"] = _level(
            form, sample_rate, channels, output.bitrate
        )
    if output.kind == "mp3":
        options["bitrate_mode"] = "CONSTANT"
    with soundfile.SoundFile(
        os.fsencode(path), "w", sample_rate, channels, **options
    ) as file:
        file.software = "sepjax"
        if comment:  # none is no text for libsndfile
            file.comment = comment

        def write_lossy(block: np.ndarray) -> None:
            for at in range(0, len(block), PIECE):
                file.write(block[at : at + PIECE].clip(-1, 1))

        yield write_lossy if form.codec else lambda b: file.write(_rounded(b, depth))


def _level(form: Format, sample_rate: int, channels: int, bitrate: int) -> float:
    """Where libsndfile's compression, from 0 to 1, has a bit rate."""
    if form.codec == "VORBIS":
        return 1 - float(np.interp(bitrate, VORBIS, range(11))) / 10
    least, most = 6 * channels, 256 * channels
    if form.codec != "OPUS":
        least, most = (8, 64) if sample_rate < 16000 else (8, 160)
        least, most = (32, 320) if sample_rate >= 32000 else (least, most)
    # A little more, as libsndfile cuts off what is no whole number.
    return min(max(1 - (bitrate + 0.01 - least) / (most - least), 0), 1)


def _rounded(block: np.ndarray, depth: int) -> np.ndarray:
    """Samples as libsndfile takes them for a depth, left-aligned in 32 bits at 24."""
    if depth == FLOAT:
        return block
    return to_int16(block)[0] if depth == 16 else quantize(block, depth) << 8


def read_comment(path: Path) -> str:
    """Read the comment in an audio file; nothing of what is none."""
    import soundfile

    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return file.comment
    except (OSError, soundfile.LibsndfileError):
        return ""
