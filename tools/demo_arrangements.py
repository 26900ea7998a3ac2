"""Little arrangements: patterns in a mini-notation become notes that follow the chords.

A pattern is a string of sixteenths, one or more bars of 16, repeated to four bars:
``0``-``5`` the chord's tones from the root upwards, ``c`` the whole chord, ``p`` root,
fifth and octave, ``a`` a step that leads to the next root, ``-`` holds, ``.`` rests.
Melodies are walks through the scale over rhythms (``x`` a note) that land on chord
tones on the beat.
"""

from typing import NamedTuple

import numpy as np
from demo_sessions import Session

STEPS = 64  # sixteenths of a take: four bars


class Note(NamedTuple):
    """A note; times in 48ths of a bar, so that straight and swung 16ths are whole."""

    start: int
    length: int
    pitch: int
    velocity: int


KICK, SNARE, STICK, HAT, PEDAL, OPEN, RIDE, CRASH = 36, 38, 37, 42, 44, 46, 51, 49
DRUMS = {
    "rock": {
        KICK: "X.....x.X.......",
        SNARE: "....X.......X...",
        HAT: "X.x.X.x.X.x.X.o.",
    },
    "punk": {
        KICK: "X.x...x.X.x...x.",
        SNARE: "....X.......X...",
        OPEN: "X...X...X...X...",
    },
    "funk": {
        KICK: "X..x..x...x..x..",
        SNARE: "....X..o.o..X..o",
        HAT: "XxoxXxoxXxoxXx.x",
        OPEN: "..............x.",
    },
    "sixteen": {
        KICK: "X.....x...X.....",
        SNARE: "....X.......X..o",
        HAT: "XoxoXoxoXoxoXoxo",
    },
    "halftime": {
        KICK: "X.....x.......x.",
        SNARE: "........X.......",
        RIDE: "X.x.X.x.X.x.X.x.",
    },
    "house": {
        KICK: "X...X...X...X...",
        SNARE: "....X.......X...",
        OPEN: "..x...x...x...x.",
        HAT: "o.o.o.o.o.o.o.o.",
    },
    "shuffle": {
        KICK: "X.....x.X.....x.",
        STICK: "....X.......X..o",
        HAT: "X.xoX.xoX.xoX.xo",
    },
    "swing": {
        KICK: "o.......o.......",
        RIDE: "X...X.x.X...X.x.",
        PEDAL: "....x.......x...",
        SNARE: "......o.....o...",
    },
}
FILLS = (
    {SNARE: "X.xxX.xx", 50: "........"},
    {SNARE: "xx......", 50: "..xx....", 47: "....xx..", 43: "......xx"},
    {50: "X.x.....", 45: "....X.x."},
    {SNARE: "..X..xX.", 43: "X..x...x"},
)
BASS = {
    "eighths": "0-0-0-0-0-0-0-a-",
    "syncopated": "0--0..2-0-.3.2a-",
    "octaves": "0.3.0.3.0.3.0.3.",
    "slap": "0..03..0.33.0.a-",
    "gallop": "0-000-000-002-a-",
    "two": "0-----2-0-----a-",
    "walking": "0---1---2---a---0---3---2---a---",
}
GUITAR = {
    "arpeggio": "0-1-2-3-4-3-2-1-",
    "power": "p-----p-p---p-p-",
    "muted": "00.00.0.00.00.2.",
    "chops": "..c..cc...c..cc...c..cc.c.cc..c.",
    "riff": "0--0.2-3-.1-0...",
    "chug": "p.ppp.ppp.ppp-p-",
    "comp": "c-..c-..c-..c-c.",
    "single": "3--.4-3-1--.2---3-4-5---4-3-1-2-",
    "strum": "c---..c-c-c---c-",
}
OTHER = {
    "ballad keys": "c---0-2-c-----1-",
    "pad": "c-------c-------",
    "offbeat": "..c...c...c...c.",
    "clav": "0.3c.2.c0..c3.2.",
    "pulse": "c-c-c-c-c-c-c-c-",
    "comp": "c--..c--....c-..",
    "arpeggio": "0-2-4-2-3-2-1-2-",
}
SECTIONS = {"stabs": "c-.c..c-....c.c-"}  # of the wind
MELODIES = {
    "lead": ("x-x-x---x-x-x---", "x---x-x-x-----..", "x-x-x-x-x---x---"),
    "slow lead": ("x-----x-x-------", "x-------x---x---", "x---x---x-----.."),
    "riff": ("x-xx--x-..x-x-x-", "x--x--x-x---....", "x-xx--x-x-x-x---"),
    "verse": ("x-x-x-x-x---x---", "x---x-x-x-----..", "..x-x-x-x---x-x-"),
    "chorus": ("x-----x-x---x---", "x---x---x-----..", "x-x-x---x-x-x---"),
    "long": ("x-------x-------", "x---x---x-------", "x-----------x---"),
}
USUAL_LOW = {"bass": 28, "electric_guitar": 45, "other": 55, "vocals": 60}
WIND_LOW = {  # by program: where the instrument sings
    **{56: 62, 57: 50, 59: 62, 60: 53, 61: 58, 62: 60, 64: 64, 65: 60, 66: 54},
    **{67: 46, 68: 64, 69: 58, 71: 57, 73: 70, 8061: 58},
}


def clock(step: int, swing: bool) -> int:
    """Time of a sixteenth in 48ths of a bar; swung eighths are triplets."""
    beat, sixteenth = divmod(step, 4)
    return 12 * beat + ((0, 4, 8, 10) if swing else (0, 3, 6, 9))[sixteenth]


def drums(session: Session, style: str, rng: np.random.Generator) -> list[Note]:
    """A groove of three bars and a half with a fill, a crash on the one."""
    rows = {pitch: line * 4 for pitch, line in DRUMS[style].items()}
    fill = FILLS[rng.integers(len(FILLS))]
    rows = {pitch: line[:56] + "." * 8 for pitch, line in rows.items()}
    for pitch, line in fill.items():
        rows[pitch] = rows.get(pitch, "." * STEPS)[:56] + line
    rows[KICK] = rows[KICK][:56] + "x...x..."
    if style != "swing":
        rows[CRASH] = "x" + "." * (STEPS - 1)
    loudness = {"X": 118, "x": 96, "o": 62}
    metal = (HAT, OPEN, PEDAL, RIDE, CRASH)

    def velocity(pitch: int, sign: str) -> int:
        return loudness[sign] * (7 if pitch in metal else 10) // 10

    return [
        Note(clock(step, session.swing), 6, pitch, velocity(pitch, sign))
        for pitch, line in rows.items()
        for step, sign in enumerate(line)
        if sign != "."
    ]


def pattern(session: Session, line: str, low: int, velocity: int) -> list[Note]:
    """Notes of a pattern whose chords' lowest tones lie in the octave from ``low``."""
    line = line * (STEPS // len(line))
    notes = []
    for step, sign in enumerate(line):
        if sign in "-.":
            continue
        end = step + 1
        while end < STEPS and line[end] == "-":
            end += 1
        start = clock(step, session.swing)
        accent = velocity + (8 if step % 4 == 0 else 0)
        for pitch in _pitches(session, sign, step, low):
            length = clock(end, session.swing) - start
            notes.append(Note(start, length, pitch, accent))
    return notes


def _pitches(session: Session, sign: str, step: int, low: int) -> list[int]:
    root = session.tone(step, 0)
    shift = low + (root - low) % 12 - root
    if sign == "a":  # a scale step below or above the root that comes
        coming = session.chords[(step // 8 + 1) % 8]
        target = session.pitch(coming - 1 if step % 32 < 16 else coming + 1)
        return [low + (target - low) % 12]
    if sign == "p":
        return [root + shift, session.tone(step, 2) + shift, root + shift + 12]
    if sign == "c":  # the inversion that lies in the octave: smooth voice leading
        return sorted(low + (session.tone(step, n) - low) % 12 for n in range(3))
    return [session.tone(step, int(sign)) + shift]


def melody(
    session: Session, style: str, low: int, rng: np.random.Generator, rest: int = 0
) -> list[Note]:
    """Four bars A B A' C: a walk in a range of 14 semitones, chord tones on the beat.

    The last ``rest`` sixteenths stay silent.
    """
    rhythms = MELODIES[style]
    order = rng.permutation(3)
    line = "".join(rhythms[order[i]] for i in (0, 1, 0, 2))
    line = line[: STEPS - rest] + "." * rest
    onsets = [i for i in range(STEPS - rest - 1) if line[i] == "x"]
    scale = [p for p in range(low, low + 15) if _in_scale(session, p)]
    here = len(scale) // 2 + int(rng.integers(-1, 2))
    moves = rng.choice([-2, -1, -1, 1, 1, 2], size=16)
    notes = []
    for step in onsets:
        if step in (0, 32):  # the second half repeats the first's contour
            here = len(scale) // 2 + int(rng.integers(-1, 2))
        here = here + int(moves[step % 32 // 2])
        if not 0 <= here < len(scale):  # turn back at the edges of the range
            here += -2 * int(moves[step % 32 // 2])
        here = min(max(here, 0), len(scale) - 1)
        if step % 4 == 0:
            here = _nearest_tone(session, scale, here, step)
        end = step + 1
        while end < STEPS and line[end] == "-":
            end += 1
        start = clock(step, session.swing)
        length = clock(end, session.swing) - start
        notes.append(Note(start, length, scale[here], 104))
    return notes


def _in_scale(session: Session, pitch: int) -> bool:
    return pitch % 12 in {session.pitch(degree) % 12 for degree in range(7)}


def _nearest_tone(session: Session, scale: list[int], here: int, step: int) -> int:
    tones = {session.tone(step, number) % 12 for number in range(3)}
    fits = [i for i, pitch in enumerate(scale) if pitch % 12 in tones]
    return min(fits, key=lambda i: abs(i - here))
