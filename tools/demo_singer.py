"""The singer: melodies as MusicXML with Japanese syllables, sung by pysinsy.

The voice is nitech_jp_song070_f001 (Nagoya Institute of Technology, CC BY 3.0).
Other singers are made of it by resampling: pitch and formants move together.
"""

import tempfile
from pathlib import Path

import numpy as np
import soxr
from demo_arrangements import Note
from demo_effects import compress, high_pass
from pysinsy import get_default_dic_dir, get_default_htsvoice
from pysinsy.sinsy import Sinsy

SYLLABLES = (
    "らりるれろまみむめもさせそなにぬねのかけこたてとあいうえおわやよ"  # none devoiced
)
CLEAR, TRIES = 4.5, 10
NAMES = "C C# D D# E F F# G G# A A# B".split()


def sing(
    notes: list[Note], shift: int, bar: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """A loop of four bars; the melody must end with a rest.

    The statistical voice whispers some syllables: they are replaced until they sound.
    It sings some notes up to two semitones off: they are retuned.
    """
    lyrics = [note._replace(pitch=note.pitch - shift) for note in notes]
    syllables = [SYLLABLES[rng.integers(len(SYLLABLES))] for _ in notes]
    best, wave = -1.0, np.zeros(0)
    for _ in range(TRIES):
        sung = _synthesize(lyrics, syllables, 2 ** (shift / 12), bar, sample_rate)
        heard = [_listen(sung, note, bar, sample_rate) for note in notes]
        if min(clarity for _, clarity in heard) > best:
            best, wave = min(clarity for _, clarity in heard), sung
            sharp = [deviation for deviation, _ in heard]
        if best >= CLEAR:
            break
        for i, (_, clarity) in enumerate(heard):
            if clarity < CLEAR:
                syllables[i] = SYLLABLES[rng.integers(len(SYLLABLES))]
    wave = _tune(wave, notes, sharp, bar, sample_rate)
    return compress(wave, sample_rate)


def _synthesize(
    notes: list[Note], syllables: list[str], speed: float, bar: int, sample_rate: int
) -> np.ndarray:
    """Sing at a tempo and pitch that playing at ``speed`` brings to what is wanted."""
    bpm = 4 * 60 * sample_rate / bar / speed
    singer = Sinsy()
    singer.setLanguages("j", get_default_dic_dir())
    singer.loadVoices(get_default_htsvoice())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.xml"
        path.write_text(musicxml(notes, syllables, bpm), encoding="utf-8")
        singer.loadScoreFromMusicXML(str(path))
        wave, voice_rate = singer.synthesize()
    wave = soxr.resample(np.asarray(wave, float), voice_rate * speed, sample_rate)
    loop = np.zeros(4 * bar)
    for start in range(0, len(wave), len(loop)):  # the tail sounds over the start
        part = wave[start : start + len(loop)]
        loop[: len(part)] += part
    return high_pass(np.roll(loop, -bar), 140.0, sample_rate)


def _listen(
    wave: np.ndarray, note: Note, bar: int, sample_rate: int
) -> tuple[float, float]:
    """By how many semitones a note is sharp, and how clear its harmonics are.

    The comb of eight harmonics that holds most, against what lies between them.
    """
    center = bar * (2 * note.start + note.length) // 96
    half = min(bar * note.length // 160, sample_rate // 8)
    frame = np.take(wave, np.arange(center - half, center + half), mode="wrap")
    size = 1 << 17
    spectrum = np.abs(np.fft.rfft(frame * np.hanning(len(frame)), size)) ** 0.5
    steps = np.arange(-4, 4.01, 0.05)
    comb = 440 * 2 ** ((note.pitch - 69 + steps) / 12) * size / sample_rate
    order = np.arange(1, 9)[:, None]
    harmonic = spectrum[(comb * order).round().astype(int)].sum(0)
    between = spectrum[(comb * (order - 0.5)).round().astype(int)].sum(0)
    best = (harmonic - between).argmax()
    return float(steps[best]), float(harmonic[best] / between[best])


def _tune(
    wave: np.ndarray, notes: list[Note], sharp: list[float], bar: int, sample_rate: int
) -> np.ndarray:
    """Play each note at the speed that corrects it, with a vibrato, and cross-fade."""
    fine, frames, fade = 4, len(wave), sample_rate // 50
    upsampled = fine * np.fft.irfft(np.fft.rfft(wave), fine * frames)
    cycles = round(5.6 * frames / sample_rate)  # a whole number: the loop has no seam
    depth = 0.25 / 12 * np.log(2) * frames / (2 * np.pi * cycles)  # a quarter semitone
    tuned = np.zeros(frames)
    starts = [bar * note.start // 48 for note in notes]
    for i, note in enumerate(notes):
        begin = starts[i]
        end = starts[i + 1] if i + 1 < len(notes) else starts[0] + frames
        time = np.arange(begin - fade, end + fade)
        window = np.clip((np.arange(len(time)) + 0.5) / (2 * fade), 0, 1)
        window = np.minimum(window, window[::-1])
        offset = time - (begin + bar * note.length // 96)
        # Rests do not matter, and far from the note's middle the error would grow.
        offset = np.clip(offset, -bar * note.length // 80, bar * note.length // 80)
        moved = time + (2 ** (-sharp[i] / 12) - 1) * offset
        moved = moved + depth * np.sin(2 * np.pi * cycles * time / frames)
        place = np.floor(moved * fine).astype(int)
        part = moved * fine - place
        left, right = (upsampled[(place + k) % (fine * frames)] for k in (0, 1))
        np.add.at(tuned, time % frames, window * (left + part * (right - left)))
    return tuned


def musicxml(notes: list[Note], syllables: list[str], bpm: float) -> str:
    """A score of four 4/4 bars between bars of rest, twelve divisions a quarter.

    Without the first rest the singer would take one, and the loop would be late.
    """
    bars = [[] for _ in range(6)]
    for note, syllable in zip(notes, syllables):
        bars[1 + note.start // 48].append((note, syllable))
    measures = "".join(
        f'<measure number="{i + 1}">{_head(bpm) if i == 0 else ""}'
        f"{_measure(bar, 48 * (i - 1))}</measure>"
        for i, bar in enumerate(bars)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><score-partwise version="2.0">'
        '<part-list><score-part id="P1"><part-name>voice</part-name></score-part>'
        f'</part-list><part id="P1">{measures}</part></score-partwise>'
    )


def _head(bpm: float) -> str:
    return (
        "<attributes><divisions>12</divisions><key><fifths>0</fifths>"
        "<mode>major</mode></key><time><beats>4</beats><beat-type>4</beat-type></time>"
        "<clef><sign>G</sign><line>2</line></clef></attributes>"
        f'<direction><sound tempo="{bpm:.6f}"/></direction>'
    )


def _measure(sung: list[tuple[Note, str]], origin: int) -> str:
    parts, now = [], origin
    for note, syllable in sung:
        parts.append(_rest(note.start - now))
        parts.append(_sung(note, syllable))
        now = note.start + note.length
    return "".join([*parts, _rest(origin + 48 - now)])


def _rest(length: int) -> str:
    if not length:
        return ""
    return f"<note><rest/><duration>{length}</duration><voice>1</voice></note>"


def _sung(note: Note, syllable: str) -> str:
    name = NAMES[note.pitch % 12]
    alter = "<alter>1</alter>" if len(name) > 1 else ""
    return (
        f"<note><pitch><step>{name[0]}</step>{alter}"
        f"<octave>{note.pitch // 12 - 1}</octave></pitch>"
        f"<duration>{note.length}</duration><voice>1</voice>"
        f"<lyric><syllabic>single</syllabic><text>{syllable}</text></lyric></note>"
    )
