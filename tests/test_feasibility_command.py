"""sepjax oracle on folders of tones and noise: four mixes, one page, bad songs."""

import json

import numpy as np
import pytest
import soundfile

from data_pipelines.collections.multitrack import open_recordings
from sepjax.commands import cli
from sepjax.evaluation.feasibility import measure
from sepjax.evaluation.masks import ideal_binary_mask
from sepjax.evaluation.masks_wiener import ideal_wiener_filter
from sepjax.evaluation.whole_track import si_sdr
from sepjax.report.pages.feasibility_table import table_4_1, table_4_2, table_4_3

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


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Six songs of bass and drums, four of them with a shaker."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(1)
    for number in range(6):
        folder = root / f"song{number}"
        write(folder / "bass.wav", tone(100 + 20 * number, 0.3))
        write(folder / "drums.wav", rng.uniform(-0.1, 0.1, 2 * RATE))
        if number < 4:
            write(folder / "shaker.wav", rng.uniform(-0.2, 0.2, 2 * RATE))
    return root


def test_songs_are_drawn_for_each_class(many, tmp_path, capsys):
    command = [
        "oracle",
        str(many),
        "--window",
        "1",
        "--mark",
        "-30",
        "--songs-per-class",
    ]
    assert cli.main([*command, "2", "-o", str(tmp_path / "two")]) == 0
    stored = json.loads((tmp_path / "two" / "oracle.json").read_text())
    draws, tracks = stored["draws"], {each["name"]: each for each in stored["tracks"]}
    assert {name: len(songs) for name, songs in draws.items()} == dict.fromkeys(
        ("bass", "drums", "shaker"), 2
    )
    assert set(draws["shaker"]) <= {f"song{number}" for number in range(4)}
    assert set(tracks) == {song for songs in draws.values() for song in songs}
    for name, songs in draws.items():
        assert stored["classes"][name]["songs"] == 2
        for metric in ("si_sdr", "sdr"):
            scores = [
                tracks[song]["scores"]["adaptive"][name][metric] for song in songs
            ]
            found = stored["scores"]["adaptive"][name][metric]
            assert found == pytest.approx(np.median(scores))
    assert (
        "up to 2, drawn with seed 42" in (tmp_path / "two" / "oracle.html").read_text()
    )
    classes, songs = open_recordings(str(many))
    draw = {seed: measure.draw_songs(classes, songs, 3, seed) for seed in range(5)}
    assert len({str(each) for each in draw.values()}) == 5
    assert {
        n: s[:2] for n, s in measure.draw_songs(classes, songs, 9, 42).items()
    } == draws
    assert cli.main([*command, "-1", "-o", str(tmp_path / "none")]) == 1
    assert "--songs-per-class must be 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize("mask", ["binary", "wiener"])
def test_other_masks(many, tmp_path, capsys, mask):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "song0").symlink_to(many / "song0")
    command = ["oracle", str(tmp_path / "one"), "--window", "1", "--mark", "-30"]
    assert cli.main([*command, "--mask", mask, "-o", str(tmp_path)]) == 0
    assert f"Oracle: {mask}, 1 song" in capsys.readouterr().out
    stored = json.loads((tmp_path / "oracle.json").read_text())
    assert mask in stored["definition"]["oracle"].lower()
    stems = [
        soundfile.read(many / "song0" / f"{name}.wav", always_2d=True)[0]
        for name in ("bass", "drums", "shaker")
    ]
    stems = np.stack(stems).astype(np.float32)
    function = {"binary": ideal_binary_mask, "wiener": ideal_wiener_filter}[mask]
    expected = si_sdr(stems, function(stems, stems.sum(0), n_fft=512))
    found = [row["si_sdr"] for row in stored["scores"]["adaptive"].values()]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_tables_of_the_thesis(results):
    first, second, *rows = table_4_1(results).splitlines()
    assert first == "| dB: ours (printed) | bass | drums | shaker |"
    assert second == "| --- | ---: | ---: | ---: |"
    assert [row.split(" |")[0] for row in rows] == [
        f"| {metric}, {procedure}"
        for metric in ("SI-SDR", "SDR")
        for procedure in PROCEDURES
    ]
    scores = results["scores"]["averaging"]
    bass, drums, shaker = (scores[n]["sdr"] for n in ("bass", "drums", "shaker"))
    assert rows[5].split(" | ")[1:] == [
        f"{bass:.2f} (5.802, a misprint)",
        f"{drums:.2f} (0.68 to 0.69)",
        f"{shaker:.2f} (?) |",
    ]
    assert "5.802" not in table_4_3(results)  # which are cells of another table
    *_, ours, printed = table_4_2(results).splitlines()
    summed = results["scores"]["summing"]["bass"]["sdr"]
    assert ours.startswith(f"| ours, 1 s | {summed:.2f} |")
    assert printed == "| printed, 6 s | 6.924 | 8.704 | ? |"


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
