"""Names of instruments, their kinds, and the class sets that the kinds make."""

import pytest

from data_pipelines.readers.labels import (
    _NAMES,
    CLASSES,
    ELEVEN,
    FOUR,
    KINDS,
    SIX,
    TO_CLASSES,
    instruments,
    kind_of,
    normalize,
)
from sepjax.configs import chapter4, chapter6

# All instruments in the metadata of MedleyDB, but for "Main System" and "Unlabeled".
MEDLEYDB = """
accordion, acoustic guitar, alto saxophone, auxiliary percussion, bamboo flute, banjo,
baritone saxophone, bass clarinet, bass drum, bassoon, bongo, brass section, cabasa,
castanet, cello, cello section, chimes, choir, claps, clarinet, clarinet section,
clean electric guitar, cornet, cowbell, crowd, cymbal, darbuka, dilruba,
distorted electric guitar, dizi, double bass, doumbek, drum machine, drum set,
electric bass, electric piano, electronic organ, erhu, euphonium, female singer,
female speaker, flute, flute section, french horn, french horn section,
fx/processed sound, glockenspiel, gong, gu, guiro, guzheng, harmonica, harp, high hat,
horn section, kick drum, lap steel guitar, liuqin, male rapper, male screamer,
male singer, male speaker, mandolin, melodica, oboe, oud, piano, piccolo, sampler,
scratches, shaker, sitar, sleigh bells, snaps, snare drum, soprano saxophone,
string section, synthesizer, tabla, tack piano, tambourine, tenor saxophone, timpani,
toms, trombone, trombone section, trumpet, trumpet section, tuba, vibraphone, viola,
viola section, violin, violin section, vocalists, whistle, woodwind section, yangqin,
zhongruan
"""


def test_class_sets_are_those_of_the_configurations():
    assert chapter4.CLASSES == SIX
    assert chapter6.CLASSES == FOUR
    assert len(ELEVEN) == 11


@pytest.mark.parametrize("name", CLASSES)
def test_every_kind_has_a_class_and_every_class_a_kind(name):
    assert set(TO_CLASSES[name]) == set(KINDS)
    assert set(TO_CLASSES[name].values()) == set(CLASSES[name])


def test_six_classes_are_made_of_eleven():
    assert TO_CLASSES["six"]["brass"] == TO_CLASSES["six"]["woodwind"] == "wind"
    assert TO_CLASSES["six"]["electric_guitar"] == "electric_guitar"
    others = {"acoustic_guitar", "piano", "synth", "strings", "percussion", "other"}
    assert {
        kind for kind, name in TO_CLASSES["six"].items() if name == "other"
    } == others
    assert (
        TO_CLASSES["eleven"]["acoustic_guitar"]
        == TO_CLASSES["eleven"]["electric_guitar"]
        == "guitar"
    )
    assert (
        TO_CLASSES["four"]["electric_guitar"] == TO_CLASSES["four"]["brass"] == "other"
    )


def test_every_instrument_has_a_known_kind():
    assert set(instruments().values()) == set(KINDS)
    # No name is listed twice.
    assert len(instruments()) == _NAMES.count(",") + len(KINDS)
    # What is in the table is found under its own name, whatever it contains.
    assert all(kind_of(name) == kind for name, kind in instruments().items())
    assert all(normalize(name) == name for name in instruments())
    assert all(kind_of(kind) == kind for kind in KINDS)


def test_medleydb_is_known_word_for_word():
    names = [" ".join(name.split()) for name in MEDLEYDB.split(",")]
    assert [name for name in names if name not in instruments()] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Lead Male Singer", "vocals"),
        ("drum_kit 2", "drums"),
        ("bass drum", "drums"),
        ("BASS (DI)", "bass"),
        ("12-string guitar", "acoustic_guitar"),
        ("lap steel guitar or slide guitar", "electric_guitar"),
        ("english horn", "woodwind"),
        ("electric-piano", "piano"),
        ("electric_guitar", "electric_guitar"),
        ("steel drums", "percussion"),
        ("synth bass", "bass"),
        ("guitar", ""),
        ("rhythm guitar", ""),
        ("viola and violin", "strings"),
        ("violin and piano", ""),
        ("string section (left)", "strings"),
        ("", ""),
        ("42", ""),
    ],
)
def test_kinds_by_name(name, kind):
    assert kind_of(name) == kind
