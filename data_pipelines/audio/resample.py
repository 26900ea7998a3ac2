"""Audio at another rate, by soxr: all at once, or block by block.

Both end alike: the length is rounded to the nearest sample and is one at least.
"""

from collections.abc import Iterable, Iterator

import numpy as np


def resample(audio: np.ndarray, old: int, new: int, loop: bool = False) -> np.ndarray:
    """Resample audio (frames, channels) to another rate.

    Args:
        audio: floats.
        old: its rate, Hz.
        new: the other one, Hz.
        loop: the audio repeats: resample it circularly, by a Fourier series, so that
            its ends still meet.
    """
    if old == new:
        return audio
    frames = max(scale_frames(len(audio), old, new), 1)
    if loop:
        from scipy.signal import resample

        return resample(audio, frames, axis=0)  # any ratio
    import soxr

    audio = soxr.resample(audio, old, new, quality="VHQ")[:frames]
    return np.pad(audio, ((0, frames - len(audio)), (0, 0)))


def resample_blocks(
    blocks: Iterable[np.ndarray],
    old: int,
    new: int,
    *,
    frames: int | None = None,
    quality: str = "VHQ",
) -> Iterator[np.ndarray]:
    """Resample blocks (time, ...) to another rate, float32, one after the other.

    Args:
        blocks: of any lengths.
        old: their rate, Hz.
        new: the other one, Hz.
        frames: samples altogether, cut or followed by zeros; as many as the module says
            by default.
        quality: as soxr names it.

    Example:
        >>> blocks = [np.zeros((441, 2), np.float32)] * 3
        >>> sum(len(block) for block in resample_blocks(blocks, 44100, 8000))
        240
    """
    import soxr

    stream, read, written, block = None, 0, 0, None
    for block in blocks:
        read, part = read + len(block), block
        if old != new:
            rows = np.ascontiguousarray(block.reshape(len(block), -1), np.float32)
            if stream is None:
                width = rows.shape[1]
                stream = soxr.ResampleStream(old, new, width, quality=quality)
            part = stream.resample_chunk(rows).reshape(-1, *block.shape[1:])
        part = part if frames is None else part[: frames - written]
        written += len(part)
        if len(part):
            yield part
    if block is None:
        return
    rest = np.zeros((0, *block.shape[1:]), np.float32)
    if stream is not None:
        rest = stream.resample_chunk(rows[:0], last=True).reshape(-1, *block.shape[1:])
    if frames is None:
        frames = max(scale_frames(read, old, new), 1)
    rest = rest[: max(frames - written, 0)]
    if missing := max(frames - written - len(rest), 0):
        rest = np.concatenate([rest, np.zeros((missing, *rest.shape[1:]), rest.dtype)])
    if len(rest):
        yield rest


def scale_frames(frames: int, old: int, new: int) -> int:
    """Convert a number of frames to another rate, rounded to the nearest.

    Example:
        >>> scale_frames(44100, 44100, 8000)
        8000
    """
    return (2 * frames * new + old) // (2 * old)
