"""The audio of a pair of tracks: read, checked, and brought to one length."""

import hashlib
import shlex
from pathlib import Path

import numpy as np

from data_pipelines.audio.files import AudioFile, probe, read_blocks
from sepjax.evaluation.folders.pairing import Files, Pair
from sepjax.evaluation.scoring import MAIN, Track


def read_pair(pair: Pair) -> Track:
    """Read the files of a song; integers and floats alike have full scale 1.

    An estimate that is longer than the references is cut at its end, a shorter one
    filled with zeros, as museval does; a note says by how much. Nothing is resampled.
    A mono reference among stereo ones sounds on both channels; apart from that a mono
    file goes with a stereo one only where the channels of the latter are equal.

    Raises:
        ValueError: a file is broken, or the files do not belong together; names the
            file and a command that mends it.
    """
    names = tuple(pair.references)
    references = [_probe(name, pair.references) for name in names]
    estimates = [_probe(name, pair.estimates) for name in names]
    _check_references(names, references)
    rate, frames = references[0].sample_rate, references[0].frames
    width = max(file.channels for file in references)
    truth = np.zeros((len(names), frames, width), np.float32)
    guess = np.zeros_like(truth)
    notes: dict[str, list[str]] = {}
    for index, (reference, estimate) in enumerate(zip(references, estimates)):
        if estimate.sample_rate != rate:
            raise ValueError(
                f"{estimate.path}: has {estimate.sample_rate} Hz where the references "
                f"have {rate} Hz; scores need the same rate: "
                + _ffmpeg(estimate.path, f"-ar {rate}")
            )
        _read_into(truth[index], reference)
        if estimate.channels == width:
            _read_into(guess[index], estimate)
        else:
            text = _read_other_width(truth, guess, index, estimate)
            notes.setdefault(text, []).append(names[index])
        if extra := estimate.frames - frames:
            text = "longer, cut" if extra > 0 else "shorter, filled with zeros"
            text = f"{abs(extra)} samples ({abs(extra) / rate:.3g} s) {text}"
            notes.setdefault(text, []).append(names[index])
    told = tuple(f"estimate of {', '.join(who)}: {text}" for text, who in notes.items())
    digest = hashlib.sha256("\n".join(names).encode())
    digest.update(truth)
    facts = {"subset": pair.subset, "references_sha256": digest.hexdigest()}
    song = pair.name, rate, names, truth, {MAIN: guess}
    return Track(*song, facts=facts, notes=told)


def _probe(name: str, files: Files) -> AudioFile:
    paths = files[name]
    if len(paths) > 1:
        listed = " and ".join(map(str, paths))
        raise ValueError(f"class {name!r} has several files, {listed}: keep one")
    return probe(str(paths[0]))


def _check_references(names: tuple[str, ...], files: list[AudioFile]) -> None:
    facts = {
        "lengths (samples)": {n: file.frames for n, file in zip(names, files)},
        "sample rates (Hz)": {n: file.sample_rate for n, file in zip(names, files)},
        "channels": {n: f.channels for n, f in zip(names, files) if f.channels > 1},
    }
    for what, values in facts.items():
        if len({*values.values()}) > 1:
            listed = ", ".join(f"{name} {value}" for name, value in values.items())
            text = f"references of different {what}: {listed}; export them alike"
            raise ValueError(f"{Path(files[0].path).parent}: {text}")


def _ffmpeg(path: str, option: str) -> str:
    """A command that writes the file anew beside itself, as float WAV.

    Example:
        >>> _ffmpeg("a b/vocals.flac", "-ac 2")
        "ffmpeg -i 'a b/vocals.flac' -ac 2 -c:a pcm_f32le 'a b/vocals.new.wav'"
    """
    new = str(Path(path).with_suffix(".new.wav"))
    source, target = shlex.quote(path), shlex.quote(new)
    return f"ffmpeg -i {source} {option} -c:a pcm_f32le {target}"


def _read_into(wave: np.ndarray, file: AudioFile) -> None:
    """Fill ``(time, channels)`` from its start; what does not fit is left out."""
    done = 0
    for block in read_blocks(file):
        wave[done : done + len(block)] = block[: max(len(wave) - done, 0)]
        done += len(block)


def _read_other_width(
    truth: np.ndarray, guess: np.ndarray, index: int, file: AudioFile
) -> str:
    """Read an estimate of another number of channels where that loses nothing."""
    width = truth.shape[-1]
    if file.channels == 1 and not _differ(truth[index]):
        _read_into(guess[index], file)
        return "mono, scored on every channel"
    if width == 1:
        wide = np.zeros((guess.shape[1], file.channels), np.float32)
        _read_into(wide, file)
        if not _differ(wide):
            guess[index] = wide[:, :1]
            return "all channels are equal, one was scored"
        raise ValueError(
            f"{file.path}: has {file.channels} different channels where the reference "
            f"is mono; mix it down: {_ffmpeg(file.path, '-ac 1')}"
        )
    raise ValueError(
        f"{file.path}: has {file.channels} channels where the reference has {width} "
        "different ones; separate with the channels of the references, or convert one "
        f"of them: {_ffmpeg(file.path, f'-ac {width}')}"
    )


def _differ(wave: np.ndarray) -> bool:
    return bool((wave[:, :1] != wave[:, 1:]).any())
