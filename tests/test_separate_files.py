"""``sepjax separate``: which files go in, and which come out under which names."""

import io
import shlex
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from data_pipelines.audio.encode import CLIP_MODES, FORMATS, Output
from sepjax.commands import cli
from sepjax.commands.files import KINDS
from sepjax.inference.places import Place, check_pattern, names_of
from sepjax.inference.separator import find_device, load_ensemble
from sepjax.inference.stems import StemFiles
from tests.support.stem_file import tone, write_streams

MODEL = Path(__file__).parent / "fixtures/b054c28/weights"
RATE = 8000
STEMS = ("rest", "voice")


def write(path, frames=4000, rate=RATE, channels=1, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(300, frames, rate, channels), rate, **options)
    return path


def separate(*words, model=MODEL):
    line = [each for word in words for each in shlex.split(str(word))]
    return cli.main(["separate", "-n", str(model), *line])


def tree(folder):
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in files)


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_formats_of_the_command_are_those_that_are_written():
    assert set(KINDS) == set(FORMATS)
    assert CLIP_MODES == ("common", "rescale", "clamp", "none")


@pytest.mark.parametrize("kind", KINDS)
def test_stems_of_every_format_are_as_long_as_the_recording(there, kind, capsys):
    for frames, rate, channels in ((4001, RATE, 1), (20011, 44100, 2)):
        path = write(there / "in.wav", frames, rate, channels)
        assert separate(path, "-o out --overwrite --format", kind) == 0
        for stem in STEMS:
            made = open_part(there / "out" / "in" / f"{stem}.{kind}")
            length = sum(map(len, made.blocks()))
            made_rate = 48000 if (kind, rate) == ("opus", 44100) else rate
            assert (made.channels, made.sample_rate) == (channels, made_rate)
            assert abs(length - frames * made_rate / rate) <= 0.5
    text = capsys.readouterr().out.splitlines()[-1]
    expected = "16 bit" if kind in ("wav", "flac") else f"{kind}, 320 kb/s"
    assert expected + (", 48000 Hz" if kind == "opus" else "") in text
    # The formats make way for each other.
    assert separate(path, "-o out") == 0
    assert tree(there / "out") == [f"in/{stem}.wav" for stem in STEMS]


@pytest.mark.parametrize(
    ("name", "codec", "subtype"),
    [
        ("a.m4a", "aac", "PCM_16"),
        ("a.webm", "libopus", "PCM_16"),
        ("a.mka", "flac", "PCM_16"),
        ("a.mov", "pcm_f32le", "FLOAT"),
        ("a.wma", "wmav2", "PCM_16"),
    ],
)
def test_what_ffmpeg_decodes_is_a_recording(there, name, codec, subtype):
    rate = 48000 if codec == "libopus" else 44100
    write_streams(there / name, [tone(300, 20011, rate)], rate, codec)
    assert separate(name) == 0
    info = soundfile.info(there / "separated" / "a" / "voice.wav")
    frames = sum(map(len, open_part(name).blocks()))
    assert (info.frames, info.samplerate, info.channels) == (frames, rate, 2)
    assert info.subtype == subtype
    if codec != "wmav2":  # whose encoder in FFmpeg begins late
        assert frames == 20011


def test_the_mixture_of_a_stem_file_comes_from_standard_input(
    there, monkeypatch, capsys
):
    waves = [tone(100 * k, 9000) for k in range(1, 6)]
    path = write_streams(there / "a.stem.mp4", waves)
    assert separate(path, "-o out") == 0
    with path.open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream}))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        assert separate("- -o out") == 0
    assert tree(there / "out") == [
        f"{name}/{stem}.wav" for name in ("a", "stdin") for stem in STEMS
    ]
    monkeypatch.setattr(sys.stdin, "buffer", io.BytesIO(b"no sound"))
    assert separate("- -o out") == 1
    assert "error: -: not readable as audio" in capsys.readouterr().err
    pairs = [
        soundfile.read(there / "out" / name / "voice.wav") for name in "a stdin".split()
    ]
    np.testing.assert_array_equal(pairs[0][0], pairs[1][0])


def test_folders_of_recordings_of_all_kinds(there, capsys):
    for name in ("m/2.wav", "m/10.flac", "m/x/1.ogg", "m/.hidden.wav", "other.wav"):
        write(there / name)
    write_streams(there / "m" / "x" / "3.m4a", [tone(300, 9000)])
    (there / "m" / "cover.jpg").write_text("no sound")
    (there / "m" / "x" / "bad.mp3").write_text("no sound")
    (there / "empty").mkdir()
    assert separate("m other.wav empty m/2.wav -o m/out") == 1
    out, err = capsys.readouterr()
    tracks = [line.partition(" -> ")[0] for line in out.splitlines()]
    assert tracks == ["m/2.wav", "m/10.flac", "m/x/1.ogg", "m/x/3.m4a", "other.wav"]
    assert "m/x/bad.mp3: not readable as audio" in err
    assert "empty: not a file: a folder" in err
    assert "2 of 7 files failed" in err
    # The stems lie in the folder now, and are no recordings.
    assert separate("m -o m/out") == 1
    out, err = capsys.readouterr()
    assert "10 stems that were separated before are left out" in err
    assert [line.rpartition("(")[2] for line in out.splitlines()] == [
        "exists, skipped)"
    ] * 4


def test_what_is_done_is_skipped_until_something_changes(there, capsys):
    path = write(there / "a.wav")

    def skipped(*words):
        capsys.readouterr()
        assert separate(path, *words) == 0
        return "exists, skipped" in capsys.readouterr().out

    assert not skipped()
    assert skipped()
    assert not skipped("--overwrite")
    for change in ("--overlap 0.3", "--depth 24", "--clip-mode clamp"):
        assert not skipped(change), change
        assert skipped(change), change
    assert not skipped("--mp3")
    assert skipped("--mp3")
    assert not skipped("--mp3 --bitrate 64")
    (there / "separated" / "a" / "voice.mp3").unlink()
    assert not skipped("--mp3 --bitrate 64")
    write(path, 4001)
    assert not skipped("--mp3 --bitrate 64")


def test_models_and_their_fields_are_told_apart():
    given = [("hpss", []), ("hpss", ["model.window=0.1"]), ("repet", [])]
    recipes = [load_ensemble([name], changes=each).digest for name, each in given]
    for more in ({"total": "exact"}, {"two_stems": "harmonic"}, {"shifts": 2}):
        recipes.append(load_ensemble(["hpss"], **more).digest)
    assert len(set(recipes)) == 6
    assert recipes[0] == load_ensemble(["hpss"]).digest


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("{stem}/{track}.{ext}", ["rest/a.flac", "voice/a.flac"]),
        ("{track}_{stem}.{ext}", ["a_rest.flac", "a_voice.flac"]),
        ("{track}.{trackext}/x/{stem}", ["a.wav/x/rest", "a.wav/x/voice"]),
        ("{stem}.flac", ["rest.flac", "voice.flac"]),
    ],
)
def test_names_by_a_pattern(there, pattern, files):
    path = write(there / "a.wav")
    for _ in range(2):  # they take their own places again
        assert separate(path, "--flac --overwrite -o out --filename", pattern) == 0
        assert tree(there / "out") == files
    path = write(there / "b" / "a.wav")
    code = separate(path, "--flac -o out --filename", pattern)
    assert code == (0 if "{track}" in pattern else 1)
    assert len(tree(there / "out")) == (4 if "{track}" in pattern else 2)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("{track}/{stems}.wav", "did you mean 'stem'"),
        ("{track}/{0}.wav", "unknown key {0}"),
        ("{stem.x}.wav", "unknown key {stem.x}"),
        ("{stem:>9}.wav", "unknown key {stem}"),
        ("{track}.wav", "one name"),
        ("../{stem}.wav", "within the folder"),
        ("a/../{stem}", "within the folder"),
        ("/tmp/{stem}", "within the folder"),
        ("{stem}/", "within the folder"),
        ("{stem", "expected '}'"),
        ("..\\\\{stem}", "within the folder"),
    ],
)
def test_patterns_that_lead_elsewhere_are_refused_before_work(there, pattern, text):
    with pytest.raises(ValueError, match="--filename") as caught:
        check_pattern(pattern.replace("\\\\", "\\"))
    assert text in str(caught.value)
    assert separate("nothing.wav --filename", shlex.quote(pattern)) == 1
    assert not list(there.iterdir())


def test_no_track_gives_a_name_that_leads_out_of_the_folder():
    place = Place(Path("out"), "x", ".{trackext}./{stem}", "")
    assert place.path("voice", "wav") == Path("out/_../voice")
    long = Place(Path("out"), "x" * 255, "{track} {stem}.{ext}")
    assert long.path("voice", "wav").name == "x" * 245 + " voice.wav"


def test_several_recordings_need_names_of_their_own(there, capsys):
    files = [write(there / name) for name in ("a.wav", "b.wav")]
    assert separate(*files, "--filename", "{stem}.{ext}") == 1
    assert "add {track}" in capsys.readouterr().err
    # One name may be the beginning of another one.
    files = [write(there / name) for name in ("a.wav", "ar.wav")]
    assert separate(*files, "-o out --filename", "{track}{stem}.{ext}") == 0
    assert len(tree(there / "out")) == 4


def test_a_file_where_a_folder_of_stems_should_be_is_told(there, capsys):
    (there / "out").mkdir()
    (there / "out" / "voice").write_text("mine")
    path = write(there / "a.wav")
    assert separate(path, "-o out --filename", "{stem}/{track}.{ext}") == 1
    assert "give another folder with -o" in capsys.readouterr().err
    assert tree(there / "out") == ["voice"]


def test_the_name_of_a_stem_file_has_one_extension():
    (names,) = names_of([Path("/music/song.stem.mp4")]).values()
    assert next(names) == "song"


@pytest.mark.parametrize("depth", [16, 24, 32])
@pytest.mark.parametrize("mode", CLIP_MODES)
def test_modes_of_stems_beyond_full_scale(tmp_path, mode, depth):
    wave = np.linspace(-1, 1, 999, dtype=np.float32)[:, None, None]
    block = np.concatenate([2 * wave, 0.995 * wave, 0.5 * wave], axis=1)
    for kind in ("wav", "flac") if depth < 32 else ("wav",):
        output = Output(kind, depth, clip_mode=mode)
        with StemFiles(Place.of(tmp_path / "x"), "abc", RATE, output) as files:
            files.append(block)
            files.write()
        expected = {
            "common": block if kind == "wav" else block / 2,
            "rescale": block / np.array([2.02, 1.01 * 0.995, 1])[:, None],
            "clamp": block.clip(-0.99, 0.99),
            "none": block if depth == 32 else block.clip(-1, 1),
        }[mode]
        for number, name in enumerate("abc"):
            made, _ = soundfile.read(tmp_path / "x" / f"{name}.{kind}", always_2d=True)
            step = 2.0 ** (1 - depth)  # full scale itself is one short
            np.testing.assert_allclose(made, expected[:, number], atol=step + 1e-7)


@pytest.mark.parametrize("number", ["1", "2"])
def test_some_files_at_a_time(there, number, capsys):
    files = [write(there / f"{name}.wav", 4000 + name) for name in range(4)]
    bad = there / "bad.wav"
    bad.write_text("no sound")
    assert separate(*files, bad, "-o out -j", number) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "1 of 5 files failed" in err
    for path in files:
        alone, _ = soundfile.read(there / "out" / path.stem / "voice.wav")
        assert len(alone) == 4000 + int(path.stem)


def test_a_track_that_is_stopped_leaves_nothing(there):
    from sepjax.inference.files import separate_file

    path = write(there / "a.wav", 100_000)
    (there / "out").mkdir()
    given = load_ensemble([MODEL]), open_part(path), Place.of(there / "out" / "a"), path
    asked = []

    def run(most):
        asked.clear()

        def go_on(share):
            asked.append(share)
            if len(asked) > most:
                raise InterruptedError("interrupted")

        separate_file(*given, progress=go_on)

    run(1000)
    times = len(asked)
    shutil.rmtree(there / "out" / "a")
    for most in (0, 1, times - 1):  # while estimates are made, and while files are
        with pytest.raises(OSError, match="interrupted"):
            run(most)
        assert not list((there / "out").iterdir())


@pytest.fixture
def as_before():
    """What JAX was told is forgotten."""
    names = ("jax_platforms", "jax_default_device")
    values = [getattr(jax.config, name) for name in names]
    yield
    for name, value in zip(names, values):
        jax.config.update(name, value)


def test_a_device_is_one_that_is_there(there, capsys, as_before):
    for name in ("tpu", "cuda", "abacus", "cpu:99", "cpu:x", "cpu:-1", "gpu"):
        with pytest.raises(ValueError, match=f"no device '{name}' here, but cpu:0"):
            find_device(name)
    assert separate(write(there / "a.wav"), "-d abacus") == 1
    assert "no device 'abacus' here, but cpu:0" in capsys.readouterr().err
    assert separate(write(there / "a.wav"), "-d cpu:1") == 0
    assert jax.numpy.zeros(3).devices() == {jax.devices("cpu")[1]}


# Command lines from the manuals of other programs, at the door of this one.
@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("a.wav", ["separated/a/rest.wav", "separated/a/voice.wav"]),
        (
            "--mp3 --mp3-bitrate 128 a.wav",
            ["separated/a/rest.mp3", "separated/a/voice.mp3"],
        ),
        (
            '--out OUT --filename "{stem}/{track}.{ext}" -j 2 a.wav b.wav',
            ["OUT/rest/a.wav", "OUT/rest/b.wav", "OUT/voice/a.wav", "OUT/voice/b.wav"],
        ),
        ("-d cpu --segment 1 --overlap 0.1 a.wav", ["separated/a/rest.wav"]),
        ("--flac --int24 a.wav", ["separated/a/rest.flac"]),
        ("--float32 --clip-mode clamp a.wav", ["separated/a/rest.wav"]),
        ("--mp3 --device cpu --jobs 1 a.wav", ["separated/a/rest.mp3"]),
    ],
)
def test_command_lines_that_people_know(there, line, files, as_before):
    for name in ("a.wav", "b.wav"):
        write(there / name)
    assert separate(line) == 0
    assert set(files) <= set(tree(there))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--flac --float32 a.wav", "--depth float needs --format wav"),
        ("--mp3 --int24 a.wav", "--depth 24 needs --format wav: mp3 stores bits per"),
        ("-j 0 a.wav", "-j 0: one file at a time"),
        ("--mp3 six.wav", "6 channels: mp3 holds 2 at most"),
        ("--bitrate 0 --mp3 a.wav", "--bitrate 0"),
    ],
)
def test_what_cannot_be_is_told_before_work(there, line, text, capsys):
    write(there / "a.wav")
    write(there / "six.wav", channels=6)
    assert separate(line) == 1
    assert text in capsys.readouterr().err
    assert tree(there) == ["a.wav", "six.wav"]
