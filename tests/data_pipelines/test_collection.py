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


@pytest.mark.parametrize("name", ["a.yaml", "a.json", "a.jsonl"])
def test_a_file_in_latin_1_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(
        '{"classes": ["a"],\n"name": "Bj\xf6rk"}'.encode("latin1")
    )
    with pytest.raises(DataError, match=rf"{name}: line 2 is not UTF-8.*iconv"):
        read_collection(tmp_path / name)


LAYERS = "".join(f"l{n}: &l{n} [{f'*l{n - 1}, ' * 9}]\n" for n in range(1, 12))
BOMBS = {
    "l0: &l0 [x]\n" + LAYERS + "classes: [a]": "its aliases multiply",
    "a0: &a0 {x: y}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{f'*a{n - 1}, ' * 9}]}}\n" for n in range(1, 12)): (
        "its aliases multiply"
    ),
    "tags: &t [*t]": "not readable as YAML",
    "a: &a {b: *a}": "not readable as YAML",
    "[" * 100_000: "nested too deeply",
    "- " * 100_000: "nested too deeply",
    "when: 2018-13-45": "not readable as YAML",
    "? [a]\n: b": "not readable as YAML",
    "a\0b": "not readable as YAML",
}


@pytest.mark.parametrize("text", BOMBS, ids=range(len(BOMBS)))
def test_yaml_that_multiplies_or_holds_itself_is_refused(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.yaml") as caught:
        read_collection(write(tmp_path, text, "a.yaml"))
    assert BOMBS[text] in str(caught.value)


def test_aliases_are_read(tmp_path):
    text = EVERYTHING.replace("{path: mix.wav}", "&m {path: mix.wav}")
    text = text.replace("intervals:", "# again\n  intervals:")
    assert (
        read_collection(write(tmp_path, text)).recordings[0].mixture.path == "mix.wav"
    )


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_too_deep_is_refused(tmp_path, name):
    deep = '{"classes": ["a"], "tags": ' + '{"a": ' * 900 + "1" + "}" * 901
    with pytest.raises(DataError, match=rf"{name}.* deeply"):
        read_collection(write(tmp_path, deep, name))
    with pytest.raises(DataError, match=name):
        read_collection(write(tmp_path, "[" * 100_000, name))


NAMES = {
    ("[vocal, drum, other]", "[vocal, drum, other, ../x]"): "'../x' is no name",
    ("[vocal, drum, other]", "[vocal, drum, other, Drum]"): "'Drum' names two of them",
    ("[vocal, drum, other]", "[vocal, drum, other, Mixture]"): "of another file",
    ("id: concert07", 'id: "a\\0b"'): "name of a folder",
    ("id: concert07", "id: " + 300 * "x"): "name of a folder",
    ("id: concert07", 'id: ".."'): "name of a folder",
    ("song02", "SONG01"): "both become",
    ("raw/kick.wav", '"a\\0b"'): "no file can have this path",
    ("rate: 48000, subtype", "rate: 1000000000000, subtype"): "at most 768000",
    ("gain_db: -3", "gain_db: 100000"): "beyond 200 dB",
    ("gain_db: -3", "gain_db: 0x" + 9999 * "f"): "a finite number is wanted",
}


@pytest.mark.parametrize("change", NAMES, ids=range(len(NAMES)))
def test_names_and_numbers_have_bounds(tmp_path, change):
    assert change[0] in EVERYTHING
    with pytest.raises(DataError, match=r"mine\.yaml") as caught:
        read_collection(write(tmp_path, EVERYTHING.replace(*change)))
    assert NAMES[change] in str(caught.value)
