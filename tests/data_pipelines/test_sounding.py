"""Excerpts in which all classes sound, and songs without a class."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.feeding.sounding import keep_sounding
from data_pipelines.manifest import AudioFile, DataError, Manifest, Stem, Track
from data_pipelines.pipeline import open_data
from data_pipelines.registry import DATASETS
from sepjax.config import Config, DataConfig

RATE = 1000  # blocks of 100 frames
DATA = DataConfig(chunk_seconds=1.0, valid_seconds=2.0)


def manifest(tmp_path, spans, split="train", seconds=20):
    """Two classes, each sounding in its span of seconds, in a file of its own."""
    files = []
    for index, (start, stop) in enumerate(spans):
        wave = np.zeros((seconds * RATE, 1), "<i2")
        wave[round(start * RATE) : round(stop * RATE)] = 1000
        path = tmp_path / f"{index}.raw"
        path.write_bytes(wave.tobytes())
        files.append(AudioFile(path.name, len(wave), 1, RATE, data_offset=0))
    stems = {name: Stem(index) for index, name in enumerate("ab")}
    tracks = [Track("song", split, "song", seconds * RATE, stems)]
    tracks.append(dataclasses.replace(tracks[0], name="last", split="test"))
    return Manifest(
        "toy", str(tmp_path), RATE, 1, tuple("ab"), tuple(files), tuple(tracks)
    )


def sounding_share(data, track, start, frames):
    """Smallest share of 0.1 s blocks in which a class sounds."""
    shares = []
    for stem in track.stems.values():
        path = f"{data.root}/{data.files[stem.file].path}"
        wave = np.fromfile(path, "<i2")[stem.start + start :][:frames]
        shares.append((np.abs(wave.reshape(-1, 100)).max(axis=1) > 33).mean())
    return min(shares)


def test_every_chunk_of_a_training_part_has_all_classes(tmp_path):
    given = manifest(tmp_path, [(2, 9), (5, 16)])
    kept = keep_sounding(given, DATA)
    (part,) = kept.split("train")
    # Both sound from 5 to 9 s; half of a chunk may lie outside of that.
    assert part.name == "song at 4.5 s"
    assert (part.stems["a"].start, part.frames) == (4500, 5000)
    for start in range(0, part.frames - RATE + 1, 100):
        assert sounding_share(kept, part, start, RATE) >= 0.5
    assert kept.split("test") == given.split("test")


def test_validation_keeps_whole_excerpts_of_its_own_length(tmp_path):
    kept = keep_sounding(manifest(tmp_path, [(0, 20), (5, 12)], "valid"), DATA)
    (part,) = kept.split("valid")
    assert part.frames == 8000  # 4 to 13 s is nine, of which four times two are used
    for start in range(0, part.frames, 2 * RATE):
        assert sounding_share(kept, part, start, 2 * RATE) >= 0.5


def test_a_sum_sounds_where_one_of_its_parts_does(tmp_path):
    given = manifest(tmp_path, [(2, 9), (5, 16)])
    data = dataclasses.replace(DATA, sources=("s",), sums=("s=a+b",))
    (part,) = keep_sounding(given, data).split("train")
    assert (part.name, part.frames) == ("song at 1.5 s", 15_000)
    few = dataclasses.replace(given.tracks[0], stems={"b": Stem(1)})
    given = dataclasses.replace(given, tracks=(few,))
    (part,) = keep_sounding(given, data).split("train")
    assert (part.name, part.frames) == ("song at 4.5 s", 12_000)
    with pytest.raises(DataError, match="have all of a, b sounding"):
        keep_sounding(given, DATA)


def test_a_class_that_loops_sounds_beyond_the_end_of_its_file(tmp_path):
    given = manifest(tmp_path, [(0, 20), (0, 20)], seconds=20)
    loop = {
        n: dataclasses.replace(s, loop=True) for n, s in given.tracks[0].stems.items()
    }
    long = dataclasses.replace(given.tracks[0], frames=50 * RATE, stems=loop)
    plain = dataclasses.replace(long, stems=given.tracks[0].stems)
    for track, frames in ((long, 50 * RATE), (plain, 20 * RATE + 500)):
        kept = keep_sounding(dataclasses.replace(given, tracks=(track,)), DATA)
        assert kept.tracks[0].frames == frames


def test_classes_that_never_meet_are_refused_with_what_to_do(tmp_path):
    given = manifest(tmp_path, [(0, 5), (10, 20)])
    with pytest.raises(DataError, match=r"no 1 s of split 'train'.*shorter excerpts"):
        keep_sounding(given, DATA)


def test_a_song_shorter_than_a_chunk_has_no_part(tmp_path):
    given = manifest(tmp_path, [(0, 20), (0, 20)])
    short = dataclasses.replace(given.tracks[0], frames=RATE // 2)
    with pytest.raises(DataError, match="all_sound"):
        keep_sounding(dataclasses.replace(given, tracks=(short,)), DATA)


def test_the_demo_trains_on_excerpts_in_which_all_classes_sound(tmp_path):
    config = Config()
    config.data.all_sound, config.data.chunk_seconds = True, 2.0
    config.train.batch_size, config.data.shuffle_fraction = 8, 0.0
    batch = next(open_data(config, cache=tmp_path).train_batches(0, 1))
    blocks = np.asarray(batch["chunks"]).reshape(8, 4, 20, 800)
    assert (np.abs(blocks.astype(int)).max(-1) > 33).mean(-1).min() >= 0.5


def test_songs_without_a_class_are_left_out_of_training_alone(monkeypatch, tmp_path):
    given = manifest(tmp_path, [(0, 20), (0, 20)])
    few = dataclasses.replace(given.tracks[0], name="few", stems={"a": Stem(0)})
    tested = dataclasses.replace(few, name="few, tested", split="test", group="other")
    whole = dataclasses.replace(given, tracks=(*given.tracks[:1], few, tested))
    monkeypatch.setitem(DATASETS, "toy", lambda root, sources: whole)
    config = Config()
    config.data = DataConfig("toy", "", sample_rate=RATE, sources=("a", "b"))
    names = {}
    for missing in ("error", "skip"):
        config.data.missing = missing
        data = open_data(config, cache=tmp_path)
        names[missing] = [track.name for track in data.manifest.tracks]
        digest = names.setdefault("digest", data.digest)
        assert digest == data.digest  # scores of both may share a table
    assert names["error"] == ["song", "few", "few, tested"]
    assert names["skip"] == ["song", "few, tested"]
