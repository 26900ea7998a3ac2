"""Slakh2100: 2100 songs synthesized from MIDI files, a stem for each instrument.

::

    [slakh2100_flac_redux/]{train,validation,test,omitted}/Track00001/metadata.yaml
    .../Track00001/mix.flac
    .../Track00001/stems/S00.flac

Metadata have UUID and stems: {S00: {inst_class, program_num, is_drum, audio_rendered,
midi_program_name, plugin_name}}. ``redux`` moved the songs whose MIDI file is there
twice to "omitted". 44.1 kHz, mono; nobody sings.

======= ============================ ========================= =======
program General MIDI                 kind                      of six
======= ============================ ========================= =======
0-7     piano                        piano                     other
8-15    chromatic percussion         percussion                other
16-23   organ, accordion, harmonica  other                     other
24-25   acoustic guitar              acoustic_guitar           other
26-31   electric guitar              electric_guitar           electric_guitar
32-39   bass                         bass                      bass
40-51   strings                      strings                   other
52-55   choir, orchestra hit         other                     other
56-63   brass                        brass                     wind
64-79   reed, pipe                   woodwind                  wind
80-103  synth                        synth                     other
104-127 ethnic, percussive, effects  other, percussion, other  other
128     drum kit                     drums                     drums
======= ============================ ========================= =======

Licence:
    CC BY 4.0.

Reference:
    Manilow, Wichern, Seetharaman and Le Roux, "Cutting music source separation some
    Slakh", WASPAA 2019. http://www.slakh.com, Zenodo 4599666.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipelines.audio.files import subfolders
from data_pipelines.collections.collection import (
    Collection,
    MixRules,
    Output,
    Part,
    Recording,
)
from data_pipelines.manifest import SPLITS
from data_pipelines.readers import checks
from data_pipelines.readers.labels import CLASSES, TO_CLASSES

NAME = "slakh2100"
FOLDERS = ("slakh2100_flac_redux", "slakh2100_flac", "slakh2100")
SPLIT_OF = {"train": "train", "validation": "valid", "test": "test"}  # by folder
OMITTED = "omitted"
METADATA = "metadata.yaml"
RATE = 44100  # Hz
REDUX = {"train": 1289, "validation": 270, "test": 151}
ORIGINAL = {"train": 1500, "validation": 375, "test": 225}
DRUMS = 128
KINDS = {  # by the last program that is of this kind
    7: "piano",
    15: "percussion",
    23: "other",
    25: "acoustic_guitar",
    31: "electric_guitar",
    39: "bass",
    51: "strings",
    55: "other",
    63: "brass",
    79: "woodwind",
    103: "synth",
    111: "other",
    119: "percussion",
    127: "other",
    128: "drums",
}
# Stems that are distributed without audio, by the list of problems of the package
# slakh-dataset 0.1.25.
NO_AUDIO = {("Track01876", "S01"), ("Track01908", "S05"), ("Track01993", "S01")} | {
    ("Track02024", "S13")
}


class _Left(NamedTuple):
    """Stems that are left out."""

    unrendered: list[str]
    missing: list[str]


def read_slakh2100(
    root: str,
    *,
    classes: str = "six",
    mixture: bool = False,
    omitted: str = "",
    exclude: Sequence[str] = (),
    partial: bool = False,
) -> Collection:
    """Read the songs of Slakh2100; the label of a stem is "inst_class/program_num".

    Args:
        root: the folder of train, validation and test, or the one above it.
        classes: "six" (chapter 4 of the thesis), "four" or "eleven", each without
            vocals.
        mixture: take mix.flac, not the sum of the stems.
        omitted: the split that the songs of "omitted" go to. Their MIDI files are those
            of other songs, perhaps of another split; they are left out by default.
        exclude: songs to leave out, as "Track00001".
        partial: a stem whose file is missing is left out with a warning; by default it
            is an error. Stems that were never rendered are always left out.

    Raises:
        DataError: every file that is missing or not understood.
    """
    checks.choose("classes", classes, CLASSES)
    base = checks.open_root(root, NAME, FOLDERS)
    places = dict(SPLIT_OF)
    if omitted:
        places[OMITTED] = checks.choose("omitted", omitted, SPLITS)
    problems, left = [], _Left([], [])
    songs = [
        _recording(folder, split, mixture, problems, left)
        for name, split in places.items()
        if (base / name).is_dir()
        for folder in subfolders(base / name)
    ]
    if not songs:
        problems.append(f"no songs; expected {'|'.join(SPLIT_OF)}/Track00001/...")
    if not partial:
        problems += [f"{one}; partial=true goes without it" for one in left.missing]
    labels = sorted({part.label for song in songs for part in song.tracks})
    collection = Collection(
        tuple(name for name in CLASSES[classes] if name != "vocals"),
        tuple(song for song in songs if song.tracks),
        name=NAME,
        root=str(base),
        label_map={label: class_of(label, classes) for label in labels},
        mix=MixRules(mode="summing") if mixture else MixRules(),
        filters=checks.excluding(exclude, [song.id for song in songs], problems),
        output=Output(rate=RATE, channels=1),
    )
    bare = [song.id for song in songs if not song.tracks]
    counts = {
        name: len(subfolders(base / name)) if (base / name).is_dir() else 0
        for name in SPLIT_OF
    }
    remarks = [checks.count_problem(counts, REDUX, ORIGINAL)]
    remarks += checks.remark("stems that were never rendered", left.unrendered)
    remarks += checks.remark("stems without a file", left.missing)
    remarks += checks.remark("songs without a stem", bare)
    return checks.conclude(collection, problems, remarks)


def class_of(label: str, classes: str = "six") -> str:
    """The class of a label "inst_class/program_num".

    Example:
        >>> class_of("Guitar/27"), class_of("Guitar/24"), class_of("Drums/128")
        ('electric_guitar', 'other', 'drums')
        >>> class_of("Reed/66"), class_of("Reed/66", "eleven")
        ('wind', 'woodwind')
    """
    program = int(label.rpartition("/")[2])
    last = next(last for last in KINDS if program <= last)
    return TO_CLASSES[classes][KINDS[last]]


def _recording(
    folder: Path, split: str, mixture: bool, problems: list[str], left: _Left
) -> Recording:
    """A song; one without tracks if none of its stems has audio."""
    base, tree = folder.parent.parent, checks.read_tree(folder / METADATA, problems)
    where = f"{folder / METADATA}: stems"
    parts, complete = [], True
    for name, stem in checks.sections(tree.get("stems", {}), where, problems):
        path = _audio(folder / "stems" / name)
        if not checks.truth(stem.get("audio_rendered")):
            left.unrendered.append(f"{folder.name}/{name}")
        elif problem := checks.file_problem(path):
            known = (folder.name, name) in NO_AUDIO
            (left.unrendered if known else left.missing).append(
                f"{folder.name}/{name}" if known else problem
            )
            complete = False
        elif not 0 <= (program := _program(stem)) <= DRUMS:
            shown = stem.get("program_num")
            problems.append(f"{where}: {name}: program_num {shown!r} is not 0 to 128")
        else:
            label = f"{stem.get('inst_class', '')}/{program}"
            parts.append(Part(checks.relative(path, base), label))
    whole = None
    if mixture and complete:
        path = _audio(folder / "mix")
        problems += filter(None, [checks.file_problem(path)])
        whole = Part(checks.relative(path, base))
    midi = str(tree.get("UUID", ""))  # of two songs alike: the same MIDI file
    return Recording(folder.name, tuple(parts), midi, split, mixture=whole)


def _audio(stem: Path) -> Path:
    """The file: FLAC, or WAV as in the excerpt BabySlakh."""
    wav = stem.with_suffix(".wav")
    return wav if wav.is_file() else stem.with_suffix(".flac")


def _program(stem: dict[str, Any]) -> int:
    """The General MIDI program, 128 for drums; -1: not readable."""
    if checks.truth(stem.get("is_drum")):
        return DRUMS
    program = stem.get("program_num")
    return program if isinstance(program, int) else -1
