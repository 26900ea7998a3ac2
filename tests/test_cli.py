"""The sepjax command on a real, untrained checkpoint, and its dark corners."""

import json
import math
import resource
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from data_pipelines.audio.encode import Output
from data_pipelines.registry import build_manifest
from sepjax.commands import cli
from sepjax.config import resolve, to_dict
from sepjax.inference import files as separate_files
from sepjax.inference.places import Place
from sepjax.inference.stems import StemFiles
from sepjax.models.build import model_of
from sepjax.train import checkpoint
from sepjax.train.optim import make_optimizer
from sepjax.train.optim.plateau import PlateauState
from sepjax.train.provenance import provenance
from sepjax.train.step import init_state
from tests.support.models import config_of

RATE = 8000
ROOT = Path(__file__).parents[1]
CLASSES = ("bass", "vocals")


def write_blocks(folder, names, blocks, kind, depth=16):
    with StemFiles(Place.of(folder), names, RATE, Output(kind, depth)) as files:
        for block in blocks:
            files.append(block)
        return files.write()


def noise(frames, channels=1, seed=0, scale=0.1):
    rng = np.random.default_rng(seed)
    return rng.uniform(-scale, scale, (frames, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A dataset of short songs in the layout of folders."""
    root = tmp_path_factory.mktemp("music")
    for seed, split in enumerate(("train", "valid", "test")):
        folder = root / split / f"{split} song"
        folder.mkdir(parents=True)
        for number, name in enumerate(CLASSES):
            wave = noise(RATE, seed=10 * seed + number)
            soundfile.write(folder / f"{name}.wav", wave, RATE, "PCM_16")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, music):
    """A run folder as training leaves it after its first steps."""
    config = config_of()
    config.data.dataset, config.data.root = "folder", str(music)
    config.data.sources, config.data.sample_rate = CLASSES, RATE
    config.data.chunk_seconds = config.eval.chunk_seconds = 0.5
    config.eval.excerpt_seconds = 0.25
    model = config.model
    model.encoding, model.N, model.B, model.H = "simple", 8, 4, 4
    model.layers, model.stack = 2, 1
    config = resolve(config)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    net, optimizer = model_of(config), make_optimizer(config.optim)
    state = jax.jit(lambda key: init_state(net, optimizer, key, 4000))(
        jax.random.key(0)
    )
    digest = build_manifest("folder", str(music), CLASSES).digest()
    record = {"config": to_dict(config), "provenance": provenance(digest, 42)}
    progress = checkpoint.Progress(PlateauState(config.optim.lr))
    with checkpoint.open_manager(folder, create=True) as manager:
        checkpoint.save(manager, state, progress, math.inf, record)
        manager.wait_until_finished()
    (folder / "config.json").write_text(json.dumps(record["config"]))
    return folder


def separate(run, output, *files, options=()):
    arguments = [*map(str, files), "-n", str(run), "-o", str(output)]
    return cli.main(["separate", *arguments, *options])


@pytest.mark.parametrize(
    ("name", "rate", "frames", "channels", "subtype"),
    [
        ("mono.wav", 8000, 12345, 1, "PCM_16"),
        ("stereo.wav", 44100, 30001, 2, "PCM_24"),
        ("one sample.wav", 8000, 1, 1, "FLOAT"),
        ("surround.flac", 16000, 5000, 3, "PCM_24"),
    ],
)
def test_stems_have_the_rate_length_channels_and_depth_of_the_file(
    run, tmp_path, name, rate, frames, channels, subtype
):
    file = tmp_path / name
    soundfile.write(file, noise(frames, channels), rate, subtype)
    assert separate(run, tmp_path / "out", file) == 0
    folder = tmp_path / "out" / file.stem
    stems = sorted(folder.iterdir())
    assert [stem.name for stem in stems] == ["bass.wav", "vocals.wav"]
    for stem in stems:
        info = soundfile.info(stem)
        assert (info.samplerate, info.frames, info.channels) == (rate, frames, channels)
        assert info.subtype == subtype


def test_bad_files_are_named_and_the_good_ones_are_separated(run, tmp_path, capsys):
    good = tmp_path / "good.wav"
    soundfile.write(good, noise(4000), RATE)
    whole = good.read_bytes()
    broken = {
        "missing": (None, "No such file"),
        "empty": (b"", "empty file"),
        "text": (b"this is no audio at all" * 99, "not readable as audio"),
        "truncated": (whole[:3000], "truncated"),
        "header": (whole[:44], "truncated"),
    }
    files = []
    for name, (content, _) in broken.items():
        files.append(tmp_path / f"{name}.wav")
        if content is not None:
            files[-1].write_bytes(content)
    nan = tmp_path / "nan.wav"
    wave = noise(4000)
    wave[2000] = np.nan
    soundfile.write(nan, wave, RATE, "FLOAT")
    assert separate(run, tmp_path / "out", *files, nan, good) == 1
    lines = capsys.readouterr().err.splitlines()
    messages = [line for line in lines if "error" in line]
    expected = [*(text for _, text in broken.values()), "NaN"]
    for message, file, text in zip(messages, [*files, nan], expected, strict=True):
        assert str(file) in message
        assert text in message
    assert "6 of 7 files failed" in lines[-1]
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["good"]


def test_files_of_one_name_do_not_overwrite_each_other(run, tmp_path, capsys):
    files = [tmp_path / name for name in ("a/mix.wav", "b/mix.wav", "b/mix.flac")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        soundfile.write(file, noise(500), RATE)
    assert separate(run, tmp_path / "out", *files) == 0
    folders = sorted(folder.name for folder in (tmp_path / "out").iterdir())
    assert folders == ["a", "b - mix.flac", "b - mix.wav"]


def test_no_run_no_model(tmp_path, capsys):
    for command in (["inspect"], ["report"], ["evaluate"]):
        assert cli.main([*command, str(tmp_path / "nowhere")]) == 1
        assert "nowhere" in capsys.readouterr().err
    file = tmp_path / "a.wav"
    soundfile.write(file, noise(100), RATE)
    assert separate(tmp_path, tmp_path / "out", file) == 1
    assert "checkpoints" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_told_before_anything_else(
    run, tmp_path, capsys
):
    (tmp_path / "file").touch()
    assert separate(run, tmp_path / "file/out", tmp_path / "a.wav") == 1
    assert "cannot write to" in capsys.readouterr().err


def test_a_full_disk_leaves_no_half_stems(tmp_path):
    blocks = [np.stack([noise(size, 1)] * 2, axis=1) for size in (50, 50000)]
    one = [block[:, :1] for block in blocks]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file may not grow beyond this size: the kernel refuses as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"could not be written.*MB free.*make room"):
            write_blocks(tmp_path / "song", CLASSES, blocks, "wav")
        # The estimates have room, but not the header of the file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 50050, limits[1]))
        with pytest.raises(OSError, match=r"could not be written.*MB free.*make room"):
            write_blocks(tmp_path / "song", ["one"], one, "wav", 32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_stems_larger_than_the_free_space_are_not_begun(
    run, tmp_path, capsys, monkeypatch
):
    file = tmp_path / "song.wav"
    soundfile.write(file, noise(4000), RATE)
    usage = separate_files.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(separate_files.shutil, "disk_usage", lambda _: usage)
    assert separate(run, tmp_path / "out", file) == 1
    assert "MB are free" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("peak", "kind", "depth", "subtype"),
    [
        (1.0, "wav", 16, "PCM_16"),
        (1.0, "wav", 24, "PCM_24"),
        (1.5, "wav", 24, "FLOAT"),
        (1.5, "wav", 16, "FLOAT"),
        (0.5, "wav", 32, "FLOAT"),
        (0.5, "flac", 16, "PCM_16"),
        (1.5, "flac", 24, "PCM_24"),
    ],
)
def test_nothing_is_clipped(tmp_path, peak, kind, depth, subtype):
    loud, quiet = noise(1000), noise(1000, seed=1)
    loud *= peak / np.abs(loud).max()
    stems = {"loud": loud, "quiet": quiet}
    block = np.stack([loud, quiet], axis=1)
    note = write_blocks(tmp_path / "song", stems, [block], kind, depth)
    assert ("peak" in note) == (peak > 1)
    gain = 1 / peak if kind == "flac" and peak > 1 else 1.0
    for name, stem in stems.items():
        (path,) = (tmp_path / "song").glob(f"{name}.*")
        audio, _ = soundfile.read(path, always_2d=True)
        assert soundfile.info(path).subtype == subtype
        # Half a step, and the step that full scale itself is short.
        np.testing.assert_allclose(audio, gain * stem, atol=1.01 / 2 ** (depth - 1))


def test_float_flac_is_refused(run, tmp_path, capsys):
    options = ["--format", "flac", "--depth", "float"]
    assert separate(run, tmp_path, tmp_path / "a.wav", options=options) == 1
    assert "--depth float needs --format wav" in capsys.readouterr().err


def test_inspect_sums_up_a_run(run, capsys):
    assert cli.main(["inspect", str(run)]) == 0
    lines = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]
    )
    assert lines["model"] == "tasnet, 8000 Hz: bass, vocals"
    assert lines["trained"] == "0 of 1000 steps"
    assert lines["model.N"] == "8"
    assert cli.main(["inspect", "--json", str(run)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["step"] == 0
    assert len(shown["params_sha256"]) == 64
    assert shown["config"]["model"]["N"] == 8
    assert "provenance" in shown


def test_inspect_refuses_branches_where_there_are_none(run, capsys):
    assert cli.main(["inspect", "--branches", str(run)]) == 1
    assert "has no encoder that joins branches" in capsys.readouterr().err


def test_evaluate_and_report(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SEPJAX_CACHE", str(tmp_path))
    assert cli.main(["evaluate", str(run), "--split", "valid"]) == 0
    assert "valid, 1 track)" in capsys.readouterr().out
    results = json.loads((run / "results.json").read_text())
    assert results["definition"]["split"] == "valid"
    assert results["tracks"][0]["seen"] is False
    assert results["oracle"]["bass"]["si_sdr"] > results["model"]["bass"]["si_sdr"]
    songs = "--write-songs", str(tmp_path / "songs")
    assert cli.main(["evaluate", str(run), "--split", "train", *songs]) == 0
    assert "SEEN in training (1)" in capsys.readouterr().out
    assert len(list((tmp_path / "songs" / "train").glob("*/mixture.wav"))) == 1
    assert cli.main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "report.html").is_file()


def test_interruption_is_no_traceback(monkeypatch, capsys, tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "describe", interrupt)
    assert cli.main(["inspect", str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [["run_experiment.py", "--mode=list"], ["-m", "sepjax", "inspect", "--json"]],
)
def test_a_reader_that_has_enough_is_no_failure(run, line):
    """As ``head`` is: the pipe closes before anything is written."""
    rest = [str(run)] if "inspect" in line else []
    with subprocess.Popen(
        [sys.executable, *line, *rest],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_list_may_go_on_after_an_option(capsys):
    parse = cli.build_parser().parse_args
    arguments = parse(["reproduce", "all", "--scale", "full", "data.root=a", "b=c"])
    assert arguments.fields == ["data.root=a", "b=c"]
    arguments = parse(["report", "one", "--figure", "5.2", "two"])
    assert arguments.runs == [Path("one"), Path("two")]
    for words in (["inspect", "a", "--json", "b"], ["report", "a", "--jsn", "b"]):
        with pytest.raises(SystemExit):
            parse(words)
        assert f"unknown argument '{words[2 + (words[0] == 'inspect')]}'" in (
            capsys.readouterr().err
        )


def test_help_is_light():
    """Flags are answered without loading what separates music."""
    code = (
        "import sys, sepjax.commands.cli\n"
        "try: sepjax.commands.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sepjax.commands.cli.main(['models'])\n"
        "heavy = {'jax', 'tensorflow', 'soundfile', 'flax', 'orbax', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    for name in ("separate", "evaluate", "inspect", "report", "without -n: "):
        assert name in shown.stdout
