import dataclasses

import pytest

from data_pipelines import registry
from data_pipelines.manifest import DataError, Manifest, Stem, Track, check
from data_pipelines.registry import build_manifest, register


def test_json_round_trip(odd_manifest):
    again = Manifest.from_json(odd_manifest.to_json())
    assert again == odd_manifest
    assert again.digest() == odd_manifest.digest()
    assert "Infinity" not in odd_manifest.to_json()


def test_digest_follows_the_content_and_nothing_else(odd_manifest, tmp_path):
    digest = odd_manifest.digest()
    files = tuple(
        dataclasses.replace(file, path=file.path[len(str(tmp_path)) + 1 :])
        for file in odd_manifest.files
    )
    moved = dataclasses.replace(odd_manifest, root=str(tmp_path), files=files)
    assert moved.digest() == digest
    path = tmp_path / "3.wav"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # one bit of one sample, in a file of the same size
    path.write_bytes(content)
    assert moved.digest() != digest


def test_digest_follows_the_tracks(odd_manifest):
    tracks = (dataclasses.replace(odd_manifest.tracks[0], frames=19999),)
    other = dataclasses.replace(odd_manifest, tracks=tracks + odd_manifest.tracks[1:])
    assert other.digest() != odd_manifest.digest()


def test_check_reports_everything_at_once(odd_manifest):
    tracks = (
        Track("twice", "train", "", 10, {}),
        Track("twice", "training", "", 0, {"z": Stem(0)}),
        Track("c", "test", "", 10, {"x": Stem(9, -1, gains=(1.0, 1.0, 1.0))}),
    )
    first = odd_manifest.files[0]
    files = (*odd_manifest.files, dataclasses.replace(first, channels=6))
    gone = dataclasses.replace(first, path="gone.wav")
    with pytest.raises(DataError) as error:
        check(dataclasses.replace(odd_manifest, files=(*files, gone), tracks=tracks))
    for part in (
        "9 problems",
        "more than one track is called 'twice'",
        "split 'training' must be one of train, valid, test",
        "0 frames",
        "class 'z' is not one of x, y",
        "points to file 9 of 7",
        "starts at frame -1",
        "has 3 gains, not 2",
        "6 channels in a dataset of 2",
        "gone.wav: no such file",
    ):
        assert part in str(error.value)


def test_an_empty_split_says_what_there_is(odd_manifest):
    with pytest.raises(DataError, match=r"no track in split 'test'.*train 6, valid 1"):
        odd_manifest.split("test")


def test_registry_suggests_and_refuses(monkeypatch, odd_manifest):
    monkeypatch.delitem(registry.DATASETS, "odd", raising=False)
    register("odd")(lambda root, sources: odd_manifest)
    assert build_manifest("odd", "", ("x",)) is odd_manifest
    with pytest.raises(ValueError, match="did you mean 'folder'"):
        build_manifest("foldr", "", ("x",))
    with pytest.raises(ValueError, match="'odd' is registered twice"):
        register("odd")(lambda root, sources: odd_manifest)
