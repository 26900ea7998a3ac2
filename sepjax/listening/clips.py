"""What listeners hear of an excerpt: all conditions equally loud, and anchors."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np

from data_pipelines.audio.int16 import to_int16
from sepjax.listening.items import loudness

LOUDNESS = -23.0  # LUFS of all clips, the program loudness of EBU R 128
FADE = 0.005  # s of raised cosine at both ends of what is looped (BS.1534-3, 5.3)
ANCHORS = (3500.0, 7000.0)  # Hz, the low and the mid anchor (BS.1534-3, 5.1)
STOP = 8 / 7  # of the edge: 4 kHz for the low anchor
STOP_DB = 60.0  # BS.1534-3 asks for 25 dB at 4 kHz and 50 dB at 4.5 kHz


def default_anchors(rate: int) -> tuple[float, ...]:
    """Return the anchors of BS.1534-3 that a sample rate leaves room for, in Hz.

    Audio without room for either has one at 7/40 of its band, as 3.5 of 20 kHz.

    Example:
        >>> default_anchors(44100), default_anchors(16000), default_anchors(8000)
        ((3500.0, 7000.0), (3500.0,), (700.0,))
    """
    known = tuple(hertz for hertz in ANCHORS if STOP * hertz < rate / 2)
    return known or (7 / 40 * rate / 2,)


def low_pass(wave: np.ndarray, rate: int, edge: float) -> np.ndarray:
    """Return what an anchor is: a wave without what lies above an edge, in phase.

    A linear-phase filter by Kaiser's window: within 0.1 dB up to the edge, 60 dB down
    from 8/7 of it on, which is the mask of ITU-R BS.1534-3, 5.1, for 3.5 kHz.

    Args:
        wave: (time, channels).
        rate: Hz.
        edge: Hz.

    Raises:
        ValueError: the wave has nothing to lose.

    Example:
        >>> time = np.arange(44100)[:, None] / 44100
        >>> tones = [np.sin(2 * np.pi * hertz * time) for hertz in (1000, 5000)]
        >>> for tone in tones:
        ...     middle = low_pass(tone, 44100, 3500)[10000:30000]
        ...     print(np.abs(middle).max().round(2))
        1.0
        0.0
    """
    from scipy.signal import firwin, kaiserord, oaconvolve

    if not 0 < STOP * edge < rate / 2:
        raise ValueError(
            f"--anchors {edge:g}: in audio of {rate} Hz an anchor lies between 0 and "
            f"{rate / 2 / STOP:.0f} Hz"
        )
    taps, beta = kaiserord(STOP_DB, (STOP - 1) * edge / (rate / 2))
    middle = (1 + STOP) / 2 * edge
    kernel = firwin(taps | 1, middle, window=("kaiser", beta), fs=rate)
    return oaconvolve(wave, kernel[:, None], mode="same", axes=0)


def make_clips(waves: np.ndarray, rate: int, anchors: Sequence[float]) -> np.ndarray:
    """Return what is heard: reference, systems and anchors, at one loudness.

    Each is brought to -23 LUFS; if a peak then exceeds full scale, all of them are
    turned down alike. Both ends are faded for 5 ms.

    Args:
        waves: (1 + systems, time, channels), the reference first.
        rate: Hz.
        anchors: edges of low-pass filters for the reference, Hz.

    Returns:
        (1 + systems + anchors, time, channels).

    Raises:
        ValueError: an anchor is silent, as the reference has nothing below its edge.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (3, 16000, 1))
        >>> clips = make_clips(noise * [[[1]], [[0.5]], [[0.1]]], 16000, [3500])
        >>> [round(loudness(clip, 16000), 1) for clip in clips]
        [-23.0, -23.0, -23.0, -23.0]
    """
    low = [low_pass(waves[0], rate, edge) for edge in anchors]
    clips = np.stack([*waves, *low]).astype(np.float64)
    for clip in clips:
        for _ in range(2):  # the absolute gate may let other blocks through then
            level = loudness(clip, rate)
            if level == -math.inf:
                raise ValueError(
                    "an anchor of the reference is silent: choose higher --anchors"
                )
            clip *= 10 ** ((LOUDNESS - level) / 20)
    clips /= max(1.0, float(np.abs(clips).max()))
    size = round(FADE * rate)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size) + 0.5) / size)[:, None]
    clips[:, :size] *= ramp
    clips[:, -size:] *= ramp[::-1]
    return clips


def encode(clip: np.ndarray, rate: int) -> str:
    """Return a clip as 16-bit FLAC in base64."""
    import soundfile

    content = io.BytesIO()
    soundfile.write(content, to_int16(clip)[0], rate, "PCM_16", format="FLAC")
    return base64.b64encode(content.getvalue()).decode()
