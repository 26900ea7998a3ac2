"""sepjax oracle on folders of tones and noise: four mixes, one page, bad songs."""

import json

import numpy as np
import pytest
import soundfile

from sepjax.commands import cli

RATE = 8000
PROCEDURES = ["summing", "averaging", "scaling", "adaptive"]


def write(path, wave):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave, -1, 1 - 2**-15), RATE, "PCM_16")


def tone(frequency, level, seconds=2.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return level * np.sin(2 * np.pi * frequency * time)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A bass apart from two kinds of noise that cover each other; drums overflow."""
    root = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        write(root / name / "bass.wav", tone(100, 0.5))
        for index in range(3):
            hit = rng.uniform(-0.8, 0.8, (2 * RATE, 2))
            write(root / name / "drums" / f"{index}.wav", hit)
        write(root / name / "shaker.wav", rng.uniform(-0.3, 0.3, 2 * RATE + 1))
    (root / "three").mkdir()
    (root / "three" / "bass.wav").write_bytes(b"no music")
    return root


@pytest.fixture(scope="module")
def results(music, tmp_path_factory):
    """What a run with a broken song writes and says."""
    output = tmp_path_factory.mktemp("out") / "new" / "folder"
    arguments = ["oracle", str(music), "--window", "1", "--jobs", "2"]
    assert cli.main([*arguments, "-o", str(output)]) == 1  # a song was left out
    text = (output / "oracle.json").read_text()
    assert "NaN" not in text
    return json.loads(text) | {"page": (output / "oracle.html").read_text()}


def test_every_good_song_is_measured(results):
    assert [track["name"] for track in results["tracks"]] == ["one", "two"]
    assert [failed["name"] for failed in results["failed"]] == ["three"]
    assert "bass.wav" in results["failed"][0]["error"]
    assert list(results["scores"]) == PROCEDURES
    assert results["definition"]["classes"] == ["bass", "drums", "shaker"]
    one = results["tracks"][0]
    assert one["classes"]["drums"]["tracks"] == 3
    assert one["seconds"] == pytest.approx(2 + 1 / RATE)
    assert "three" in results["page"]


def test_overflow_is_counted_where_it_clips(results):
    clipped = results["clipped"]
    assert clipped["summing"]["stems"]["drums"] > 1000
    assert clipped["summing"]["stems"]["bass"] == 0
    assert clipped["summing"]["songs"] == 2
    assert not any(clipped["adaptive"]["stems"].values())
    assert clipped["adaptive"]["mixture"] == clipped["scaling"]["mixture"] == 0


def test_scores_tell_the_procedures_apart(results):
    scores = results["scores"]
    for name in ("bass", "drums", "shaker"):
        # Scaling and adaptive differ by a factor, apart from rounding to 16 bits.
        scaling, adaptive = (scores[p][name]["si_sdr"] for p in ("scaling", "adaptive"))
        assert scaling == pytest.approx(adaptive, abs=0.01)
    # One of three classes divided by three, at best 20 log10(3 / 2).
    assert scores["averaging"]["bass"]["sdr"] < 3.53
    assert scores["adaptive"]["bass"]["sdr"] > 10


def test_noises_mask_each_other_and_are_merged(results):
    assert results["overlap"]["pairs"][0]["classes"] == ["drums", "shaker"]
    assert results["overlap"]["pairs"][0]["overlap"] > 0.5
    assert not results["classes"]["shaker"]["reaches_mark"]
    first, last = results["groupings"]
    assert first["groups"] == [["bass"], ["drums"], ["shaker"]]
    assert last["groups"] == [["bass"], ["drums", "shaker"]]
    assert last["reaches_mark"]
    assert last["scores"]["drums+shaker"]["si_sdr"] > 6


def test_a_good_set_is_a_success_and_says_what_it_is(music, tmp_path, capsys):
    arguments = ["oracle", str(music), "--sources", "shaker,drums", "--mark", "-30"]
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "one").symlink_to(music / "one")
    arguments[1] = str(tmp_path / "root")
    assert cli.main([*arguments, "-o", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "predicts which classes are easy; it is not an upper bound" in out
    assert out.index("shaker") < out.index("drums")
    assert "\r" not in err  # a log, not a terminal
    stored = json.loads((tmp_path / "out" / "oracle.json").read_text())
    assert len(stored["groupings"]) == 1
    assert stored["groupings"][0]["reaches_mark"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sources", "drum"], "drums"),
        (["--split", "test"], "no split 'test'"),
        (["--jobs", "0"], "--jobs must be above zero"),
        (["--window", "nan"], "--window must be above zero"),
    ],
)
def test_mistakes_are_named(music, tmp_path, capsys, options, message):
    assert cli.main(["oracle", str(music), *options, "-o", str(tmp_path)]) == 1
    assert message in capsys.readouterr().err


def test_classes_alone_or_silent_have_no_score_and_a_page(tmp_path):
    write(tmp_path / "music" / "one" / "bass.wav", tone(100, 0.5))
    write(tmp_path / "music" / "two" / "ghost.wav", np.zeros(1))
    output = tmp_path / "out"
    assert cli.main(["oracle", str(tmp_path / "music"), "-o", str(output)]) == 0
    stored = json.loads((output / "oracle.json").read_text())
    assert stored["scores"]["adaptive"]["bass"] == {"si_sdr": None, "sdr": None}
    assert stored["classes"]["ghost"]["songs"] == 0
    assert stored["groupings"] == []
    assert "0 of 2 classes" in (output / "oracle.html").read_text()


def test_no_song_at_all_is_an_error(tmp_path, capsys):
    (tmp_path / "music" / "one").mkdir(parents=True)
    (tmp_path / "music" / "one" / "bass.wav").write_bytes(b"")
    output = str(tmp_path / "out")
    assert cli.main(["oracle", str(tmp_path / "music"), "-o", output]) == 1
    assert "none of the 1 songs could be measured" in capsys.readouterr().err
