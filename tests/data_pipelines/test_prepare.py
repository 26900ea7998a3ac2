"""From recordings to songs: what is written, and that it is always the same."""

import dataclasses

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipelines.collections.collection import (
    Filters,
    Interval,
    MixRules,
    Output,
    Part,
    Recording,
)
from data_pipelines.collections.file import read_collection, write_collection
from data_pipelines.collections.mixing import align, mix
from data_pipelines.manifest import DataError
from data_pipelines.prepare import prepare
from data_pipelines.registry import build_manifest
from data_pipelines.songs.prepared import read_prepared
from tests.support.recordings import CLASSES, RATE, collection, read, tree, write


def test_songs_are_the_mix_of_their_tracks(songs, tmp_path):
    made = prepare(songs, tmp_path / "out")
    assert made.header["counts"] == {"train": 4, "valid": 2, "test": 2}
    for song in made.songs:
        folder = tmp_path / "out" / song["split"] / song["song"]
        tracks = [[] for _ in CLASSES]
        source = next(one for one in songs.recordings if one.id == song["song"])
        for part in source.tracks:
            tracks[CLASSES.index(part.label)].append(read(songs.path(part)))
        expected = mix(align(tracks, 2), "adaptive")
        np.testing.assert_array_equal(read(folder / "mixture.wav"), expected.mixture)
        for name, stem in zip(CLASSES, expected.stems):
            if name in song["absent"]:
                assert not stem.any()
                assert not (folder / f"{name}.wav").exists()
            else:
                np.testing.assert_array_equal(read(folder / f"{name}.wav"), stem)
        assert song["factors"]["drum"] == pytest.approx(expected.factors[0])
        assert song["tracks"]["drum"] == 2


def test_filters_drop_songs_before_or_after_the_draw(songs, tmp_path):
    rules = Filters("all", min_active_seconds=0.05)
    before = dataclasses.replace(songs, filters=rules)
    made = prepare(before, tmp_path / "before")
    dropped = {s["song"]: s["reason"] for s in made.songs if s["split"] == "dropped"}
    assert dropped == dict.fromkeys(["song0", "song3", "song6"], "has no track of bass")
    after = dataclasses.replace(rules, apply="after_split")
    drawn = prepare(dataclasses.replace(songs, filters=after), tmp_path / "after")
    everything = prepare(songs, tmp_path / "all")
    for song, full in zip(
        *(sorted(p.songs, key=lambda s: s["song"]) for p in (drawn, everything))
    ):
        assert song["split"] in ("dropped", full["split"])
    assert sum(s["split"] != "dropped" for s in drawn.songs) == 5


def test_activity_counts_what_is_louder_than_the_mark(tmp_path):
    wave = np.zeros((RATE, 1), np.int16)
    wave[1000:2000] = 400  # -38 dBFS in the second and third tenth
    wave[5000:6000] = 20  # -64 dBFS: too quiet
    parts = write(tmp_path, "drum-a.wav", wave), write(tmp_path, "bass-a.wav", wave)
    mine = collection(tmp_path, [Recording("a", parts, split="train")])
    (song,) = prepare(mine, tmp_path / "out").songs
    assert song["active_seconds"] == {"drum": 0.2, "bass": 0.2, "other": 0}


def test_songs_of_a_concert_share_its_factor(tmp_path, noise):
    loud, soft = 4 * noise(1, RATE), noise(2, RATE)
    loud[: RATE // 2] //= 8
    parts = write(tmp_path, "drum-a.wav", loud), write(tmp_path, "bass-a.wav", loud)
    parts += (write(tmp_path, "other-a.wav", soft),)
    cuts = Interval("first", 0.0, 0.5), Interval("second", 0.5, None)
    night = Recording("night", parts, split="test", intervals=cuts)
    made = prepare(
        collection(tmp_path, [night], mix=MixRules(beta="never")), tmp_path / "out"
    )
    one, two = made.songs
    assert [one["song"], two["song"]] == ["night - first", "night - second"]
    assert one["factors"] == two["factors"]
    assert len(set(one["factors"].values())) == 1
    assert one["factors"]["drum"] < 1
    together = [
        np.concatenate(
            [read(tmp_path / f"out/test/{s['song']}/mixture.wav") for s in made.songs]
        )
    ]
    total = loud.astype(int) * 2 + soft
    np.testing.assert_allclose(together[0], one["factors"]["drum"] * total, atol=0.5)


@pytest.mark.parametrize(
    ("channels", "count"), [("mean", 3), ("left", 2), ("right", 2)]
)
def test_microphones_of_several_channels_become_one(tmp_path, noise, channels, count):
    samples = noise(3, 500, count)
    part = dataclasses.replace(
        write(tmp_path, "drum-a.wav", samples), channels=channels
    )
    mine = collection(
        tmp_path,
        [Recording("a", (part,), split="train")],
        output=Output(rate=RATE, channels=2),
    )
    prepare(mine, tmp_path / "out")
    found = read(tmp_path / "out/train/a/drum.wav")
    chosen = {"left": samples[:, 0], "right": samples[:, -1]}
    expected = chosen.get(channels, np.rint(samples.mean(axis=1)))
    np.testing.assert_allclose(found, np.stack([expected] * 2, axis=1), atol=0.5)


def test_channels_that_cancel_are_told(tmp_path, noise):
    wave = noise(3, 500)
    part = write(tmp_path, "drum-a.wav", np.hstack([wave, -wave]))
    part = dataclasses.replace(part, channels="mean")
    other = write(tmp_path, "bass-a.wav", wave)
    mine = collection(tmp_path, [Recording("a", (part, other), split="train")])
    (song,) = prepare(mine, tmp_path / "out").songs
    assert "cancel" in song["warnings"][0]
    assert song["absent"] == ["drum", "other"]


def test_starts_gains_and_rates_are_followed(tmp_path):
    time = np.arange(4000) / 4000
    wave = np.rint(8000 * np.sin(2 * np.pi * 50 * time)).astype(np.int16)
    part = write(tmp_path, "drum-a.wav", wave, rate=4000)
    part = dataclasses.replace(part, start=0.25, gain_db=-6.0206)
    mine = collection(tmp_path, [Recording("a", (part,), split="train")])
    prepare(mine, tmp_path / "out")
    found = read(tmp_path / "out/train/a/drum.wav")[:, 0]
    assert len(found) == 10000
    assert not found[:2000].any()
    fine = 4000 * np.sin(2 * np.pi * 50 * np.arange(8000) / 8000)
    # Away from the ends, soxr's VHQ filter is exact to far less than rounding.
    np.testing.assert_allclose(found[2500:9500], fine[500:7500], atol=1.5)


def test_a_distributed_mixture_is_kept(tmp_path, noise):
    stem, mixture = noise(1, 600), noise(2, 600)
    part = write(tmp_path, "drum-a.wav", stem)
    whole = dataclasses.replace(write(tmp_path, "mix.wav", mixture), label="")
    song = Recording("a", (part,), split="train", mixture=whole)
    mine = collection(tmp_path, [song], mix=MixRules("summing"))
    (song,) = prepare(mine, tmp_path / "out").songs
    np.testing.assert_array_equal(read(tmp_path / "out/train/a/mixture.wav"), mixture)
    energy = np.square([mixture - stem, mixture], dtype=float).sum((1, 2))
    assert song["mixture_error"] == pytest.approx(10 * np.log10(energy[0] / energy[1]))


def test_24_bits_keep_what_16_would_round(tmp_path):
    wave = np.linspace(-0.5, 0.5, 700)
    soundfile.write(tmp_path / "drum.wav", wave, RATE, subtype="PCM_24")
    mine = collection(
        tmp_path,
        [Recording("a", (Part("drum.wav", "drum"),), split="train")],
        mix=MixRules(dtype="float32"),
        output=Output(rate=RATE, subtype="PCM_24"),
    )
    prepare(mine, tmp_path / "out")
    found, _ = soundfile.read(tmp_path / "out/train/a/drum.wav")
    np.testing.assert_allclose(found, wave, atol=2**-23)


def test_large_sums_lie_in_a_file_and_are_the_same(songs, tmp_path, monkeypatch):
    prepare(songs, tmp_path / "memory")
    monkeypatch.setattr("data_pipelines.prepare.tracks.IN_MEMORY", 1000)
    monkeypatch.setattr("data_pipelines.prepare.recording.BLOCK", 300)
    prepare(songs, tmp_path / "file")
    assert tree(tmp_path / "memory") == tree(tmp_path / "file")


def test_two_recordings_cannot_become_one_song(tmp_path, noise):
    part = write(tmp_path, "drum-a.wav", noise(0, 100))
    twins = [Recording("a/b", (part,)), Recording("a - b", (part,))]
    with pytest.raises(DataError, match="both become"):
        prepare(collection(tmp_path, twins), tmp_path / "out")


def test_prepared_songs_are_a_dataset(songs, tmp_path):
    made = prepare(songs, tmp_path / "out")
    manifest = build_manifest("prepared", str(tmp_path / "out"), CLASSES)
    assert {t.name: t.split for t in manifest.tracks} == {
        song["song"]: song["split"] for song in made.songs
    }
    assert all(file.data_offset == 44 for file in manifest.files)
    some = build_manifest("prepared", str(tmp_path / "out"), ("drum",))
    assert all(track.mixture is None for track in some.tracks)
    with pytest.raises(DataError, match="did you mean 'drum'"):
        build_manifest("prepared", str(tmp_path / "out"), ("drums",))
    header, listed = read_prepared(tmp_path / "out")
    assert header["counts"] == made.header["counts"]
    first = tmp_path / "out" / listed[0]["split"] / listed[0]["song"] / "drum.wav"
    first.write_bytes(first.read_bytes()[:-2])
    with pytest.raises(DataError, match="prepare again"):
        build_manifest("prepared", str(tmp_path / "out"), CLASSES)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    mode=st.sampled_from(["summing", "averaging", "scaling", "adaptive"]),
    beta=st.sampled_from(["when_needed", "always", "never"]),
    shapes=st.lists(
        st.tuples(st.integers(1, 50), st.integers(1, 3), st.sampled_from(CLASSES)),
        min_size=1,
        max_size=5,
    ),
    seed=st.integers(0, 1000),
)
def test_files_are_what_mixing_promises(tmp_path_factory, mode, beta, shapes, seed):
    root = tmp_path_factory.mktemp("raw")
    generator = np.random.default_rng(seed)
    parts, tracks = [], [[] for _ in CLASSES]
    for index, (frames, channels, name) in enumerate(shapes):
        samples = generator.integers(-32768, 32768, (frames, channels)).astype("i2")
        parts.append(write(root, f"{name}-{index}.wav", samples))
        tracks[CLASSES.index(name)].append(samples)
    mine = collection(
        root, [Recording("a", tuple(parts), split="train")], mix=MixRules(mode, beta)
    )
    (song,) = prepare(mine, root / "out").songs
    channels = 2 if any(shape[1] == 2 for shape in shapes) else 1
    expected = mix(align(tracks, channels), mode, beta=beta)
    folder = root / "out" / song["split"] / "a"
    if song["split"] == "dropped":
        assert not expected.stems.any()
        return
    np.testing.assert_array_equal(read(folder / "mixture.wav"), expected.mixture)
    assert song["mixture_clipped"] == expected.mixture_clipped
    for index, name in enumerate(CLASSES):
        assert song["clipped"][name] == expected.clipped[index]
        if name not in song["absent"]:
            stem = read(folder / f"{name}.wav")
            np.testing.assert_array_equal(stem, expected.stems[index])


def test_titles_may_hold_any_letter(tmp_path, noise):
    part = write(tmp_path, "drum-a.wav", noise(0, 900))
    song = Recording("a\u2028b\x85c é", (part,), split="train", tags={"x": "\u2029"})
    mine = collection(tmp_path, [song])
    again = read_collection(write_collection(mine, tmp_path / "a.jsonl"))
    assert again == mine
    prepare(mine, tmp_path / "out")
    assert read_prepared(tmp_path / "out")[1][0]["song"] == song.id
    build_manifest("prepared", str(tmp_path / "out"), CLASSES)


def test_songs_without_any_of_the_sources_are_left_out(songs, tmp_path):
    prepare(songs, tmp_path / "out")
    with pytest.warns(UserWarning, match="3 songs have none of bass"):
        manifest = build_manifest("prepared", str(tmp_path / "out"), ("bass",))
    assert len(manifest.tracks) == 5
