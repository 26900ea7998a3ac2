"""Which excerpts are kept, and how they are stored."""

import json

import numpy as np
import soundfile

from sepjax.evaluation.excerpts import Collector, sounding_places

RATE = 1000


def waves(time, *sounding, level=0.1):
    """Sources of noise, each sounding in one (start, stop) of seconds."""
    rng = np.random.default_rng(time)
    references = np.zeros((len(sounding), time, 1), np.float32)
    for source, (start, stop) in zip(references, sounding):
        piece = slice(start * RATE, stop * RATE)
        source[piece] = level * rng.uniform(-1, 1, source[piece].shape)
    return references.sum(0), references, 0.5 * references


def test_places_where_most_classes_sound_come_first():
    _, references, _ = waves(12 * RATE, (0, 8), (6, 12), (6, 8))
    (first, level), (second, lower) = sounding_places(references, 2 * RATE, 2)
    assert first == 6 * RATE
    assert level > lower
    assert abs(second - first) >= 2 * RATE


def test_every_track_is_heard_before_one_is_heard_twice():
    collector = Collector(3, 1.0)
    everywhere = (0, 4), (0, 4)
    collector.add(
        0, "quiet", RATE, ("a", "b"), *waves(4 * RATE, *everywhere, level=0.01)
    )
    collector.add(1, "loud", RATE, ("a", "b"), *waves(4 * RATE, *everywhere))
    kept = [excerpt.track for excerpt in collector.kept]
    assert kept == ["loud", "quiet", "loud"]


def test_files_hold_the_excerpt_at_one_common_gain(tmp_path):
    mixture, references, estimates = waves(4 * RATE, (0, 4), (0, 4), level=0.4)
    estimates *= 10
    folder = tmp_path / "audio"
    folder.mkdir()
    (folder / "old.flac").touch()
    collector = Collector(1, 2.0)
    name = "../AC/DC: T.N.T."
    collector.add(0, name, RATE, ("a", "b"), mixture, references, estimates)
    collector.write(folder)
    (entry,) = json.loads((folder / "index.json").read_text())
    assert entry["track"] == name
    assert entry["seconds"] == 2.0
    start = round(entry["start"] * RATE)
    piece = slice(start, start + 2 * RATE)
    assert entry["gain"] < 1
    for path, wave in (
        (entry["mixture"], mixture),
        (entry["references"]["b"], references[1]),
        (entry["estimates"]["a"], estimates[0]),
    ):
        audio, rate = soundfile.read(folder / path, always_2d=True)
        assert rate == RATE
        # Half a step of 16 bits, and the step that full scale itself is short.
        np.testing.assert_allclose(
            audio, wave[piece] * entry["gain"], atol=1.01 / 2**15
        )
    assert len(list(folder.iterdir())) == 2, "the old excerpt is gone"
    assert len(list(tmp_path.iterdir())) == 1, "nothing is written elsewhere"


def test_a_track_shorter_than_the_excerpt_is_kept_whole(tmp_path):
    collector = Collector(3, 8.0)
    collector.add(0, "short", RATE, ("a",), *waves(RATE, (0, 1)))
    collector.write(tmp_path / "audio")
    (entry,) = json.loads((tmp_path / "audio/index.json").read_text())
    assert entry["seconds"] == 1.0
    assert entry["start"] == 0.0
