"""Sick songs and healthy ones: every illness is named, with where and what to do."""

import dataclasses
import json
import re

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.files import evened, probe
from data_pipelines.doctor import diagnose, format_diagnosis
from data_pipelines.doctor.alignment import best_excerpt, find_offset
from data_pipelines.doctor.problems import SERIOUS
from data_pipelines.doctor.reading import excerpt, raw_blocks
from data_pipelines.manifest import Manifest, Stem, Track, check
from sepjax.commands import doctor as doctor_command
from sepjax.storage import to_json

RATE = 8000
STEMS = ("vocals", "drums", "bass")


def healthy(seed, seconds=2.0, channels=1):
    """Stems that sound like nothing in particular, each in a band of its own."""
    rng = np.random.default_rng(seed)
    frames = round(seconds * RATE)
    hertz = np.fft.rfftfreq(frames, 1 / RATE)[:, None]
    stems = {}
    for name, (low, high) in zip(STEMS, ((400, 3000), (20, 4000), (40, 600))):
        spectrum = np.fft.rfft(rng.standard_normal((frames, channels)), axis=0)
        wave = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), frames, axis=0)
        swell = 1.2 + np.sin(np.arange(frames) / RATE * rng.uniform(2, 9))
        stems[name] = (wave / abs(wave).max() * swell[:, None] / 9).astype(np.float32)
    return stems


def whole_steps(wave):
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def save(folder, stems, mixture=True):
    """Write 16-bit stems, and their sum; returns a track's files and stems."""
    folder.mkdir(parents=True)
    waves = {name: whole_steps(wave) for name, wave in stems.items()}
    if mixture is not None:
        whole = sum(waves.values()) if mixture is True else whole_steps(mixture)
        waves["mixture"] = whole
    for name, wave in waves.items():
        soundfile.write(folder / f"{name}.wav", wave, RATE, "PCM_16")
    return {name: probe(str(folder / f"{name}.wav")) for name in waves}


def manifest_of(songs):
    """Songs ``"split/name": files`` as a dataset."""
    files, tracks = [], []
    for name, own in songs.items():
        stems = {}
        for stem, file in own.items():
            stems[stem] = Stem(len(files))
            files.append(file)
        split, _, name = name.partition("/")
        frames = max(file.frames for file in own.values())
        tracks.append(
            Track(name, split, name, frames, stems, stems.pop("mixture", None))
        )
    channels = max(file.channels for file in files)
    return check(Manifest("sick", "", RATE, channels, STEMS, (*files,), (*tracks,)))


def kinds(diagnosis):
    return {problem.kind: problem for problem in diagnosis.problems}


def examine(tmp_path, change, channels=1, mixture=True):
    """The problems of a song after ``change(stems)``, which keeps its mixture."""
    stems = healthy(1, channels=channels)
    whole = sum(stems.values()) if mixture else None
    changed = change(dict(stems)) or stems
    files = save(tmp_path / "song", changed, whole)
    return kinds(diagnose(manifest_of({"train/song": files})))


def test_a_healthy_set_is_healthy(tmp_path):
    songs = {
        f"{split}/{split}": save(tmp_path / split, healthy(seed))
        for seed, split in enumerate(("train", "valid", "test"))
    }
    found = diagnose(manifest_of(songs))
    assert found.problems == ()
    for song in found.songs:
        assert song.sum_fit.error == -np.inf
        assert {name: one.lag for name, one in song.offsets.items()} == dict.fromkeys(
            STEMS, 0
        )
        assert all(one.confident for one in song.offsets.values())
    text = format_diagnosis(found)
    assert "train: 1 songs" in text
    assert text.endswith("Nothing to complain about.")


@pytest.mark.parametrize("lag", [-4000, -37, -1, 1, 37, 1105, 4000])
@pytest.mark.parametrize("name", ["drums", "bass"])
def test_a_shifted_stem_is_found_to_the_sample(tmp_path, name, lag):
    def shift(stems):
        # What the mixture holds later than the stem: the stem comes too early.
        return stems | {name: np.roll(stems[name], -lag, axis=0)}

    problem = examine(tmp_path, shift)["offset"]
    assert problem.severity == SERIOUS
    side = "later" if lag > 0 else "earlier"
    (where,) = problem.where
    assert f"train/song: {name} is {abs(lag)} samples" in where
    assert f"{side} in the mixture" in where


def test_an_inverted_stem_is_found(tmp_path):
    found = examine(tmp_path, lambda stems: stems | {"bass": -stems["bass"]})
    assert found["inverted"].where == ("train/song: bass",)


def test_a_stem_at_another_level_is_named(tmp_path):
    found = examine(tmp_path, lambda stems: stems | {"drums": stems["drums"] / 2})
    (where,) = found["sum"].where
    assert found["sum"].severity == SERIOUS
    assert where.endswith("best levels of the stems: drums +6.0 dB")


def test_a_sum_at_another_level_is_told_from_a_missing_stem(tmp_path):
    def softer(stems):
        return {name: 0.25 * wave for name, wave in stems.items()}

    (where,) = examine(tmp_path, softer)["sum"].where
    assert "with the sum at +12.0 dB" in where


def test_coding_errors_are_a_warning(tmp_path):
    def noisy(stems):
        noise = np.random.default_rng(0).standard_normal(stems["bass"].shape)
        return stems | {"bass": stems["bass"] + 0.002 * noise}

    assert examine(tmp_path, noisy)["sum"].severity == "warning"


def test_without_a_mixture_there_is_nothing_to_compare(tmp_path):
    found = examine(tmp_path, lambda stems: None, mixture=False)
    assert not found


@pytest.mark.parametrize(
    ("kind", "change", "where"),
    [
        ("clipping", lambda wave: np.clip(20 * wave, -1, 1), r"drums \d+\.\d\d % of"),
        ("dc", lambda wave: wave + 0.02, r"drums -3\d\.\d dBFS"),
        ("hardly active", lambda wave: wave * 1e-4, "drums sounds 0.00 % of the time"),
    ],
)
def test_ills_of_single_stems(tmp_path, kind, change, where):
    def spoil(stems):
        return stems | {"drums": change(stems["drums"])}

    stems = spoil(healthy(2))
    files = save(tmp_path / "a", stems, None)
    found = kinds(diagnose(manifest_of({"train/a": files})))
    assert set(found) >= {kind}
    assert re.search(f"train/a: {where}", found[kind].where[0])


def test_channels_that_cancel_or_repeat(tmp_path):
    stems = healthy(3, channels=2)
    stems["vocals"][:, 1] = -stems["vocals"][:, 0]
    stems["bass"][:, 1] = stems["bass"][:, 0]
    found = kinds(diagnose(manifest_of({"train/a": save(tmp_path / "a", stems)})))
    assert [w.split(" -")[0] for w in found["anti-phase"].where] == ["train/a: vocals"]
    assert found["dual mono"].where == ("train/a: bass",)
    assert not {"offset", "sum", "inverted"} & set(found)


def test_beyond_full_scale_unequal_lengths_silence(tmp_path):
    loud = healthy(4)
    (tmp_path / "loud").mkdir()
    soundfile.write(tmp_path / "loud/bass.wav", 20 * loud["bass"], RATE, "FLOAT")
    short = {"vocals": loud["vocals"], "bass": loud["bass"][: RATE // 2]}
    silent = {"vocals": np.zeros(RATE, np.float32)}
    songs = {
        "train/loud": {"bass": probe(str(tmp_path / "loud/bass.wav"))},
        "valid/short": save(tmp_path / "short", short, None),
        "test/silent": save(tmp_path / "silent", silent, None),
    }
    found = kinds(diagnose(manifest_of(songs)))
    assert "train/loud: bass +" in found["over"].where[0]
    assert found["lengths"].where == ("valid/short: vocals 2.00 s, bass 0.50 s",)
    assert found["silent"].where == ("test/silent",)


def test_only_mixtures_that_are_files_can_be_beyond_full_scale(tmp_path):
    """Stems below full scale whose sum is not: nothing is clipped by anyone."""
    stems = {name: 3.5 * wave for name, wave in healthy(4).items()}
    assert max(abs(wave).max() for wave in stems.values()) < 1
    assert abs(sum(stems.values())).max() > 1
    songs = {"train/summed": save(tmp_path / "summed", stems, None)}
    assert "over" not in kinds(diagnose(manifest_of(songs)))
    whole = sum(stems.values())
    soundfile.write(tmp_path / "summed/mixture.wav", whole, RATE, "FLOAT")
    songs["train/summed"]["mixture"] = probe(str(tmp_path / "summed/mixture.wav"))
    (place,) = kinds(diagnose(manifest_of(songs)))["over"].where
    assert place.startswith("train/summed: mixture +")


def test_a_broken_file_spoils_one_song_only(tmp_path):
    songs = {f"train/{n}": save(tmp_path / n, healthy(i)) for i, n in enumerate("ab")}
    path = tmp_path / "a" / "bass.wav"
    path.write_bytes(path.read_bytes()[:-1000])
    found = diagnose(manifest_of(songs))
    assert found.songs[1].mixture
    (where,) = kinds(found)["unreadable"].where
    assert where.startswith("train/a: ")
    assert "bass.wav" in where
    assert "not readable" in format_diagnosis(found)


def test_numbers_do_not_depend_on_jobs_and_are_json(tmp_path):
    songs = {f"train/{n}": save(tmp_path / n, healthy(i)) for i, n in enumerate("abc")}
    manifest = manifest_of(songs)
    one, two = diagnose(manifest, jobs=1), diagnose(manifest, jobs=3)
    assert to_json(one.to_tree()) == to_json(two.to_tree())
    tree = json.loads(to_json(one.to_tree()))
    assert tree["songs"][0]["levels"]["bass"]["clipped"] == 0
    assert tree["songs"][0]["sum"]["error"] is None  # exact
    assert tree["definition"]["thresholds"]["dc"] == -50


def test_splits_select(tmp_path):
    songs = {f"{s}/{s}": save(tmp_path / s, healthy(5)) for s in ("train", "test")}
    assert "leak" in kinds(diagnose(manifest_of(songs)))
    assert diagnose(manifest_of(songs), splits=("test",)).problems == ()


def test_the_command(tmp_path, capsys):
    for seed, split in enumerate(("train", "valid", "test")):
        save(tmp_path / "data" / split / split, healthy(seed))
    root = str(tmp_path / "data")
    assert doctor_command.run(root, "folder", (), tmp_path / "out", 2) == 0
    tree = json.loads((tmp_path / "out" / "doctor.json").read_text())
    assert [song["name"] for song in tree["songs"]] == [
        *("test/test", "train/train", "valid/valid"),
    ]
    save(tmp_path / "data" / "test" / "again", healthy(0))
    assert doctor_command.run(root, "folder", STEMS, None, 1) == 1
    shown = capsys.readouterr().out
    assert "SERIOUS  tracks of valid or test that occur in train" in shown


def test_reading_is_what_the_plain_reader_reads(odd_manifest):
    """Loops, starts inside of files and ends beyond them, in blocks and excerpts."""
    from data_pipelines.feeding.host import load_track

    for track in odd_manifest.tracks:
        loaded = load_track(odd_manifest, track)
        for name, stem in track.stems.items():
            reference = loaded.references[odd_manifest.classes.index(name)]
            blocks = evened(raw_blocks(odd_manifest, track, stem, 700), 512)
            raw = np.concatenate(list(blocks))
            got = np.broadcast_to(raw * np.float32(stem.gains), reference.shape)
            np.testing.assert_array_equal(got, reference)
            piece = excerpt(odd_manifest, track, stem, -50, 400)
            wide = np.zeros((450, reference.shape[1]), np.float32)
            count = min(400, track.frames)
            wide[50 : 50 + count] = reference[:count]
            np.testing.assert_array_equal(np.broadcast_to(piece, wide.shape), wide)


def test_an_offset_of_noise_is_not_confident():
    rng = np.random.default_rng(0)
    stem, mixture = rng.standard_normal(80000), rng.standard_normal(96000)
    assert not find_offset(stem, mixture, 8000).confident
    assert not find_offset(0 * stem, mixture, 8000).confident


def test_a_loop_is_not_taken_for_an_offset():
    """A drum machine: the same stroke, every quarter of a second."""
    rng = np.random.default_rng(0)
    stroke = rng.standard_normal(1000) * np.exp(-np.arange(1000) / 200)
    drums = np.tile(np.pad(stroke, (0, 1000)), 60)
    found = find_offset(drums[8000:-8000], drums, 8000)
    assert found.lag == 0


def test_excerpts_are_taken_where_a_stem_stands_out():
    stem, mixture = np.ones(50), np.full(50, 9.0)
    mixture[30:40] = 1
    assert best_excerpt(stem, mixture, 10) == 30
    assert best_excerpt(stem[:3], mixture[:3], 10) == 0
    assert best_excerpt(np.zeros(9), np.zeros(9), 4) == 0


def test_fields_of_a_manifest_stay_as_they_are(tmp_path):
    """The doctor reads only."""
    manifest = manifest_of({"train/a": save(tmp_path / "a", healthy(0))})
    before = dataclasses.replace(manifest)
    diagnose(manifest)
    assert manifest == before
