"""Stems as files: all of a track or none, and nothing clipped."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_stems(
    folder: Path, stems: Mapping[str, Any], sample_rate: int, kind: str
) -> str:
    """Write ``folder/<source>.wav`` or ``.flac``: all stems of a track, or none.

    Nothing is clipped. Where a stem exceeds full scale, all stems of the track become
    32-bit float ("wav"), or are turned down by one common gain ("flac"), so that they
    still sum to the mixture up to that gain.

    Args:
        folder: of the track, created where needed; older stems in it are replaced.
        stems: source -> ``(time, channels)`` float32.
        sample_rate: Hz.
        kind: "wav" (16 bit), "flac" (16 bit) or "float32" (WAV).

    Returns:
        A note on what was done about the level, or an empty string.

    Raises:
        OSError: the stems could not be written, for instance to a full disk.
    """
    import numpy as np
    import soundfile

    peak = max(float(np.abs(stem).max()) for stem in stems.values())
    note, gain = "", 1.0
    if peak > 1 and kind == "wav":
        kind, note = "float32", f" (32-bit float: a stem peaks at {peak:.2f})"
    elif peak > 1 and kind == "flac":
        gain = 1 / peak
        note = f" (all stems {20 * np.log10(gain):.2f} dB: one peaked at {peak:.2f})"
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for source, stem in stems.items():
            _write(part / source, stem * np.float32(gain), sample_rate, kind)
        folder.mkdir(exist_ok=True)
        for file in part.iterdir():
            file.replace(folder / file.name)
    except (OSError, AssertionError, soundfile.LibsndfileError) as error:
        # libsndfile has no word for a full disk, so the free space is told, too.
        free = shutil.disk_usage(folder.parent).free
        reason = getattr(error, "strerror", None) or str(error) or "cannot write"
        raise OSError(
            f"{folder}: the stems could not be written ({reason}; {free / 1e6:.1f} MB "
            "free there): make room or give another folder with -o"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return note


def _write(path: Path, stem: Any, sample_rate: int, kind: str) -> None:
    import soundfile

    from data_pipelines.audio import to_int16

    if kind == "float32":
        # The sizes in a WAV header have 32 bits; RF64 is its successor.
        container = "RF64" if stem.nbytes > 2**32 - 2**12 else "WAV"
        audio, subtype, suffix = stem, "FLOAT", "wav"
    else:
        container, subtype, suffix = kind.upper(), "PCM_16", kind
        audio, _ = to_int16(stem)
    path = path.with_name(f"{path.name}.{suffix}")
    soundfile.write(path, audio, sample_rate, subtype, format=container)
    if soundfile.info(path).frames != len(stem):
        raise OSError(f"{path}: only a part was stored")
