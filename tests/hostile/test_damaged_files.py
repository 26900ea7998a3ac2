"""Damaged files at every door: one message that names the file, and no harm done.

Each case damages one file of a sound input, by a seed, and runs a command on it in this
process. Whatever comes out: no traceback, no hang, memory bounded, nothing written
elsewhere or left half, and where the command says that all went well, the result is
whole. A few hundred cases run always, thousands with ``-m slow``:

    python -m pytest -m slow tests/hostile/test_damaged_files.py
"""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from sepjax.evaluation.folders.museval import read_museval, write_museval
from tests.hostile.damage import Outcome, command, contents, damage
from tests.report.fake_run import write_fake_run
from tests.support.toy import save_untrained, untrained

MODEL = Path(__file__).parents[1] / "fixtures/b054c28/weights"
RATE = 8000


class Door(NamedTuple):
    """A kind of input, and the command that reads it."""

    make: Callable[[Path], None]
    """Writes a sound input into a folder."""
    line: Callable[[Path], tuple]
    """The command, given the folder; writes into ``out`` beside it, or not at all. Or
    a function of ours and its arguments."""
    check: Callable[[Path, Outcome, Outcome], None]
    """What holds after success: of the folder, the outcome, and that of the sound."""
    files: str = "**/*"
    """Which files are damaged."""
    writes: tuple[str, ...] = ()
    """Files that the command may write into the folder itself."""


def noise(frames, seed=0):
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (frames, 1)).astype("f4")


def recordings(folder):
    for name, subtype in [
        ("a.wav", "PCM_16"),
        ("b.wav", "PCM_24"),
        ("c.flac", "PCM_16"),
    ]:
        soundfile.write(folder / name, noise(3000), RATE, subtype)
    soundfile.write(folder / "d.mp3", noise(9000), RATE)
    soundfile.write(folder / "e.ogg", noise(3000), RATE)


def separated(folder, outcome, sound):
    """All stems of a track or none, of one length, and finite."""
    for track in (folder.parent / "out").iterdir():
        stems = [soundfile.read(stem)[0] for stem in track.iterdir()]
        assert len(stems) == 2
        assert len({stem.shape for stem in stems}) == 1
        assert all(np.isfinite(stem).all() for stem in stems)


def songs(folder):
    for split, song in [("train", "a"), ("train", "b"), ("valid", "c")]:
        for seed, name in enumerate(("vocals", "drums")):
            path = folder / "songs" / split / song / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise(2000, ord(song) + seed), RATE, "PCM_16")


def collection(folder):
    songs(folder)
    parts = [
        {
            "id": path.parent.name,
            "split": path.parents[1].name,
            "tracks": [
                {"path": str(stem.relative_to(folder)), "label": stem.stem}
                for stem in sorted(path.parent.glob("*.wav"))
            ],
        }
        for path in sorted(folder.glob("songs/*/*/vocals.wav"))
    ]
    tree = {"classes": ["vocals", "drums"], "recordings": parts}
    (folder / "mine.yaml").write_text(json.dumps(tree, indent=1))


def estimates(folder):
    for side in ("references", "estimates"):
        for seed, name in enumerate(("vocals", "drums")):
            path = folder / side / "song" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = noise(RATE, seed) + 0.1 * noise(RATE, len(side))
            soundfile.write(path, wave, RATE, "PCM_16")


def copied(source):
    return lambda folder: shutil.copytree(source, folder, dirs_exist_ok=True)


def same_parameters(folder, outcome, sound):
    """What loads in spite of damage is what was saved."""
    old, new = (json.loads(one.text[one.text.index("{") :]) for one in (sound, outcome))
    assert new.get("params_sha256") == old.get("params_sha256")
    assert new.get("parameters") == old.get("parameters")
    assert new.get("sources") == old.get("sources")


def as_museval(folder):
    scores = np.random.default_rng(0).normal(5, 2, (4, 12)).round(3)
    scores[1, 3] = np.nan
    curves = dict(zip(("sdr", "isr", "sir", "sar"), scores.tolist()))
    write_museval(folder / "song.json", {"vocals": curves, "drums": curves})


def read_again(folder):
    """What pages and other programs' tools take of a track that museval wrote."""
    curves = read_museval(folder / "song.json")
    shapes = {len(values) for each in curves.values() for values in each.values()}
    return f"{len(curves)} classes, {sum(shapes)} windows"


def any_result(folder, outcome, sound):
    pass


DOORS = {
    "audio": Door(
        recordings,
        lambda f: (
            "separate",
            *sorted(f.iterdir()),
            "-n",
            MODEL,
            "-o",
            f.parent / "out",
        ),
        separated,
    ),
    "checkpoint": Door(
        lambda folder: save_untrained(folder, *untrained()),
        lambda f: ("inspect", "--json", f),
        same_parameters,
        "checkpoints/**/*",
    ),
    "weights": Door(copied(MODEL), lambda f: ("inspect", "--json", f), same_parameters),
    "report": Door(
        write_fake_run, lambda f: ("report", f), any_result, writes=("report.html",)
    ),
    "table": Door(
        write_fake_run, lambda f: ("report", "--table", f), any_result, "results.json"
    ),
    "figure": Door(
        write_fake_run,
        lambda f: (
            *("report", "--figure", "comparison", f),
            *("-o", f.parent / "out" / "comparison.svg"),
        ),
        any_result,
        "*.json*",
    ),
    "scores": Door(
        write_fake_run,
        lambda f: (
            *("report", "--figure", "scores", f),
            *("-o", f.parent / "out" / "scores.svg"),
        ),
        any_result,
        "results.json",
    ),
    "museval": Door(as_museval, lambda f: (read_again, f), any_result),
    "collection": Door(
        collection,
        lambda f: ("prepare", f / "mine.yaml", "-o", f.parent / "out"),
        any_result,
    ),
    "evaluate": Door(
        estimates,
        lambda f: (
            *("evaluate", "--references", f / "references", "--estimates"),
            *(f / "estimates", "-o", f.parent / "out"),
        ),
        any_result,
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Sound inputs of every door, and what the command says of them."""
    made: dict[str, tuple[Path, Outcome]] = {}

    def get(name: str) -> tuple[Path, Outcome]:
        if name not in made:
            place = tmp_path_factory.mktemp(name)
            (place / "in").mkdir()
            DOORS[name].make(place / "in")
            kept = shutil.copytree(place / "in", place / "sound")
            outcome = command(*DOORS[name].line(place / "in"))
            assert outcome.code == 0, outcome.text
            made[name] = kept, outcome
        return made[name]

    return get


def attempt(name: str, number: int, tmp_path: Path, sound) -> Outcome:
    """One case; what it must not do is an AssertionError."""
    door, draw = DOORS[name], random.Random(f"{name} {number}")
    kept, right = sound(name)
    shutil.rmtree(tmp_path, ignore_errors=True)
    folder = shutil.copytree(kept, tmp_path / "in")
    files = [path for path in sorted(folder.glob(door.files)) if path.is_file()]
    victim = draw.choice(files)
    how = damage(victim, draw)
    before = contents(folder)
    try:
        outcome = command(*door.line(folder))
    except SystemExit as error:
        raise AssertionError(f"{how}: exit {error.code}") from error
    told = f"{how}\n{outcome.text[-2000:]}"
    assert outcome.code in (0, 1), told
    assert "Traceback" not in outcome.text, told
    assert not set(outcome.text) & set("\x1b\x00\x07"), told
    after = contents(folder)
    changed = {n for n in before | after if before.get(n) != after.get(n)}
    assert changed <= set(door.writes), f"{changed} {told}"
    assert {path.name for path in tmp_path.iterdir()} <= {"in", "out"}, told
    left = [p.name for p in tmp_path.rglob("*") if p.suffix in (".part", ".raw")]
    assert not left, f"{left} {told}"
    if outcome.code:
        names = {victim.name, str(folder), *victim.relative_to(folder).parts}
        assert any(each in outcome.text for each in names), told
    else:
        door.check(folder, outcome, right)
    return outcome


@pytest.mark.parametrize("name", DOORS)
def test_damage_is_told_and_does_no_harm(name, tmp_path, sound):
    for number in range(25):
        attempt(name, number, tmp_path / "case", sound)


@pytest.mark.slow
def test_thousands_of_damages_do_no_harm(tmp_path, sound, capsys):
    wrong, figures = [], {}
    for name in DOORS:
        codes: Counter[int] = Counter()
        for number in range(1000, 1000 + PER_DOOR):
            try:
                codes[attempt(name, number, tmp_path / "case", sound).code] += 1
            except Exception as error:
                wrong.append(f"{name} {number}: {type(error).__name__} {error}"[:600])
        figures[name] = dict(codes)
    with capsys.disabled():
        print(figures)
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:40])


PER_DOOR = 720
