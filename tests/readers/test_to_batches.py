"""From every layout to batches: what a model hears are the samples of the files."""

import dataclasses
import os

import numpy as np
import pytest

from data_pipelines.audio.decode import open_part
from data_pipelines.collections.collection import Filters, Output, SplitRules
from data_pipelines.collections.mixing import align, mix
from data_pipelines.pipeline import open_data
from data_pipelines.prepare import prepare
from data_pipelines.readers import read_dataset
from sepjax.config import Config, resolve
from sepjax.models.tasnet.config import TasNetConfig
from tests.support.layouts import (
    RATE,
    write_audio,
    write_medleydb,
    write_moisesdb,
    write_slakh,
    write_songs,
)
from tests.support.stem_file import tone, write_streams

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")

CHUNK = 160  # samples; a fiftieth of a second at 8 kHz


def write_musdb18(root):
    for split, song in (("train", "A - One"), ("test", "B - Two")):
        (root / split).mkdir(parents=True)
        waves = [tone(200 * n + len(split), 4000) for n in range(1, 6)]
        write_streams(root / split / f"{song}.stem.mp4", waves, format="mp4")


def write_musdb18hq(root):
    for split, song in (("train", "A - One"), ("test", "B - Two")):
        for stem in ("vocals", "drums", "bass", "other", "mixture"):
            write_audio(root / split / song / f"{stem}.wav", channels=2)


def write_karaoke(root):
    lines = ["song,file,label"]
    for song in range(4):
        for part, label in enumerate(("lead vocals", "drums", "drums", "alto sax")):
            name = f"{song}/{part}.{'mp3' if part == 2 else 'flac'}"
            write_audio(root / name, 1600 + 100 * part, 1 + part % 2)
            lines.append(f"s{song},{name},{label}")
    (root / "tracks.csv").write_text("\n".join(lines) + "\n")


def write_montreux(root):
    tracks, songs = ["concert,file,label,crowd,year,genre"], ["concert,name,start,end"]
    for night in range(2):
        labels = ("lead singer", "kick drum", "snare", "double bass", "trumpet")
        for part, label in enumerate(labels):
            write_audio(root / f"{night}/{part}.wav", 3000, 1 + part % 3)
            tracks.append(f"c{night},{night}/{part}.wav,{label},high,2018,jazz")
        songs += [f"c{night},one,0.05,0.15", f"c{night},two,0.2,0.375"]
    (root / "tracks.csv").write_text("\n".join(tracks) + "\n")
    (root / "intervals.csv").write_text("\n".join(songs) + "\n")


def slakh(root):
    for index in range(2):
        write_slakh(root, "train", f"Track{index:05}")


SETS = {
    "musdb18": (write_musdb18, {"partial": True}),
    "musdb18hq": (write_musdb18hq, {"partial": True}),
    "karaoke": (write_karaoke, {"train": 2, "valid": 1, "all_instruments": False}),
    "montreux": (write_montreux, {}),
    "moisesdb": (lambda root: write_moisesdb(root, songs=3), {"partial": True}),
    "medleydb": (write_medleydb, {"level": "raw"}),
    "slakh2100": (slakh, {}),
    "msst": (lambda root: write_songs(root, "abc"), {"type": 1}),
}


def collection(name, root):
    """A miniature of a set, its rate and rules of splitting made for it."""
    write, options = SETS[name]
    root.mkdir()
    write(root)
    found = read_dataset(name, str(root), **options)
    rate = 44100 if name == "musdb18" else RATE
    recordings = [
        dataclasses.replace(one, split="train", sample_rate=0)
        for one in found.recordings
    ]
    return dataclasses.replace(
        found,
        recordings=tuple(recordings),
        output=Output(rate=rate, channels=found.output.channels),
        filters=Filters(),
        splits=SplitRules(),
    )


def stems_of(found, recording):
    """The stems by the plain procedures, from all of every file at once."""
    tracks = [[] for _ in found.classes]
    for part in recording.tracks:
        wave = np.concatenate(list(open_part(found.path(part), part.stream).blocks()))
        wave = np.rint(32768 * wave).astype(np.int16)
        if part.channels == "mean" and wave.shape[1] > 1:
            wave = np.rint(wave.mean(axis=1, keepdims=True)).astype(np.int16)
        tracks[found.classes.index(found.class_of(part.label))].append(wave)
    stereo = any(t.shape[1] == 2 for group in tracks for t in group)
    channels = found.output.channels or 1 + stereo
    rules = found.mix
    return mix(align(tracks, channels), rules.mode, beta=rules.beta).stems


def heard(chunk, stems):
    """Whether a chunk (sources, time, channels) is anywhere in a song."""
    stems = np.concatenate([stems, np.zeros_like(stems[:, :CHUNK])], axis=1)
    first = np.flatnonzero((stems[:, :-CHUNK] == chunk[:, :1]).all(axis=(0, 2)))
    return any(
        np.array_equal(stems[:, start : start + CHUNK], chunk) for start in first
    )


@pytest.mark.parametrize("name", SETS)
def test_batches_hold_the_samples_of_the_files(name, tmp_path, monkeypatch):
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path / "cache"))
    found = collection(name, tmp_path / name)
    made = prepare(found, tmp_path / "songs")
    assert made.header["counts"] == {"train": len(made.songs)}
    songs = [stems_of(found, recording) for recording in found.recordings]
    config = Config(model=TasNetConfig())
    config.data.dataset, config.data.root = "prepared", os.fspath(tmp_path / "songs")
    config.data.sources, config.data.sample_rate = found.classes, made.header["rate"]
    config.data.chunk_seconds = CHUNK / made.header["rate"]
    config.data.shuffle_fraction = 0.0
    config.train.batch_size = 4
    batches = []
    for feeder in ("resident", "streaming"):
        config.data.feeder = feeder
        data = open_data(resolve(config))
        batches.append([np.asarray(b["chunks"]) for b in data.train_batches(0, 2)])
    np.testing.assert_array_equal(*batches)
    for chunk in np.concatenate(batches[0]):
        whole = [
            s
            for s in songs
            if heard(np.broadcast_to(chunk, (len(s), CHUNK, s.shape[2])), s)
        ]
        assert whole
    assert any(chunk.any() for chunk in np.concatenate(batches[0]))
