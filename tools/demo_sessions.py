"""The eight sessions of the demo music: harmony, tempo and the table of takes.

A session is one key, tempo and progression of four bars; every take of it fits every
other one. Programs are General MIDI presets, ``1000 * bank + preset``; drum kits lie in
the percussion bank. Sessions 6 and 7 (validation and test) use recordings of
instruments and a register of the singer that no training session uses; only the
cymbals are those of all kits, at another pitch. (Presets of a soundfont share
recordings under several names: 48 and 49, 4 and 8004, 27 and 8028 do.)
"""

from typing import NamedTuple

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}


class Take(NamedTuple):
    """One instrument's (or singer's) part of a session."""

    program: int  # General MIDI; for vocals: semitones by which the voice is shifted
    style: str  # a name of demo_arrangements' patterns
    low: int = 0  # lowest pitch of the part; 0: the class's usual one
    drive: float = 0.0  # amplifier distortion, 0: none


class Session(NamedTuple):
    """Harmony, tempo and takes."""

    split: str
    key: int  # MIDI pitch of the tonic, 48-59
    scale: str
    chords: tuple[int, ...]  # scale degrees, one per half bar
    bar_frames: int  # at 16 kHz, a multiple of 160: whole frames at 44.1 kHz, too
    swing: bool
    takes: dict[str, tuple[Take, ...]]

    @property
    def bpm(self) -> float:
        """Quarter notes a minute."""
        return 4 * 60 * 16000 / self.bar_frames

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a scale degree, 0 being the tonic."""
        octave, step = divmod(degree, 7)
        return self.key + 12 * octave + SCALES[self.scale][step]

    def tone(self, step: int, number: int) -> int:
        """Pitch of the chord's tone (0 root, 1 third, 2 fifth) at a sixteenth."""
        octave, third = divmod(number, 3)
        return self.pitch(self.chords[step // 8 % 8] + 2 * third) + 12 * octave


T = Take
SESSIONS = (
    Session(  # pop
        *("train", 55, "major", (0, 0, 4, 4, 5, 5, 3, 3), 32000, False),
        {
            "vocals": (T(0, "verse"), T(2, "chorus"), T(-1, "long")),
            "drums": (T(0, "rock"), T(8, "sixteen"), T(25, "house")),
            "bass": (T(33, "eighths"), T(34, "syncopated"), T(38, "octaves")),
            "electric_guitar": (T(27, "arpeggio"), T(29, "power"), T(28, "muted")),
            "wind": (T(65, "lead"), T(61, "stabs"), T(73, "slow lead")),
            "other": (T(0, "ballad keys"), T(48, "pad"), T(16, "offbeat")),
        },
    ),
    Session(  # funk
        *("train", 50, "dorian", (0, 0, 3, 3, 0, 0, 3, 4), 35520, False),
        {
            "vocals": (T(-2, "riff"), T(0, "verse"), T(1, "chorus")),
            "drums": (T(8, "funk"), T(24, "sixteen"), T(1, "shuffle")),
            "bass": (T(34, "slap"), T(33, "syncopated"), T(39, "octaves")),
            "electric_guitar": (T(28, "chops"), T(26, "riff"), T(30, "power")),
            "wind": (T(56, "stabs"), T(66, "lead"), T(67, "riff")),
            "other": (T(7, "clav"), T(4, "ballad keys"), T(18, "pad")),
        },
    ),
    Session(  # rock
        *("train", 52, "minor", (0, 0, 5, 5, 2, 2, 6, 6), 29120, False),
        {
            "vocals": (T(2, "chorus"), T(-2, "long"), T(0, "riff")),
            "drums": (T(0, "punk"), T(8, "halftime"), T(2, "rock")),
            "bass": (T(34, "eighths"), T(33, "gallop"), T(39, "syncopated")),
            "electric_guitar": (
                *(T(30, "chug"), T(29, "arpeggio"), T(27, "riff", drive=6.0)),
            ),
            "wind": (T(57, "slow lead"), T(64, "lead"), T(61, "slow lead")),
            "other": (T(18, "offbeat"), T(50, "pad"), T(0, "pulse")),
        },
    ),
    Session(  # swing
        *("train", 58, "major", (0, 5, 1, 4, 2, 5, 1, 4), 30400, True),
        {
            "vocals": (T(1, "verse"), T(0, "riff"), T(-2, "long")),
            "drums": (T(32, "swing"), T(40, "swing"), T(0, "shuffle")),
            "bass": (T(32, "walking"), T(33, "walking"), T(38, "two")),
            "electric_guitar": (T(26, "comp"), T(27, "single"), T(29, "riff")),
            "wind": (T(59, "lead"), T(66, "riff"), T(57, "stabs")),
            "other": (T(0, "comp"), T(11, "arpeggio"), T(16, "pad")),
        },
    ),
    Session(  # ballad
        *("train", 56, "major", (0, 0, 2, 2, 5, 5, 3, 4), 36960, False),
        {
            "vocals": (T(-1, "long"), T(0, "verse"), T(2, "riff")),
            "drums": (T(0, "halftime"), T(40, "rock"), T(25, "sixteen")),
            "bass": (T(33, "two"), T(32, "syncopated"), T(39, "eighths")),
            "electric_guitar": (T(27, "strum"), T(30, "single"), T(26, "arpeggio")),
            "wind": (T(68, "slow lead"), T(73, "lead"), T(61, "slow lead")),
            "other": (T(4, "arpeggio"), T(48, "pad"), T(89, "pulse")),
        },
    ),
    Session(  # disco
        *("train", 48, "minor", (0, 0, 6, 6, 5, 5, 6, 4), 30880, False),
        {
            "vocals": (T(0, "chorus"), T(2, "long"), T(-1, "riff")),
            "drums": (T(24, "house"), T(25, "funk"), T(0, "house")),
            "bass": (T(38, "octaves"), T(34, "gallop"), T(8039, "syncopated")),
            "electric_guitar": (
                *(
                    T(8028, "chops"),
                    T(28, "riff", drive=3.0),
                    T(27, "power", drive=10.0),
                ),
            ),
            "wind": (T(61, "riff"), T(64, "slow lead"), T(56, "lead")),
            "other": (T(50, "pad"), T(90, "pulse"), T(5, "offbeat")),
        },
    ),
    Session(  # validation: a mixolydian road song
        *("valid", 57, "mixolydian", (0, 0, 6, 6, 3, 3, 0, 0), 34240, False),
        {
            "vocals": (T(-3, "chorus"), T(-3, "verse")),
            "drums": (T(9, "rock"), T(33, "funk")),
            "bass": (T(36, "slap"), T(8038, "eighths")),
            "electric_guitar": (T(8025, "power", drive=12.0), T(24, "riff", drive=3.0)),
            "wind": (T(69, "lead"), T(8061, "stabs")),
            "other": (T(46, "arpeggio"), T(21, "offbeat")),
        },
    ),
    Session(  # test: another evening
        *("test", 53, "major", (5, 5, 3, 3, 0, 0, 4, 4), 33120, False),
        {
            "vocals": (T(-5, "verse"), T(-5, "chorus")),
            "drums": (T(16, "rock"), T(16, "funk")),
            "bass": (T(35, "syncopated"), T(37, "gallop")),
            "electric_guitar": (T(25, "riff", drive=3.0), T(25, "power", drive=8.0)),
            "wind": (T(71, "lead"), T(60, "slow lead")),
            "other": (T(2, "ballad keys"), T(17, "pad")),
        },
    ),
)
