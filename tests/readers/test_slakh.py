"""Slakh2100 in miniature: programs to classes, splits, and stems without audio."""

import pytest

from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset
from data_pipelines.readers.slakh import DRUMS, NO_AUDIO, ORIGINAL, REDUX, class_of
from tests.support.layouts import SLAKH_STEMS, slakh_stem, write_slakh

FIVE = ("drums", "bass", "electric_guitar", "wind", "other")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    base = tmp_path_factory.mktemp("slakh") / "slakh2100_flac_redux"
    folders = ("train", "validation", "test", "omitted")
    for index, split in enumerate(folders, start=1):
        write_slakh(base, split, f"Track0000{index}")
    return base


@pytest.fixture(autouse=True)
def _few_songs(recwarn):
    """Counts of the whole set are told of every miniature; one test looks at them."""


def read(root, **options):
    return read_dataset("slakh2100", str(root), **options)


def test_programs_are_sorted_into_classes(root):
    collection = read(root)
    assert collection.classes == FIVE
    assert dict(collection.label_map) == {
        "Bass/33": "bass",
        "Drums/128": "drums",
        "Guitar/24": "other",
        "Guitar/27": "electric_guitar",
        "Pipe/73": "wind",
    }
    song = collection.recordings[0]
    assert song.tracks[0].path == "train/Track00001/stems/S00.flac"
    assert song.group == "midi of Track00001"
    assert song.mixture is None


@pytest.mark.parametrize(
    ("programs", "kind"),
    [
        (range(0, 8), "piano"),
        (range(24, 32), "guitar"),
        (range(32, 40), "bass"),
        (range(40, 52), "strings"),
        (range(56, 64), "brass"),
        (range(64, 80), "woodwind"),
        (range(80, 104), "synth"),
        ([DRUMS], "drums"),
    ],
)
def test_general_midi(programs, kind):
    assert {class_of(f"x/{program}", "eleven") for program in programs} == {kind}


def test_class_sets_of_programs():
    six = {program: class_of(f"x/{program}") for program in range(129)}
    assert [p for p, name in six.items() if name == "electric_guitar"] == [
        *range(26, 32)
    ]
    assert [p for p, name in six.items() if name == "wind"] == [*range(56, 80)]
    assert set(six.values()) == set(FIVE)
    four = {class_of(f"x/{program}", "four") for program in range(129)}
    assert four == {"drums", "bass", "other"}


def test_official_splits(root):
    splits = {song.id: song.split for song in read(root).recordings}
    assert splits == {"Track00001": "train", "Track00002": "valid"} | {
        "Track00003": "test"
    }
    assert read(root, omitted="train").recordings[-1].split == "train"
    with pytest.raises(DataError, match="did you mean 'train'"):
        read(root, omitted="training")


def test_the_folder_above_may_be_named(root):
    assert read(root.parent) == read(root)


def test_counts_and_stems_that_were_never_rendered_are_told(root, recwarn):
    read(root)
    told = " ".join(str(w.message) for w in recwarn)
    assert "train 1, validation 1, test 1 songs; the whole set has train 1289" in told
    assert "never rendered: Track00001/S05, Track00002/S05, Track00003/S05" in told


def test_counts_of_both_editions():
    assert sum(REDUX.values()) == 1710
    assert sum(ORIGINAL.values()) == 2100


def test_mixture(root):
    collection = read(root, mixture=True)
    assert collection.recordings[0].mixture.path == "train/Track00001/mix.flac"
    assert collection.mix.mode == "summing"


def test_missing_stems_are_an_error_or_named(tmp_path):
    write_slakh(tmp_path)
    write_slakh(tmp_path, "test", "Track00002")
    (tmp_path / "train" / "Track00001" / "stems" / "S02.flac").unlink()
    with pytest.raises(DataError, match=r"S02.flac: no such file.*partial=true"):
        read(tmp_path)
    with pytest.warns(UserWarning, match=r"stems without a file: .*Track00001.*S02"):
        collection = read(tmp_path, partial=True, mixture=True)
    first, second = collection.recordings
    assert len(first.tracks) == 4
    assert first.mixture is None  # what is distributed has the missing stem in it
    assert second.mixture is not None


def test_stems_that_nobody_has(tmp_path, recwarn):
    name, stem = min(NO_AUDIO)
    stems = {stem: SLAKH_STEMS["S00"], "S09": SLAKH_STEMS["S02"]}
    write_slakh(tmp_path, "train", name, stems)
    (tmp_path / "train" / name / "stems" / f"{stem}.flac").unlink()
    assert len(read(tmp_path).recordings[0].tracks) == 1
    assert any(f"never rendered: {name}/{stem}" in str(w.message) for w in recwarn)


def test_wav_files_as_in_babyslakh(tmp_path):
    write_slakh(tmp_path, suffix="wav")
    song = read(tmp_path, mixture=True).recordings[0]
    assert {part.path[-4:] for part in (*song.tracks, song.mixture)} == {".wav"}


def test_songs_without_a_stem_are_named(tmp_path):
    write_slakh(tmp_path)
    write_slakh(
        tmp_path,
        "train",
        "Track00002",
        {"S00": slakh_stem("Bass", 33) | {"audio_rendered": False}},
    )
    with pytest.warns(UserWarning, match="songs without a stem: Track00002"):
        assert len(read(tmp_path).recordings) == 1


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    stems = {
        "S00": slakh_stem("Guitar", 129),
        "S01": slakh_stem("Guitar", None),
        "S02": slakh_stem("Bass", 33),
    }
    write_slakh(tmp_path, "train", "Track00001", stems)
    write_slakh(tmp_path, "train", "Track00002")
    write_slakh(tmp_path, "train", "Track00003")
    (tmp_path / "train" / "Track00001" / "mix.flac").unlink()
    (tmp_path / "train" / "Track00002" / "metadata.yaml").unlink()
    (tmp_path / "train" / "Track00003" / "metadata.yaml").write_text("stems: [S00]")
    with pytest.raises(DataError) as caught:
        read(tmp_path, mixture=True, exclude=["Track00009"])
    message = str(caught.value)
    for told in (
        "S00: program_num 129 is not 0 to 128",
        "S01: program_num None is not 0 to 128",
        "mix.flac: no such file",
        "Track00002/metadata.yaml: No such file",
        "names with sections are wanted, not ['S00']",
        "exclude: no song 'Track00009'",
        "6 problems",
    ):
        assert told in message
    assert "Track00002/mix.flac" not in message


def test_a_folder_without_songs(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"no songs; expected train\|validation\|test"):
        read(tmp_path)
