"""Collections as files: what is written is read, and mistakes are named."""

import pytest

from data_pipelines.collections.collection import (
    Collection,
    Filters,
    Interval,
    MixRules,
    Output,
    Part,
    Recording,
    SplitRules,
)
from data_pipelines.collections.file import read_collection, write_collection
from data_pipelines.manifest import DataError

# All fields of the format, with values that are none of the defaults.
EVERYTHING = """
version: 1
classes: [vocal, drum, other]
label_map: {lead male singer: vocal, "909": drum}
default_class: other
mix: {mode: summing, beta: always, guard: all, dtype: float32}
recordings:
- id: concert07
  group: tour
  split: null
  tags: {crowd: high, genre: jazz, year: 2018, date: 2018-07-03}
  sample_rate: 48000
  tracks:
  - {path: raw/kick.wav, label: drum, channels: mean, gain_db: -3, start: 1.5}
  - {path: Ünder.mp4, label: lead male singer, stream: 2}
  mixture: {path: mix.wav}
  intervals:
  - {name: song01, start: 12.5, end: 260.0}
  - {name: song02, start: 260, end: null}
filters: {require_classes: [drum], min_active_seconds: 5, exclude: []}
splits: {seed: 7, by: group, stratify: crowd, counts: {train: 88, test: 52}}
output: {layout: musdb, rate: 48000, subtype: PCM_24, channels: 2}
"""


def write(folder, text, name="mine.yaml"):
    folder.joinpath(name).write_text(text, encoding="utf-8")
    return folder / name


def test_every_field_is_read(tmp_path):
    kick = Part("raw/kick.wav", "drum", "mean", -3.0, 1.5)
    voice = Part("Ünder.mp4", "lead male singer", stream=2)
    intervals = Interval("song01", 12.5, 260.0), Interval("song02", 260.0, None)
    concert = Recording(
        *("concert07", (kick, voice), "tour", ""),
        tags={"crowd": "high", "genre": "jazz", "year": 2018, "date": "2018-07-03"},
        sample_rate=48000,
        mixture=Part("mix.wav"),
        intervals=intervals,
    )
    assert read_collection(write(tmp_path, EVERYTHING)) == Collection(
        classes=("vocal", "drum", "other"),
        recordings=(concert,),
        root=str(tmp_path),
        label_map={"lead male singer": "vocal", "909": "drum"},
        default_class="other",
        mix=MixRules("summing", "always", "all", "float32"),
        filters=Filters(("drum",), 5.0, exclude=()),
        splits=SplitRules(7, "group", "crowd", {"train": 88, "test": 52}),
        output=Output("musdb", 48000, "PCM_24", 2),
    )


@pytest.mark.parametrize("name", ["a.yaml", "a.jsonl", "deep/down/a.json"])
def test_what_is_written_is_read(tmp_path, name):
    mine = read_collection(write(tmp_path, EVERYTHING))
    again = read_collection(write_collection(mine, tmp_path / name))
    assert again == mine
    assert again.digest() == mine.digest()


def test_the_digest_ignores_where_files_lie(tmp_path):
    (tmp_path / "moved").mkdir()
    here, there = (
        read_collection(write(folder, EVERYTHING))
        for folder in (tmp_path, tmp_path / "moved")
    )
    assert here != there
    assert here.digest() == there.digest()


MISTAKES = {
    ("classes: [vocal", "clases: [vocal"): "did you mean 'classes'",
    ("mode: summing", "mode: suming"): "mix.mode='suming' must be one of",
    ("gain_db: -3", "gain_db: loud"): "gain_db: float is wanted, not 'loud'",
    ("default_class: other", "default_class: null"): None,
    ("label: drum, channels", "label: dram, channels"): None,
    ("start: 260,", "start: 250,"): "overlaps",
    ("id: concert07", "id: ../up"): "name of a folder",
    ("train: 88", "training: 88"): "must be one of train, valid, test",
    ("[drum]", "[drums]"): "did you mean 'drum'",
    ("tracks:\n", "tracks: 5\n  x:\n"): "a list is wanted",
    ("dtype: float32", "dtype: int16"): "int16 has 16 bits",
    ("channels: mean", "channels: both"): "keep, mean, left, right",
    ("stratify: crowd", "stratify: crwod"): "did you mean 'crowd'",
    ("exclude: []", "exclude: [concert7]"): "did you mean 'concert07'",
    ("test: 52", "test: -5"): "0 or more, or -1",
    ("test: 52}", "test: 52}, keep: {test: -2}"): "0 or more, or -1",
    ("gain_db: -3", "gain_db: .nan"): "a finite number is wanted",
    ("require_classes: [drum]", "require_classes: 5"): "'all' or a list",
    ("mode: summing", "mode: adaptive"): "a distributed mixture stays",
}


@pytest.mark.parametrize(("change", "message"), MISTAKES.items())
def test_mistakes_are_named(tmp_path, change, message):
    assert change[0] in EVERYTHING
    file = write(tmp_path, EVERYTHING.replace(*change))
    if message is None:  # not a mistake: the default class takes what nothing maps
        read_collection(file)
        return
    with pytest.raises(DataError, match=str(file)) as caught:
        read_collection(file)
    assert message in str(caught.value)


def test_labels_that_nothing_maps_are_mistakes_without_a_default(tmp_path):
    text = EVERYTHING.replace("default_class: other\n", "")
    file = write(tmp_path, text.replace("label: drum,", "label: dram,"))
    with pytest.raises(DataError, match=r"raw/kick.wav: label 'dram'.*mean 'drum'"):
        read_collection(file)


def test_all_mistakes_are_told_at_once(tmp_path):
    text = EVERYTHING.replace("dtype: float32", "dtype: float").replace(
        "by: group", "by: artist"
    )
    with pytest.raises(DataError, match="2 problems"):
        read_collection(write(tmp_path, text))


def test_lines_that_are_no_json_are_named(tmp_path):
    file = write(tmp_path, '{"classes": ["a"]}\n{"id": \n', "a.jsonl")
    with pytest.raises(DataError, match="line 2 is not JSON"):
        read_collection(file)
    with pytest.raises(DataError, match="No such file"):
        read_collection(tmp_path / "none.yaml")
