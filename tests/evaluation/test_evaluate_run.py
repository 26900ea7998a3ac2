"""Two small tracks through the whole of an evaluation."""

import json
from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from orbax.checkpoint import multihost

from data_pipelines.feeding.live import Venue, live_track
from data_pipelines.manifest import LoadedTrack
from sepjax.config import Config
from sepjax.evaluation.run import evaluate
from sepjax.evaluation.tables import summary
from sepjax.evaluation.whole_track import si_sdr
from sepjax.models.contract import SeparationModel
from sepjax.models.tasnet.config import TasNetConfig

RATE = 8000
CLASSES = ("bass", "drums", "vocals")


class Track(NamedTuple):
    name: str
    sample_rate: int
    classes: tuple
    mixture: np.ndarray
    references: np.ndarray


class Split(SeparationModel):
    """Low and high part of the spectrum; overflows where the mixture says so."""

    sources: tuple[str, ...] = ("drums", "bass", "vocals")  # not the data's order
    sample_rate: int = RATE

    def __call__(self, mixture):
        spectrum = jnp.fft.rfft(mixture)
        low = jnp.arange(spectrum.shape[-1]) < 0.15 * spectrum.shape[-1]
        bass = jnp.fft.irfft(jnp.where(low, spectrum, 0), mixture.shape[-1])
        drums = mixture - bass
        drums = jnp.where(jnp.abs(mixture).max() > 20, jnp.inf, drums)
        return SimpleNamespace(estimates=jnp.stack([drums, bass, 0.01 * drums], 1))


def song(name, seconds, seed):
    """A low tone, noise, and a class that never sounds."""
    rng = np.random.default_rng(seed)
    time = int(seconds * RATE)
    bass = 0.2 * np.sin(2 * np.pi * 100 / RATE * np.arange(time))
    drums = rng.normal(0, 0.1, time)
    references = np.stack([bass, drums, 0 * bass])[..., None].astype(np.float32)
    return Track(name, RATE, CLASSES, references.sum(0), references)


def config(metrics=("si_sdr", "usdr")):
    """Without BSS Eval, which takes most of the time."""
    settings = Config(model=TasNetConfig(), name="tiny")
    settings.eval.metrics = metrics
    settings.data.sources = settings.model.sources = CLASSES
    settings.eval.chunk_seconds = 1.0
    settings.eval.excerpt_seconds = 0.5
    return settings


PROVENANCE = {"commit": "abc", "data_sha256": "0" * 64}


def run(tmp_path, tracks, settings=None, **options):
    return evaluate(
        Split(),
        {},
        settings or config(),
        tracks,
        workdir=tmp_path,
        provenance=PROVENANCE,
        progress=False,
        **options,
    )


def test_two_tracks_end_to_end(tmp_path):
    tracks = iter([song("first", 2.5, 1), song("second", 1.2, 2)])
    results = run(tmp_path, tracks, config(Config().eval.metrics), seen={"second"})
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text) == results
    assert "NaN" not in text
    assert [track["seen"] for track in results["tracks"]] == [False, True]
    assert results["failed"] == []
    assert list(results["model"]) == ["drums", "bass", "vocals"]
    vocals = results["model"]["vocals"]
    assert vocals["tracks"] == 0
    assert vocals["si_sdr"] is None
    assert results["model"]["bass"]["tracks"] == 2
    assert results["improvement"]["bass"]["si_sdr"] > 5
    gains = [
        track["model"]["bass"]["si_sdr"] - track["mixture"]["bass"]["si_sdr"]
        for track in results["tracks"]
    ]
    assert results["improvement"]["bass"]["si_sdr"] == pytest.approx(np.mean(gains))
    bass, drums = (results["oracle"][name]["si_sdr"] for name in ("bass", "drums"))
    assert results["mean"]["oracle"]["si_sdr"] == pytest.approx((bass + drums) / 2)
    # The mixture's score is the ratio of the levels, 0.2^2 / 2 to 0.1^2.
    assert results["mixture"]["bass"]["si_sdr"] == pytest.approx(3.0, abs=0.3)


def test_live_songs_are_scored_by_all_metrics(tmp_path):
    settings = config(Config().eval.metrics)
    settings.live.eval = True
    dry = LoadedTrack(*song("live", 2.5, 1))
    track = live_track(dry, settings, Venue()).recorded
    results = run(tmp_path, [track], settings)
    # No microphone is silent: every class has every score.
    for name in CLASSES:
        scores = results["model"][name]
        assert all(np.isfinite(scores[m]) for m in Config().eval.metrics), name
    assert results["definition"]["live"]["references"] == "recorded"
    # The scores of the recorded stems against what was played, computed again.
    expected = si_sdr(track.clean[:2], track.references[:2])
    recorded = results["clean"]["recorded"]
    found = [recorded[name]["si_sdr"] for name in CLASSES[:2]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert set(results["clean"]["model"]["bass"]) >= {"sdr", "si_sdr", "usdr"}


class Gate(Split):
    """Drums are what is loud."""

    def __call__(self, mixture):
        drums = jnp.where(jnp.abs(mixture) > 0.4, mixture, 0)
        bass = mixture - drums
        return SimpleNamespace(estimates=jnp.stack([drums, bass, 0 * bass], 1))


def test_songs_are_heard_as_loud_as_in_training(tmp_path):
    settings, options = config(), dict(provenance=PROVENANCE, progress=False)
    scores = {}
    for normalize in (True, False):
        settings.data.normalize = normalize
        track = [song("first", 1.0, 1)]
        found = evaluate(Gate(), {}, settings, track, workdir=tmp_path, **options)
        scores[normalize] = found["tracks"][0]["model"]["drums"]["si_sdr"]
    drums = track[0].references[1, :, 0]
    loud = track[0].mixture[:, 0] * (np.abs(track[0].mixture[:, 0]) > 0.4)
    assert scores[False] == pytest.approx(si_sdr(drums, loud), abs=0.01)
    assert abs(scores[True] - scores[False]) > 1


def test_every_number_carries_its_definition(tmp_path):
    results = run(tmp_path, [song("first", 1.0, 1)])
    definition = results["definition"]
    assert definition["split"] == "test"
    assert definition["sample_rate"] == RATE
    assert definition["data_sha256"] == PROVENANCE["data_sha256"]
    assert definition["commit"] == "abc"
    assert definition["seed"] == 42
    assert definition["oracle"]["n_fft"] == 512
    for key in ("si_sdr", "usdr", "silence", "aggregation", "channels", "zero_mean"):
        assert key in definition
    assert results["provenance"] == PROVENANCE


def test_excerpts_are_what_was_scored(tmp_path):
    track = song("first", 2.5, 1)
    run(tmp_path, [track])
    entries = json.loads((tmp_path / "audio/index.json").read_text())
    assert [entry["track"] for entry in entries] == ["first"] * 3
    assert sorted(entries[0]["references"]) == sorted(CLASSES)
    assert sorted(entries[0]["estimates"]) == sorted(CLASSES)
    for entry in entries:
        path = tmp_path / "audio" / entry["references"]["drums"]
        audio, rate = soundfile.read(path)
        start = round(entry["start"] * rate)
        expected = track.references[1, start : start + len(audio), 0]
        np.testing.assert_allclose(audio, expected * entry["gain"], atol=1 / 2**15)


def test_a_failing_track_is_named_and_the_others_are_scored(tmp_path, capsys):
    bad = song("bad take", 2.0, 3)
    bad.mixture[500] = 100.0
    other = song("other classes", 1.0, 4)._replace(classes=("bass", "drums", "keys"))
    results = run(tmp_path, [song("good", 1.0, 1), bad, other, song("fine", 1.0, 2)])
    assert [track["name"] for track in results["tracks"]] == ["good", "fine"]
    failed = {item["name"]: item["error"] for item in results["failed"]}
    assert "'drums' is not finite" in failed["bad take"]
    assert "vocals" in failed["other classes"]
    assert "bad take" in capsys.readouterr().err
    assert "FAILED bad take" in summary(results)


def test_summary_shows_scores_and_marks_what_was_seen(tmp_path):
    results = run(tmp_path, [song("first", 1.0, 1)], seen={"first"})
    text = summary(results)
    assert "SEEN in training (1): first" in text
    row = next(line for line in text.splitlines() if line.startswith("vocals"))
    assert row.split() == ["vocals", "-", "-", "-", "-", "0"]


def test_no_track_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="'test' has no track"):
        run(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_only_failures_still_give_a_record(tmp_path):
    bad = song("bad", 1.0, 3)
    bad.mixture[:] = np.nan
    results = run(tmp_path, [bad])
    assert results["tracks"] == []
    assert "NaN" in results["failed"][0]["error"]
    assert "FAILED bad" in summary(results)


def test_processes_bring_their_songs_together(tmp_path, monkeypatch, capsys):
    """One after the other, so that here none has to wait at the barrier."""
    monkeypatch.setattr(multihost, "get_barrier_sync_fn", lambda: lambda **_: None)
    songs = [song(f"song {index}", 1.0 + 0.2 * index, index) for index in range(5)]
    songs[1].mixture[500] = 100.0  # fails in the second process
    songs[3].references[:] *= 2.0  # the loudest, and there too
    alone = run(tmp_path / "one", songs, seen={"song 3"})
    capsys.readouterr()
    for process in (1, 2, 0):
        part = slice(process, None, 3)
        results = run(tmp_path / "three", songs[part], seen={"song 3"}, part=part)
        assert (results is None) == (process > 0)
    assert results == alone
    assert [row["name"] for row in results["failed"]] == ["song 1"]
    assert capsys.readouterr().err == ""  # of the failure the first one's summary tells
    ours, theirs = (written(tmp_path / name) for name in ("three", "one"))
    assert ours == theirs
    index = json.loads(ours["audio/index.json"])
    assert index[0]["track"] == "song 3"
    assert len({entry["track"] for entry in index}) == 3


def written(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
