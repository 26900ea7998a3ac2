"""What an instrument is called, and the class it is sorted into.

Instruments have one of twelve kinds: the eleven categories of the thesis with its
guitars divided, as its chapter 4 needs them. Kinds make the class sets: ``SIX`` of
chapter 4, ``FOUR`` of MUSDB18 and chapter 6, ``ELEVEN`` as they were. Percussion is
what is struck but belongs to no drum kit; with six and with four classes it is "other",
as in chapter 4.
"""

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType

SIX = ("vocals", "drums", "bass", "electric_guitar", "wind", "other")
FOUR = ("vocals", "drums", "bass", "other")
_OTHERS = ("piano", "synth", "strings", "brass", "woodwind", "percussion", "other")
ELEVEN = ("vocals", "drums", "bass", "guitar", *_OTHERS)
KINDS = ("vocals", "drums", "bass", "acoustic_guitar", "electric_guitar", *_OTHERS)
CLASSES = {"six": SIX, "four": FOUR, "eleven": ELEVEN}  # by the name of an option

_WIDER = {"brass": "wind", "woodwind": "wind"}
_WIDER |= {"acoustic_guitar": "guitar", "electric_guitar": "guitar"}
TO_CLASSES = {
    name: {
        kind: next(one for one in (kind, _WIDER.get(kind), "other") if one in classes)
        for kind in KINDS
    }
    for name, classes in CLASSES.items()
}
"""Name of a set of classes -> kind -> class."""

# Names as MedleyDB, MoisesDB, General MIDI and shops of karaoke tracks spell them.
_NAMES = """
vocals: vocals, vocal, voice, voices, vox, singer, male singer, female singer, vocalist,
    vocalists, choir, human choir, backing vocals, background vocals, lead vocals,
    rapper, male rapper, female rapper, rap, speaker, male speaker, female speaker,
    screamer, male screamer, female screamer, beatboxing, vocoder, spoken word;
drums: drums, drum, drum set, drum kit, drumkit, full acoustic drumkit, kick, kick drum,
    bass drum, snare, snare drum, tom, toms, cymbal, cymbals, high hat, hi hat, hihat,
    overhead, overheads, drum machine, electronic drums, drum loop;
bass: bass, bass guitar, electric bass, acoustic bass, double bass, upright bass,
    contrabass, double bass section, synth bass, bass synth, bass synthesizer, fretless
    bass, slap bass;
acoustic_guitar: acoustic guitar, classical guitar, nylon guitar, nylon string guitar,
    steel string guitar, spanish guitar, flamenco guitar, folk guitar, acoustic rhythm
    guitar, acoustic lead guitar, twelve string guitar, 12 string guitar;
electric_guitar: electric guitar, clean electric guitar, distorted electric guitar,
    clean guitar, distorted guitar, distortion guitar, overdriven guitar, lead guitar,
    jazz guitar, lap steel, lap steel guitar, slide guitar, pedal steel, pedal steel
    guitar, steel guitar, muted guitar, guitar harmonics;
piano: piano, grand piano, acoustic piano, upright piano, tack piano, electric piano,
    rhodes, wurlitzer, harpsichord, clavinet, clavi;
synth: synth, synthesizer, synths, synth pad, synth lead, synth strings, synth brass,
    keyboard, keyboards, pad, mellotron, theremin, vocaloid;
strings: strings, bowed strings, string section, violin, violins, violin section, viola,
    violas, viola section, cello, cellos, cello section, fiddle, erhu, dilruba, string
    quartet, string orchestra;
brass: brass, brass section, trumpet, trumpets, trumpet section, cornet, flugelhorn,
    trombone, trombones, trombone section, bass trombone, french horn, french horn
    section, horn, horns, horn section, tuba, euphonium, sousaphone;
woodwind: woodwind, woodwinds, woodwind section, wind, winds, reeds, flutes, flute,
    flute section, alto flute, bamboo flute, dizi, piccolo, recorder, pan flute,
    panpipes, ocarina, whistle, tin whistle, shakuhachi, saxophone, saxophones, sax,
    alto saxophone, alto sax, tenor saxophone, tenor sax, soprano saxophone, soprano
    sax, baritone saxophone, baritone sax, saxophone section, clarinet, clarinet
    section, bass clarinet, oboe, english horn, bassoon, bagpipe, bagpipes, duduk;
percussion: percussion, auxiliary percussion, atonal percussion, pitched percussion,
    shaker, tambourine, maracas, claps, clap, hand claps, snaps, finger snaps, cowbell,
    conga, congas, bongo, bongos, djembe, tabla, darbuka, doumbek, cajon, timpani,
    timbales, cabasa, castanet, castanets, guiro, chimes, triangle, gong, gu, sleigh
    bells, bells, tubular bells, glockenspiel, vibraphone, marimba, xylophone, wood
    block, woodblock, agogo, steel drums, taiko, rattle, mallets;
other: other, others, organ, electric organ, electronic organ, hammond organ, church
    organ, accordion, concertina, harmonica, melodica, banjo, mandolin, ukulele, harp,
    dulcimer, bouzouki, balalaika, sitar, oud, koto, shamisen, guzheng, liuqin, yangqin,
    zhongruan, kalimba, sampler, samples, scratches, turntable, fx, fx/processed sound,
    sound effects, effects, crowd, applause
"""


@functools.cache
def instruments() -> Mapping[str, str]:
    """Names of instruments in lower case -> kind.

    Example:
        >>> instruments()["alto saxophone"], instruments()["kick drum"]
        ('woodwind', 'drums')
    """
    by_kind = [entry.partition(":")[::2] for entry in _NAMES.split(";")]
    return MappingProxyType(
        {
            " ".join(name.split()): kind.strip()
            for kind, names in by_kind
            for name in names.split(",")
        }
    )


def normalize(name: str) -> str:
    """A name in lower case, words apart, without number at its end or brackets.

    Example:
        >>> normalize("Kick_Drum 02"), normalize("Electric-Guitar (left)")
        ('kick drum', 'electric guitar')
    """
    words = re.sub(r"\([^)]*\)|[_\-]+", " ", name.lower())
    return re.sub(r"[\s\d#]+$", "", " ".join(words.split()))


def kind_of(name: str) -> str:
    """Return the kind of an instrument by name, "" if no name in the table fits.

    Any other name has the kind of the table's names that it contains, if these agree;
    of two such names, one inside the other, the longer counts.

    Example:
        >>> kind_of("Lead Male Singer"), kind_of("bass drum 2"), kind_of("guitar")
        ('vocals', 'drums', '')
        >>> kind_of("soft electric guitar left"), kind_of("violin and piano")
        ('electric_guitar', '')
    """
    known, plain = instruments(), normalize(name)
    if plain in known:
        return known[plain]
    words = plain.split()
    spans = [
        (i, j)
        for i in range(len(words))
        for j in range(i + 1, len(words) + 1)
        if " ".join(words[i:j]) in known
    ]
    kinds = {
        known[" ".join(words[i:j])]
        for i, j in spans
        if not any(k <= i and j <= n and (k, n) != (i, j) for k, n in spans)
    }
    return kinds.pop() if len(kinds) == 1 else ""
