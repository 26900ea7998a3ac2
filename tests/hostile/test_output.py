"""``sepjax separate`` writes its own stems, all or none, and nothing else anywhere."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from sepjax import storage
from sepjax.commands import cli
from sepjax.inference.chunks import Chunking
from sepjax.inference.ensemble import Member, make_ensemble
from sepjax.inference.files import separate_file
from sepjax.inference.places import Place, names_of
from sepjax.inference.stems import StemFiles
from sepjax.models import Separation, SeparationModel
from sepjax.storage import locked, move_all, scratch_folder
from tests.support.forks import Fork
from tests.tiny_run import environment

MODEL = Path(__file__).parents[1] / "fixtures/b054c28/weights"
RATE = 8000
STEMS = ["rest.wav", "voice.wav"]
OTHERS = signal.SIGQUIT, signal.SIGUSR1


class Quarters(SeparationModel):
    """Estimates that sum to the mixture."""

    sources: tuple = ("one", "two", "three", "four")
    sample_rate: int = RATE

    def __call__(self, mixture):
        return Separation(
            jnp.stack([mixture * share for share in (0.5, 0.2, 0.2, 0.1)], 1)
        )


def tone(path, frames=4000, scale=0.3, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = scale * np.sin(0.3 * np.arange(frames, dtype=np.float32))
    plain = path.with_name(f"tone{path.suffix}")
    soundfile.write(plain, wave.astype(np.float32), RATE, **options)
    return plain.rename(path)


def separate(output, *files, options=()):
    arguments = [*map(str, files), "-n", str(MODEL), "-o", str(output)]
    return cli.main(["separate", *arguments, *options])


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "name", ["...wav", "..wav", ".. .wav", "song.part.wav", ".x.wav"]
)
def test_no_file_name_leads_out_of_the_output(tmp_path, name):
    kept = tone(tmp_path / "voice.flac")
    assert separate(tmp_path / "out" / "deep", tone(tmp_path / name)) == 0
    made = [path for path in tmp_path.rglob("voice.wav")]
    assert len(made) == 1
    assert made[0].parent.parent == tmp_path / "out" / "deep"
    assert kept.exists()


def test_names_are_as_deep_as_needed_and_always_differ():
    files = [
        "/x/CD/01.wav",
        "/y/CD/01.wav",
        "/y/song.wav",
        "/y/song.flac",
        "/y/SONG.mp3",
    ]
    names = [next(each) for each in names_of([Path(file) for file in files]).values()]
    assert names == ["x - CD - 01", "y - CD - 01", "song.wav", "song.flac", "SONG.mp3"]
    (one,) = names_of([Path("/s/song/mix.wav")]).values()
    assert [next(one) for _ in range(4)] == [
        "song",
        "s - song",
        "song - mix.wav",
        "song - mix.wav (2)",
    ]


@pytest.mark.parametrize("name", ["x" * 251, "\u66f2" * 83, os.fsdecode(b"\xe9\xff")])
def test_every_name_that_the_system_allows_can_be_separated(tmp_path, name, capsys):
    files = [tone(tmp_path / folder / f"{name}.wav") for folder in "ab"]
    assert separate(tmp_path / "out", *files) == 0
    assert len(list((tmp_path / "out").glob("*/voice.wav"))) == 2
    assert "->" in capsys.readouterr().out


@pytest.fixture
def piped():
    """``(file) -> None``: make a pipe the standard input of this process."""
    before = os.dup(0)

    def pipe(file):
        with subprocess.Popen(["cat", file], stdout=subprocess.PIPE) as process:
            os.dup2(process.stdout.fileno(), 0)

    yield pipe
    os.dup2(before, 0)
    os.close(before)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_recording(tmp_path, piped, monkeypatch, name):
    out = tmp_path / "out"
    piped(tone(tmp_path / "song.wav"))  # small: a pipe holds it
    with open(0, closefd=False) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert separate(out, name) == 0
    assert soundfile.info(out / "stdin" / "voice.wav").frames == 4000


def test_what_fails_keeps_no_name(tmp_path):
    bad = tmp_path / "song.lrc"
    bad.write_text("[00:01.00] words")
    assert separate(tmp_path / "out", bad, tone(tmp_path / "song.wav")) == 1
    assert tree(tmp_path / "out") == ["song", *(f"song/{stem}" for stem in STEMS)]


def test_stems_replace_those_of_the_same_file_alone(tmp_path, capsys):
    out = tmp_path / "out"
    first, second = (tone(tmp_path / folder / "x.wav") for folder in "ab")
    true = tone(tmp_path / "set" / "song" / "voice.wav")
    content = true.read_bytes()
    for _ in range(2):  # the second time the same names come out, as FLAC
        assert separate(out, first) == 0
        assert separate(out, second) == 0
    assert separate(out, first, options=["--format", "flac"]) == 0
    flac = ["x/rest.flac", "x/voice.flac"]
    assert tree(out) == ["b - x", *(f"b - x/{stem}" for stem in STEMS), "x", *flac]
    # The true stems of a data set stay, wherever the estimates go.
    assert separate(tmp_path / "set", tone(tmp_path / "set/song/mixture.wav")) == 0
    assert true.read_bytes() == content
    assert (tmp_path / "set" / "set - song" / "voice.wav").exists()
    with (
        pytest.raises(FileExistsError, match="not made of"),
        StemFiles(Place.of(true.parent), ["voice"], RATE),
    ):
        pass


def test_folders_of_the_user_stay(tmp_path):
    notes = [tmp_path / "out" / name / "notes.txt" for name in ("song.part", "song")]
    for note in notes:
        storage.write_atomically(note, "mine")
    assert separate(tmp_path / "out", tone(tmp_path / "song.wav")) == 0
    assert all(note.exists() for note in notes)
    assert (tmp_path / "out" / "song" / "voice.wav").exists()


def test_a_folder_in_the_place_of_a_stem_leaves_all_of_them_elsewhere(tmp_path):
    (tmp_path / "out" / "song" / "voice.wav").mkdir(parents=True)
    assert separate(tmp_path / "out", tone(tmp_path / "song.wav")) == 0
    assert tree(tmp_path / "out" / "song") == ["voice.wav"]
    assert tree(tmp_path / "out" / f"{tmp_path.name} - song") == STEMS


def test_all_files_are_moved_or_none(tmp_path):
    (tmp_path / "there" / "b").mkdir(parents=True)
    old = storage.write_atomically(tmp_path / "there" / "a", "old")
    new = [storage.write_atomically(tmp_path / "part" / name, "new") for name in "ab"]
    with pytest.raises(IsADirectoryError):
        move_all({path: tmp_path / "there" / path.name for path in new}, [old])
    assert old.read_text() == "old"
    assert [path.read_text() for path in new] == ["new", "new"]


def test_two_commands_on_one_track_do_not_meet(tmp_path, capsys):
    file, out = tone(tmp_path / "x.wav"), tmp_path / "out"
    with scratch_folder(out / "x") as scratch:
        (scratch / "raw").touch()
        assert separate(out, file) == 1
        text = capsys.readouterr().err
        assert "is in use by process" in text
        assert "make room" not in text
        assert (scratch / "raw").exists()
    assert not scratch.exists()
    assert separate(out, file) == 0


def test_files_of_others_in_the_output_stay(tmp_path):
    """A link or a folder in the place of scratch space, files called like a probe."""
    out, file = tmp_path / "out", tone(tmp_path / "s.wav")
    kept = storage.write_atomically(out / ".sepjax-write-test", "mine")
    with scratch_folder(out / "s") as scratch:
        pass
    run = storage.write_atomically(tmp_path / "run" / "thesis.txt", "mine").parent
    (run / storage.LOCK).write_text("process 7 on host")
    for make in (
        lambda: scratch.symlink_to(run),
        lambda: shutil.copytree(run, scratch),
    ):
        make()
        assert separate(out, file) == 1
        assert (scratch / "thesis.txt").read_text() == "mine"
        scratch.unlink() if scratch.is_symlink() else shutil.rmtree(scratch)
    assert separate(out, file) == 0
    assert kept.read_text() == "mine"


def test_a_pipe_in_the_place_of_a_stem_is_not_waited_for(tmp_path):
    (tmp_path / "out" / "s").mkdir(parents=True)
    os.mkfifo(tmp_path / "out" / "s" / "voice.wav")
    assert separate(tmp_path / "out", tone(tmp_path / "s.wav")) == 0
    assert tree(tmp_path / "out" / f"{tmp_path.name} - s") == STEMS


def test_ends_of_lines_in_names_do_not_make_lines(tmp_path, capsys):
    file = tone(tmp_path / "x\nsepjax: error: forged\r.wav")
    assert separate(tmp_path / "out", file, tmp_path / "no\n.wav") == 1
    out, err = capsys.readouterr()
    assert "x\\nsepjax: error: forged\\r.wav ->" in out
    assert [
        line for line in err.splitlines() if line.startswith("sepjax: error: forged")
    ] == []


def test_what_a_killed_command_left_is_taken_over(tmp_path):
    with scratch_folder(tmp_path / "x") as scratch:
        left = Path(shutil.copytree(scratch, tmp_path / "left"))
        (left / "raw").touch()
    left.rename(scratch)
    with scratch_folder(tmp_path / "x") as again:
        assert again == scratch
        assert [path.name for path in again.iterdir()] == [storage.LOCK]
    (scratch / "mine").mkdir(parents=True)
    with (
        pytest.raises(OSError, match="no scratch folder of sepjax"),
        scratch_folder(tmp_path / "x"),
    ):
        pass
    assert (scratch / "mine").exists()


# What ends it by a handler of ours, and what Python raises.
@pytest.mark.parametrize(
    "number",
    [
        *(signal.SIGTERM, signal.SIGINT),
        *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS),
    ],
)
def test_every_signal_that_ends_it_leaves_nothing(tmp_path, number):
    file, out = tone(tmp_path / "long.wav", 12_000_000), tmp_path / "out"
    command = ["-m", "sepjax", "separate", file, "-n", MODEL, "-o", out]
    process = Fork(command, environment(1))
    deadline = time.monotonic() + 60
    while not list(out.glob(".sepjax-*/*.raw")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    text = process.communicate(timeout=30)[0]
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert "Traceback" not in text
    assert tree(out) == []


def test_names_do_not_steer_the_terminal(tmp_path, capsys):
    file = tone(tmp_path / "a\x1b[31m\u202eb.wav")
    assert separate(tmp_path / "out\x1b]0;x\x07", file, tmp_path / "\x9bmissing") == 1
    out, err = capsys.readouterr()
    assert not set(out + err) & set("\x1b\x07\x9b\u202e")
    assert "a\\x1b[31m\\u202eb.wav" in out


@pytest.mark.parametrize(
    ("level", "subtype", "made"),
    [
        (-70, "PCM_24", "FLOAT"),
        (-10, "PCM_24", "PCM_24"),
        (-70, "FLOAT", "FLOAT"),
        (-10, "PCM_16", "PCM_16"),
    ],
)
def test_stems_sum_to_the_mixture_at_the_depth_of_the_file(
    tmp_path, level, subtype, made
):
    path = tone(tmp_path / "a.wav", 40_000, 10 ** (level / 20), subtype=subtype)
    ensemble = make_ensemble([Member(Quarters(), {}, Chunking(2.0, rescale=False))])
    note = separate_file(ensemble, open_part(path), Place.of(tmp_path / "out"), path)
    assert ("float" in note) == (made == "FLOAT")
    stems = [soundfile.read(path)[0] for path in sorted((tmp_path / "out").iterdir())]
    assert {soundfile.info(path).subtype for path in (tmp_path / "out").iterdir()} == {
        made
    }
    mixture, _ = soundfile.read(path)
    null = 10 * np.log10(np.mean(mixture**2) / np.mean((sum(stems) - mixture) ** 2))
    assert null >= (90 if subtype != "PCM_16" else 75)


def test_samples_beyond_floats_are_an_error_that_names_file_and_stem(tmp_path, capsys):
    path = tmp_path / "loud.wav"
    wave = np.tile([3.2e38, -3.2e38, 1e37, 2e38], 2000)
    soundfile.write(path, wave.astype(np.float32), RATE, "FLOAT")
    code = separate(tmp_path / "out", path)
    stems = list((tmp_path / "out").rglob("*.wav"))
    assert all(np.isfinite(soundfile.read(stem)[0]).all() for stem in stems)
    assert code == (0 if stems else 1)
    if code:
        assert str(path) in capsys.readouterr().err


def test_the_band_that_a_model_cannot_hear_is_told(tmp_path, capsys):
    wave = np.zeros(4410, np.float32)
    wave[100] = 0.5
    soundfile.write(tmp_path / "cd.wav", wave, 44100)
    assert (
        separate(tmp_path / "out", tmp_path / "cd.wav", tone(tmp_path / "a.wav")) == 0
    )
    lines = capsys.readouterr().err.splitlines()
    (told,) = (line for line in lines if "the model hears up to 4 kHz" in line)
    assert "cd.wav" in told


@pytest.mark.parametrize("chunk", ["inf", "1e9", "1e-9", "nan", "0", "-1"])
def test_a_chunk_has_a_length_that_memory_holds(tmp_path, capsys, chunk):
    file = tone(tmp_path / "a.wav")
    assert separate(tmp_path / "out", file, options=["--chunk", chunk]) == 1
    assert "must be 0.01 to 3600 seconds" in capsys.readouterr().err


def test_a_locked_folder_says_by_whom(tmp_path):
    with locked(tmp_path / "run", "process 7", "wait"):
        with (
            pytest.raises(BlockingIOError, match="in use by process 7: wait"),
            locked(tmp_path / "run", "8", "wait"),
        ):
            pass
    with open(tmp_path / "run" / storage.LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["seperate"], "did you mean 'separate'"),
        (["separate", "a", "-n", "b", "--ouput", "c"], "'--output'"),
        (["separate", "a", "--ouput", "c"], "'--output'"),
        (["--verison"], "'--version'"),
    ],
)
def test_misspelled_arguments_are_told_with_the_nearest(line, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(line)
    assert text in capsys.readouterr().err
