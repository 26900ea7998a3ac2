"""Separation chunk by chunk as the public toolkit does it, for figures like its own.

:func:`sepjax.separate` cross-fades chunks over all that they have in common instead.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def separate_in_chunks(
    separate: Callable[[np.ndarray], np.ndarray],
    mixture: Float[np.ndarray, "channels time"],
    *,
    length: int,
    overlaps: int = 2,
) -> Float[np.ndarray, "sources channels time"]:
    """Separate chunks that begin every ``length // overlaps`` samples; average them.

    Weights are 1 but for linear fades of a tenth of a chunk, which the ends of a song
    do not have; a reflection that is cut off again lies around longer songs. A short
    last chunk is reflected, or followed by zeros where it is half a chunk at most.

    Args:
        separate: ``(channels, length)`` to ``(sources, channels, length)``.
        mixture: of any length.
        length: of a chunk, samples: ``audio.chunk_size``.
        overlaps: chunks that hear a sample: ``inference.num_overlap``.

    Example:
        >>> wave = np.arange(50.0)[None]
        >>> found = separate_in_chunks(lambda x: x[None] / 2, wave, length=20)
        >>> bool(np.allclose(found[0], wave / 2))
        True

    Reference:
        ZFTurbo/Music-Source-Separation-Training, batches of one chunk.
    """
    step = length // overlaps
    border = length - step
    reflected = mixture.shape[-1] > 2 * border > 0
    ends = (border, border) if reflected else (0, 0)
    wave = np.pad(mixture, [(0, 0), ends], mode="reflect")
    fade, time = length // 10, wave.shape[-1]
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    total, weight = 0.0, np.zeros(time, np.float32)
    for start in range(0, time, step):
        chunk = wave[:, start : start + length]
        size = chunk.shape[-1]
        how = "reflect" if size > length // 2 else "constant"
        chunk = np.pad(chunk, [(0, 0), (0, length - size)], mode=how)
        window = np.ones(length, np.float32)
        if start:
            window[:fade] = ramp
        if not start or start + step < time:
            window[length - fade :] = ramp[::-1]
        estimates = np.asarray(separate(chunk))
        if not start:
            total = np.zeros((*estimates.shape[:-1], time), np.float32)
        total[..., start : start + size] += (estimates * window)[..., :size]
        weight[start : start + size] += window[:size]
    found = total / np.where(weight > 0, weight, np.float32(1))
    return found[..., border : time - border] if reflected else found
