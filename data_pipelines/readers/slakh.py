"""Slakh2100: songs synthesized from MIDI files; layout in docs/datasets.md.

Metadata have UUID and stems: {S00: {inst_class, program_num, is_drum, audio_rendered,
midi_program_name, plugin_name}}. ``redux`` moved the songs whose MIDI file is there
twice to "omitted". 44.1 kHz, mono; nobody sings.

Reference:
    Manilow, Wichern, Seetharaman and Le Roux, "Cutting music source separation some
    Slakh", WASPAA 2019. http://www.slakh.com, Zenodo 4599666.
"""

import os
from collections.abc import Sequence
from pathlib import Path

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
REDUX = {"train": 1289, "validation": 270, "test": 151}
ORIGINAL = {"train": 1500, "validation": 375, "test": 225}
DRUMS = 128
KINDS = {  # by the last program of General MIDI that is of this kind
    7: "piano",
    15: "percussion",  # chromatic
    23: "other",  # organ, accordion, harmonica
    25: "acoustic_guitar",
    31: "electric_guitar",
    39: "bass",
    51: "strings",
    55: "other",  # choir, orchestra hit
    63: "brass",
    79: "woodwind",  # reed, pipe
    103: "synth",
    111: "other",  # ethnic
    119: "percussion",
    127: "other",  # effects
    128: "drums",  # drum kit
}
# Stems that are distributed without audio, by the list of problems of the package
# slakh-dataset 0.1.25.
NO_AUDIO = {("Track01876", "S01"), ("Track01908", "S05"), ("Track01993", "S01")} | {
    ("Track02024", "S13")
}


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
    if omitted:
        checks.choose("omitted", omitted, SPLITS)
    problems, unrendered, missing = [], [], []
    songs = [
        _recording(folder, split, mixture, problems, unrendered, missing)
        for name, split in (*SPLIT_OF.items(), (OMITTED, omitted))
        for folder in (_folders(base / name) if split else [])
    ]
    if not songs:
        problems.append(f"no songs; expected {'|'.join(SPLIT_OF)}/Track00001/...")
    if not partial:
        problems += [f"{one}; partial=true goes without it" for one in missing]
    collection = Collection(
        tuple(name for name in CLASSES[classes] if name != "vocals"),
        tuple(song for song in songs if song.tracks),
        name=NAME,
        root=str(base),
        label_map=checks.label_map(songs, class_of, classes),
        mix=MixRules(mode="summing") if mixture else MixRules(),
        filters=checks.excluding(exclude, [song.id for song in songs], problems),
        output=Output(channels=1),
    )
    bare = [song.id for song in songs if not song.tracks]
    counts = {name: len(_folders(base / name)) for name in SPLIT_OF}
    remarks = [checks.count_problem(counts, REDUX, ORIGINAL)]
    remarks += checks.remark("stems that were never rendered", unrendered)
    remarks += checks.remark("stems without a file", missing)
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


def _folders(path: Path) -> list[Path]:
    return subfolders(path) if path.is_dir() else []


def _recording(
    folder: Path,
    split: str,
    mixture: bool,
    problems: list[str],
    unrendered: list[str],
    missing: list[str],
) -> Recording:
    """A song; one without tracks if none of its stems has audio."""
    base, tree = folder.parent.parent, checks.read_tree(folder / METADATA, problems)
    where = f"{folder / METADATA}: stems"
    parts, complete = [], True
    for name, stem in checks.sections(tree.get("stems", {}), where, problems):
        path = _audio(folder / "stems" / name)
        drums = checks.truth(stem.get("is_drum"))
        program = DRUMS if drums else stem.get("program_num")
        if not checks.truth(stem.get("audio_rendered")):
            unrendered.append(f"{folder.name}/{name}")
        elif problem := checks.file_problem(path):
            complete = False
            if (folder.name, name) in NO_AUDIO:
                unrendered.append(f"{folder.name}/{name}")
            else:
                missing.append(problem)
        elif type(program) is not int or not 0 <= program <= DRUMS:
            problems.append(f"{where}: {name}: program_num {program!r} is not 0 to 128")
        else:
            label = f"{stem.get('inst_class', '')}/{program}"
            parts.append(Part(checks.relative(path, base), label))
    whole = None
    if mixture and complete:
        whole = checks.part(_audio(folder / "mix"), base, "", problems)
    midi = str(tree.get("UUID", ""))  # of two songs alike: the same MIDI file
    return Recording(folder.name, tuple(parts), midi, split, mixture=whole)


def _audio(stem: Path) -> Path:
    """The file: FLAC, or WAV as in the excerpt BabySlakh."""
    wav = Path(f"{stem}.wav")
    return wav if os.path.isfile(wav) else Path(f"{stem}.flac")
