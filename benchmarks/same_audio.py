"""Does the fingerprint find copies, and only copies? On the demo music and on songs.

    python benchmarks/same_audio.py [--songs DIR] [--demo 420]

Copies are made of every song (of DIR/<song>/mixture.flac|wav, if given, and of demo
songs of every session and speed): softer, later, cut, coded, in noise, clipped,
equalized, and several of these at once. Then songs that are different are compared with
each other: other tunes over one beat, and demo songs that share some of their takes.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, sosfilt

from data_pipelines.audio.files import probe
from data_pipelines.doctor import matching
from data_pipelines.doctor.fingerprint import RATE, fingerprint
from data_pipelines.doctor.listening import mono_wave
from data_pipelines.doctor.same_audio import SAME
from data_pipelines.manifest import Manifest, Stem, Track
from data_pipelines.songs import demo

HIGH = 44100  # Hz, at which copies are made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--songs", type=Path, help="folder of songs with mixtures")
    parser.add_argument("--demo", type=int, default=420, help="demo songs to compare")
    options = parser.parse_args()
    manifest = demo.build_manifest("", demo.CLASSES, songs={"train": options.demo})
    waves = {track.name: mono_wave(manifest, track) for track in manifest.tracks}
    prints = {name: fingerprint(wave) for name, wave in waves.items()}
    originals = one_of_each(manifest, waves)
    if options.songs:
        originals |= folder_waves(options.songs)
    copies(originals)
    one_beat()
    different(manifest, waves, prints)


def one_of_each(manifest: Manifest, waves: dict) -> dict[str, np.ndarray]:
    """A demo song of every session and speed."""
    found = {}
    for track in manifest.tracks:
        rate = manifest.files[next(iter(track.stems.values())).file].sample_rate
        found.setdefault((track.group, rate), track.name)
    return {name: waves[name] for name in found.values()}


def folder_waves(folder: Path) -> dict[str, np.ndarray]:
    waves = {}
    for path in sorted(folder.glob("*/mixture.*")):
        began, file = time.perf_counter(), probe(str(path))
        track = Track(path.parent.name, "train", "", file.frames, {}, Stem(0))
        manifest = Manifest("", "", file.sample_rate, 2, (), (file,), (track,))
        waves[path.parent.name] = mono_wave(manifest, track)
        read = time.perf_counter()
        found = fingerprint(waves[path.parent.name])
        done = time.perf_counter()
        minutes = file.frames / file.sample_rate / 60
        print(
            f"{path.parent.name}: {minutes:.1f} min at {file.sample_rate} Hz; a minute:"
            f" read {1000 * (read - began) / minutes:.0f} ms, fingerprint"
            f" {1000 * (done - read) / minutes:.0f} ms,"
            f" {len(found.hashes) / minutes:.0f} pairs"
        )
    return waves


def copies(originals: dict[str, np.ndarray]) -> None:
    """Print how many copies of each kind are found, and what was measured."""
    names = list(originals)
    index = matching.build_index([fingerprint(wave) for wave in originals.values()])
    print(f"\n{len(names)} songs; copy: found, pairs (least), share (least, median)")
    for kind, change in CHANGES.items():
        found, wrong, pairs, shares = 0, 0, [], []
        for number, name in enumerate(names):
            wave = change(soxr.resample(originals[name], RATE, HIGH))
            wave = soxr.resample(wave.astype(np.float32), HIGH, RATE)
            verdicts = {
                one.song: (one.pairs, share(wave, originals[names[one.song]], one))
                for one in matching.candidates(index, fingerprint(wave))
            }
            count, part = verdicts.pop(number, (0, 0.0))
            pairs.append(count)
            shares.append(part)
            found += part >= SAME
            wrong += sum(part >= SAME for _, part in verdicts.values())
        print(
            f"{kind:28s} {found:3d}/{len(names)} false {wrong}  {min(pairs):5d}"
            f"  {min(shares):.2f} {np.median(shares):.2f}"
        )


def share(wave: np.ndarray, other: np.ndarray, found: matching.Candidate) -> float:
    if len(wave) <= len(other):
        return matching.shared_part(wave, other, found.offsets)
    return matching.shared_part(other, wave, [-offset for offset in found.offsets])


def coded(container: str, codec: str, rate: int) -> Callable[[np.ndarray], np.ndarray]:
    """Encode and decode again by PyAV."""

    def change(wave: np.ndarray) -> np.ndarray:
        import av

        file = io.BytesIO()
        with av.open(file, "w", format=container) as output:
            stream = output.add_stream(codec, rate=HIGH, layout="mono")
            stream.bit_rate = rate
            fifo = av.AudioFifo()
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(wave[None], np.float32), "fltp", "mono"
            )
            frame.sample_rate = HIGH
            fifo.write(frame)
            while block := fifo.read(stream.codec_context.frame_size or 1024, True):
                output.mux(stream.encode(block))
            output.mux(stream.encode(None))
        file.seek(0)
        with av.open(file) as source:
            resampler = av.AudioResampler("fltp", "mono", HIGH)
            blocks = [
                part.to_ndarray()[0]
                for frame in source.decode(audio=0)
                for part in resampler.resample(frame)
            ]
        return np.concatenate(blocks)

    return change


def mp3(wave: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, wave, HIGH, format="MP3", subtype="MPEG_LAYER_III")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def later(wave: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(round(3.217 * HIGH), np.float32), wave])


def middle(wave: np.ndarray) -> np.ndarray:
    """The middle 30 s, of a short song half of it."""
    half = min(15 * HIGH, len(wave) // 4)
    return wave[len(wave) // 2 - half : len(wave) // 2 + half]


def noisy(wave: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(wave))
    return wave + 0.1 * wave.std() * noise


def filtered(wave: np.ndarray, hertz: float, kind: str = "high") -> np.ndarray:
    order = 2 if kind == "high" else 1
    return sosfilt(butter(order, hertz, kind, fs=HIGH, output="sos"), wave)


aac, low_aac = coded("adts", "aac", 128_000), coded("adts", "aac", 48_000)
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda wave: wave,
    "-6 dB": lambda wave: wave / 2,
    "3.217 s later": later,
    "without its first 3.217 s": lambda wave: wave[round(3.217 * HIGH) :],
    "middle 30 s": middle,
    "MP3": mp3,
    "AAC 128 kbit/s": aac,
    "AAC 48 kbit/s": low_aac,
    "by way of 22.05 kHz": lambda w: soxr.resample(
        soxr.resample(w, HIGH, 22050), 22050, HIGH
    ),
    "noise 20 dB below": noisy,
    "clipped by 6 dB": lambda wave: wave.clip(
        -abs(wave).max() / 2, abs(wave).max() / 2
    ),
    "inverted": lambda wave: -wave,
    "high-pass 30 Hz": lambda wave: filtered(wave, 30),
    "high-pass 80 Hz": lambda wave: filtered(wave, 80),
    "+6 dB below 120 Hz": lambda wave: wave + filtered(wave, 120, "low"),
    "+4 dB above 2 kHz": lambda wave: wave + 0.58 * filtered(wave, 2000, "high"),
    "-6 dB, 30 s, later, AAC 48": lambda w: low_aac(later(middle(w) / 2)),
    "-6 dB, 30 s, MP3": lambda wave: mp3(middle(wave) / 2),
}


def one_beat() -> None:
    """Print what songs share whose kick and hi-hat are the same, and nothing else."""
    beats = beat()
    tunes = [tune(seed, len(beats)) for seed in range(2)]
    print("\ntunes over one beat; level of the tune: proposed, share")
    for level in (0, -5, -8, -10, -14, -20):
        gain = np.sqrt(np.mean(beats**2) / np.mean(tunes[0] ** 2)) * 10 ** (level / 20)
        wave, other = ((beats + gain * t).astype(np.float32) for t in tunes)
        index = matching.build_index([fingerprint(other)])
        found = matching.candidates(index, fingerprint(wave))
        part = share(wave, other, found[0]) if found else 0.0
        print(f"  {level:+3d} dB: {len(found)} {part:.2f}")


def beat(seconds: int = 120) -> np.ndarray:
    """Two kicks a second, and between them a hi-hat."""
    time = np.arange(RATE // 2) / RATE
    kick = np.sin(2 * np.pi * (50 * time - 3 * np.exp(-30 * time))) * np.exp(-6 * time)
    noise = np.random.default_rng(0).standard_normal(len(time))
    hat = 0.2 * noise * np.exp(-60 * time)
    return np.tile(kick + np.roll(hat, RATE // 4), 2 * seconds)


def tune(seed: int, samples: int) -> np.ndarray:
    """Four notes a second, of five partials each."""
    generator, time = np.random.default_rng(seed), np.arange(RATE // 2) / RATE
    wave = np.zeros(samples)
    for start in range(0, samples - len(time) + 1, RATE // 4):
        hertz = 220 * 2 ** (generator.integers(0, 24) / 12)
        partials = [np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6)]
        wave[start : start + len(time)] += np.exp(-4 * time) * sum(partials)
    return wave


def different(manifest: Manifest, waves: dict, prints: dict) -> None:
    """Print what demo songs of one session share, by the part of takes in common."""
    names = list(waves)
    index = matching.build_index([prints[name] for name in names])
    tracks = {track.name: track for track in manifest.tracks}
    rows, seconds = [], 0.0
    compared = 0
    for number, name in enumerate(names):
        began = time.perf_counter()
        found = matching.candidates(index, prints[name])
        seconds += time.perf_counter() - began
        for one in found:
            other = names[one.song]
            if one.song < number:
                compared += 1
                part = share(waves[name], waves[other], one)
                common = takes_in_common(manifest, tracks[name], tracks[other])
                rows.append((common, one.pairs, part))
    total = len(names) * (len(names) - 1) // 2
    print(
        f"\n{len(names)} demo songs, {total} pairs: {compared} proposed by the index"
        f" ({1000 * seconds / len(names):.1f} ms per song)"
    )
    table = np.array(rows)
    print("takes in common: pairs, called the same, called partly the same")
    for low, high in ((-0.1, 0), (0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 0.99)):
        part = table[(table[:, 0] > low) & (table[:, 0] <= high)]
        same, partly = (part[:, 2] >= SAME).sum(), (part[:, 2] >= 0.1).sum()
        print(f"  up to {high:4.2f}: {len(part):6d} {same:4d} {partly - same:4d}")
    part = table[table[:, 0] > 0.99]
    print(f"  all        : {len(part):6d} {(part[:, 2] >= SAME).sum():4d}")


def takes_in_common(manifest: Manifest, first: Track, second: Track) -> float:
    """Shared takes over all takes of two songs."""
    sets = [
        {manifest.files[stem.file].path for stem in track.stems.values()}
        for track in (first, second)
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


if __name__ == "__main__":
    main()
