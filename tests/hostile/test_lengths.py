"""Files whose header does not tell their length, through the commands."""

import json
import struct

import numpy as np
import pytest
import soundfile

from data_pipelines.audio.decode import open_part
from data_pipelines.audio.encode import Output
from sepjax.commands import cli
from sepjax.inference.chunks import Chunking
from sepjax.inference.ensemble import Member, make_ensemble
from sepjax.inference.files import separate_file
from sepjax.inference.places import Place
from tests.hostile.test_output import RATE, Quarters

FORMAT = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)


def wave(frames=40_000):
    """A quiet second first, so that the bit rates of an MP3 differ."""
    time = np.arange(frames) / RATE
    return np.sin(1500 * time * (1 + time / 9)) * np.where(time < 1, 1e-4, 0.3)


def wav(size, frames=40_000):
    samples = np.rint(wave(frames) * 32767).astype("<i2").tobytes()
    sizes = (struct.pack("<I", number) for number in (min(size + 36, 2**32 - 1), size))
    return b"RIFF%bWAVEfmt %bdata%b" % (next(sizes), FORMAT, next(sizes)) + samples


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Recordings by name, with their samples as PyAV or NumPy has them."""
    av, folder = pytest.importorskip("av"), tmp_path_factory.mktemp("files")
    soundfile.write(folder / "a.mp3", wave(), RATE, bitrate_mode="VARIABLE")
    counted = (folder / "a.mp3").read_bytes()
    uncounted = counted[counted.index(counted[:2], 64) :]
    contents = {
        "uncounted.mp3": uncounted,
        "joined.mp3": counted + counted,
        "piped.wav": wav(0x7FFFF000),
        "stale.wav": wav(20_000),
        "zero.wav": wav(0),
    }
    made = {}
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        if path.suffix == ".mp3":
            with av.open(str(path)) as container:
                parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
            made[path] = np.concatenate(parts, axis=1)[0]
        else:
            made[path] = np.frombuffer(wav(0)[44:], "<i2") / 32768
    return made


@pytest.mark.filterwarnings("ignore:.*its header promises")
def test_separate_writes_stems_of_all_that_is_there(files, tmp_path):
    for path, samples in files.items():
        ensemble = make_ensemble([Member(Quarters(), {}, Chunking(2.0, rescale=False))])
        out, output = tmp_path / path.stem, Output(depth=32)
        place = Place.of(out)
        separate_file(ensemble, open_part(path), place, path, output=output)
        stems = [soundfile.read(stem)[0] for stem in out.iterdir()]
        np.testing.assert_allclose(sum(stems), samples, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*its header promises")
def test_prepare_makes_songs_of_all_that_is_there(files, tmp_path):
    recordings = [
        {
            "id": path.stem,
            "split": "train",
            "tracks": [{"path": str(path), "label": "vocals"}],
        }
        for path in files
    ]
    tree = {"classes": ["vocals"], "recordings": recordings}
    tree["output"] = {"rate": RATE}
    (tmp_path / "mine.json").write_text(json.dumps(tree))
    out = tmp_path / "songs"
    assert cli.main(["prepare", str(tmp_path / "mine.json"), "-o", str(out)]) == 0
    for path, samples in files.items():
        stem, _ = soundfile.read(out / "train" / path.stem / "vocals.wav")
        np.testing.assert_allclose(stem, samples, atol=2 / 2**15)


@pytest.mark.filterwarnings("ignore:.*its header promises")
def test_evaluate_scores_all_that_is_there(files, tmp_path):
    for path, samples in files.items():
        truth = tmp_path / "references" / path.stem / "vocals.wav"
        guess = tmp_path / "estimates" / path.stem / f"vocals{path.suffix}"
        for each in truth, guess:
            each.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(truth, samples, RATE, "FLOAT")
        guess.write_bytes(path.read_bytes())
    sides = [f"--{side}={tmp_path / side}" for side in ("references", "estimates")]
    assert cli.main(["evaluate", *sides, "-o", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    # 16-bit files are equal, which uSDR bounds; decoders of MP3 differ by 1e-5.
    scores = [track["model"]["vocals"]["usdr"] for track in results["tracks"]]
    assert len(scores) == len(files)
    assert min(scores) > 60
