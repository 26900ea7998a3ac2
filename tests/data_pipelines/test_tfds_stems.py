"""Songs come out of a TensorFlow dataset as they went in, sample for sample."""

import dataclasses
import functools
import pickle

import numpy as np
import pytest
import soundfile

from data_pipelines.collections.collection import Collection, Output, Part, Recording
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare
from data_pipelines.songs.prepared import build_manifest

tfds = pytest.importorskip("tensorflow_datasets")
tfds_stems = pytest.importorskip("data_pipelines.tfds_stems")

RATE, CLIP = 8000, 0.05  # Hz, s: clips of 400 frames
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


@pytest.fixture
def prepare_songs(tmp_path, noise):
    """Four songs of two classes; the second has no bass."""

    def make(folder, classes=("drums", "bass"), rate=RATE, title="two songs"):
        parts = tmp_path / "raw"
        parts.mkdir()
        songs = []
        for index, split in enumerate(("train", "train", "valid", "test")):
            names = ("drums", "bass")[: 1 if index == 1 else 2]
            for number, name in enumerate(names):
                samples = noise(10 * index + number, 1000 + 70 * index, 2)
                path = parts / f"{name}{index}.wav"
                soundfile.write(path, samples, rate, subtype="PCM_16")
            own = tuple(Part(f"{name}{index}.wav", name) for name in names)
            songs.append(Recording(f"song {index}", own, split=split))
        form = dict(root=str(parts), name=title, output=Output(rate=rate))
        prepare(Collection(classes, tuple(songs), **form), tmp_path / folder)
        return tmp_path / folder

    return make


def records(path, split):
    """The records of a split as NumPy arrays, whatever the file format."""
    builder = tfds.builder_from_directory(path)
    if builder.info.file_format.value == "array_record":
        source = builder.as_data_source(split=split)
        return [source[index] for index in range(len(source))]
    return list(tfds.as_numpy(builder.as_dataset(split=split)))


@pytest.mark.parametrize("file_format", tfds_stems.FORMATS)
def test_songs_come_back_sample_for_sample(prepare_songs, tmp_path, file_format):
    folder = prepare_songs("songs")
    path = tfds_stems.build(
        folder, tmp_path / "out", file_format=file_format, clip_seconds=CLIP
    )
    assert path == tmp_path / "out" / "tfds_stems" / "two_songs_8000" / "1.0.0"
    counts = {"train": 3 + 3, "valid": 1, "test": 1}  # 1000 and 1070 frames, by 400
    for split, told in SPLITS.items():
        found = records(path, told)
        assert len(found) == counts[split]
        assert {record["sample_rate"] for record in found} == {RATE}
        for song in sorted((folder / split).iterdir()):
            own = [r for r in found if r["song"].decode() == song.name]
            own.sort(key=lambda record: record["start"])
            step = round(CLIP * RATE)
            assert [r["start"] for r in own] == [step * n for n in range(len(own))]
            absent = [] if song.name != "song 1" else [b"bass"]
            assert all(list(r["absent"]) == absent for r in own)
            for name in ("mixture", "drums", "bass"):
                parts = [
                    r["mixture"] if name == "mixture" else r["stems"][name] for r in own
                ]
                whole = np.concatenate(parts)
                if name.encode() in absent:
                    expected = np.zeros_like(whole)
                else:
                    expected, _ = soundfile.read(song / f"{name}.wav", dtype="int16")
                np.testing.assert_array_equal(whole, expected, strict=True)


def test_building_again_replaces_and_a_name_loads(prepare_songs, tmp_path):
    folder, out = prepare_songs("songs"), tmp_path / "out"
    tfds_stems.build(folder, out, clip_seconds=CLIP)
    path = tfds_stems.build(folder, out, clip_seconds=1)
    name = "tfds_stems/two_songs_8000"
    source = tfds.data_source(name, split="train", data_dir=out)
    assert len(source) == len(records(path, "train")) == 2
    assert sorted(p.name for p in out.iterdir()) == ["tfds_stems"]


def test_a_known_set_is_found_in_manual_dir_and_resampled(prepare_songs, tmp_path):
    classes = tfds_stems.FOUR
    prepare_songs("musdb18hq", classes, rate=2 * RATE)
    builder = tfds.builder("tfds_stems/musdb18hq_8000", data_dir=tmp_path / "out")
    builder.download_and_prepare(
        file_format="array_record",
        download_config=tfds.download.DownloadConfig(manual_dir=tmp_path),
    )
    (record,) = builder.as_data_source(split="test")
    assert record["sample_rate"] == RATE
    assert list(record["absent"]) == [b"vocals", b"other"]
    assert record["mixture"].shape == (605, 2)  # (1000 + 3 * 70) / 2
    assert not record["stems"]["vocals"].any()
    assert record["stems"]["drums"].any()


def test_a_known_set_goes_by_its_name_if_it_is_as_known(tmp_path, prepare_songs):
    known = tfds_stems.TfdsStems.builder_configs["montreux_8000"]
    assert tfds_stems._config_name("montreux", known) == "montreux_8000"
    fewer = dataclasses.replace(known, classes=("drums", "bass"))
    assert tfds_stems._config_name("montreux", fewer) == "montreux_2x2_8000"
    mono = dataclasses.replace(known, channels=1)
    assert tfds_stems._config_name("montreux", mono) == "montreux_4x1_8000"
    folder = prepare_songs("montreux", known.classes, title="montreux")
    tfds_stems.build(folder, tmp_path / "out")
    name = "tfds_stems/montreux_8000"
    (song,) = tfds.data_source(name, split="test", data_dir=tmp_path / "out")
    assert set(song["stems"]) == set(known.classes)


def test_names_of_sets_are_those_of_readers_at_each_rate():
    from data_pipelines.readers import READERS

    names = set(tfds_stems.TfdsStems.builder_configs)
    sets = {name.rpartition("_")[0] for name in names}
    assert sets == set(READERS) - {"msst"}  # whose classes are the user's own
    assert len(names) == len(sets) * len(tfds_stems.RATES)


def test_a_song_gives_the_same_records_on_any_worker(prepare_songs):
    manifest = build_manifest(str(prepare_songs("songs")), ("drums", "bass"))
    song = manifest.split("train")[0]
    one = functools.partial(
        tfds_stems.examples, manifest=manifest, channels=2, clip=round(CLIP * RATE)
    )
    other = pickle.loads(pickle.dumps(one))  # as Beam sends it
    for ours, theirs in zip(one(song), other(song), strict=True):
        np.testing.assert_equal(ours, theirs)


@pytest.mark.slow
def test_on_beam_the_same_records_are_written(prepare_songs, tmp_path):
    """By two processes that Beam's own local runner starts."""
    beam = pytest.importorskip(
        "apache_beam.options.pipeline_options",
        reason="Apache Beam is not installed: make test-beam",
    )
    folder = prepare_songs("songs")
    plain = tfds_stems.build(folder, tmp_path / "out", clip_seconds=CLIP)
    config = tfds_stems.StemsConfig(
        name="beam",
        folder="songs",
        classes=("drums", "bass"),
        channels=2,
        rate=RATE,
        clip_seconds=CLIP,
        beam=True,
    )
    builder = tfds_stems.StemsBuilder(
        config=config, data_dir=tmp_path / "out", file_format="array_record"
    )
    where = tfds.download.DownloadConfig(
        manual_dir=tmp_path,
        beam_runner="DirectRunner",
        beam_options=beam.PipelineOptions(
            direct_num_workers=2, direct_running_mode="multi_processing"
        ),
    )
    builder.download_and_prepare(download_config=where)
    for split in SPLITS.values():
        ours, theirs = (records(path, split) for path in (builder.data_dir, plain))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_equal(one, other)


def test_what_cannot_be_built_is_said(prepare_songs, tmp_path):
    with pytest.raises(DataError, match=r"prepared\.jsonl"):
        tfds_stems.build(tmp_path, tmp_path / "out")
    folder = prepare_songs("montreux", tfds_stems.FOUR)
    with pytest.raises(ValueError, match="did you mean 'tfrecord'"):
        tfds_stems.build(folder, tmp_path / "out", file_format="tfrecords")
    with pytest.raises(ValueError, match="clips of 1e-05 s hold no sample"):
        tfds_stems.build(folder, tmp_path / "out", clip_seconds=1e-5)
    config = dataclasses.replace(
        tfds_stems.TfdsStems.builder_configs["montreux_8000"], channels=1
    )
    builder = tfds_stems.StemsBuilder(config=config, data_dir=tmp_path / "out")
    where = tfds.download.DownloadConfig(manual_dir=tmp_path)
    with pytest.raises(DataError, match="songs of 2 channels, 'montreux_8000' has 1"):
        builder.download_and_prepare(download_config=where)
