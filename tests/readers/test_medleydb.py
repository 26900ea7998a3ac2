"""MedleyDB in miniature: stems and raw tracks, what is in no class, bleed, folders."""

import shutil

import pytest
import yaml

from data_pipelines.manifest import DataError
from data_pipelines.readers import read_dataset
from tests.support.layouts import MEDLEY_STEMS, write_medleydb, write_yaml

CLEAN = {key: MEDLEY_STEMS[key] for key in ("S01", "S02", "S04")}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    base = tmp_path_factory.mktemp("medley")
    write_medleydb(base)
    return write_medleydb(base, "Other_Tune", bleed="yes", stems=CLEAN)


@pytest.fixture(autouse=True)
def _few_songs(recwarn):
    """Counts of the whole set are told of every miniature; one test looks at them."""


def read(root, **options):
    return read_dataset("medleydb", str(root), **options)


def labels(collection, index=0):
    parts = collection.recordings[index].tracks
    return [(part.label, collection.class_of(part.label)) for part in parts]


def test_stems_by_instrument(root):
    collection = read(root)
    assert labels(collection) == [
        ("male singer", "vocals"),
        ("drum set", "drums"),
        ("tenor saxophone", "wind"),
    ]
    song = collection.recordings[0]
    assert song.id == "Band_Song"
    assert song.group == "Band"
    assert song.tags["genre"] == "Rock"
    assert [each.tags["has_bleed"] for each in collection.recordings] == [False, True]
    assert song.tracks[0].path == "Band_Song/Band_Song_STEMS/Band_Song_STEM_01.wav"
    assert song.mixture is None
    assert collection.default_class == "other"


def test_raw_tracks_by_instrument_and_stems_without_any(root):
    collection = read(root, level="raw")
    assert labels(collection) == [
        ("male singer", "vocals"),
        ("kick drum", "drums"),
        ("snare drum", "drums"),
        ("tambourine", "other"),
        ("Unlabeled", "other"),
        ("tenor saxophone", "wind"),
    ]
    paths = [part.path for part in collection.recordings[0].tracks]
    assert paths[1] == "Band_Song/Band_Song_RAW/Band_Song_RAW_02_01.wav"
    assert paths[-1] == "Band_Song/Band_Song_STEMS/Band_Song_STEM_04.wav"


def test_what_is_in_no_class_is_named(root):
    with pytest.warns(UserWarning, match="of no class or of several: Band") as caught:
        read(root)
    told = next(str(w.message) for w in caught if "several" in str(w.message))
    assert "STEM_03.wav (acoustic guitar + distorted electric guitar)" in told
    assert "STEM_05.wav (Main System)" in told
    # With four classes both guitars are "other".
    assert ("acoustic guitar + distorted electric guitar", "other") in labels(
        read(root, classes="four")
    )


def test_the_count_is_told(root, recwarn):
    read(root)
    told = [str(w.message) for w in recwarn]
    assert any("2 songs; the whole set has 122, or 74, or 196" in w for w in told)


def test_songs_with_bleed_may_be_left_out(root):
    assert [song.id for song in read(root, bleed=False).recordings] == ["Band_Song"]


def test_distributed_mixtures_of_complete_songs(root):
    collection = read(root, mixture=True)
    mixtures = [song.mixture and song.mixture.path for song in collection.recordings]
    assert mixtures == [None, "Other_Tune/Other_Tune_MIX.wav"]
    assert collection.mix.mode == "summing"
    with pytest.raises(DataError, match="level=stems"):
        read(root, mixture=True, level="raw")


def test_folders_of_versions_and_of_metadata(root, tmp_path):
    shutil.copytree(root / "Band_Song", tmp_path / "Audio" / "V1" / "Band_Song")
    shutil.copytree(root / "Other_Tune", tmp_path / "Audio" / "V2" / "Other_Tune")
    found = read(tmp_path)
    assert [song.id for song in found.recordings] == ["Band_Song", "Other_Tune"]
    assert found.recordings[0].tracks[0].path.startswith("V1/Band_Song/")
    for place in ("Metadata", "elsewhere"):
        for path in tmp_path.rglob("*_METADATA.yaml"):
            (tmp_path / place).mkdir(exist_ok=True)
            path.rename(tmp_path / place / path.name)
        aside = "" if place == "Metadata" else str(tmp_path / place)
        assert read(tmp_path, metadata=aside) == found


def test_exclude_and_options(root):
    assert read(root, exclude=["Band_Song"]).filters.exclude == ("Band_Song",)
    for options, told in (
        ({"exclude": ["Band_Sing"]}, "did you mean 'Band_Song'"),
        ({"level": "row"}, "did you mean 'raw'"),
        ({"classes": "7"}, "Known: eleven, four, six"),
    ):
        with pytest.raises(DataError, match=told):
            read(root, **options)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    for name in ("A_a", "B_b", "C_c", "D_d"):
        write_medleydb(tmp_path, name, stems=CLEAN)
    (tmp_path / "A_a" / "A_a_STEMS" / "A_a_STEM_01.wav").unlink()
    (tmp_path / "A_a" / "A_a_MIX.wav").unlink()
    (tmp_path / "B_b" / "B_b_METADATA.yaml").unlink()
    (tmp_path / "C_c" / "C_c_METADATA.yaml").write_text("stems: {S01: [")
    path = tmp_path / "D_d" / "D_d_METADATA.yaml"
    write_yaml(path, yaml.safe_load(path.read_text()) | {"stems": "none"})
    with pytest.raises(DataError) as caught:
        read(tmp_path, mixture=True)
    message = str(caught.value)
    for told in (
        "6 problems",
        "A_a_STEM_01.wav: no such file",
        "A_a_MIX.wav: no such file",
        "B_b_METADATA.yaml: No such file",
        "C_c_METADATA.yaml: not readable",
        "D_d: stems: names with sections are wanted, not 'none'",
        "D_d: stems: none",
    ):
        assert told in message


def test_a_folder_without_songs(tmp_path):
    (tmp_path / "Photos").mkdir()
    with pytest.raises(DataError, match=r"no songs; expected <Id>/<Id>_METADATA"):
        read(tmp_path)
