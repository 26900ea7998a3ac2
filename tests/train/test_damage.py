"""Damaged checkpoints: noticed whatever is damaged, told with what to do."""

import functools
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from sepjax.train import checkpoint
from sepjax.train.checkpoint import CheckpointError
from tests.support.toy import save_untrained, untrained

STORED = Path(__file__).parent.parent / "fixtures" / "b054c28" / "run"


@pytest.fixture(scope="module")
def fresh():
    return untrained()


@pytest.fixture(scope="module")
def intact(fresh, tmp_path_factory):
    """A run with its best checkpoint, of step 2, and the latest, of step 4."""
    run = tmp_path_factory.mktemp("intact")
    save_untrained(run, *fresh)
    return run


@pytest.fixture
def run(intact, tmp_path):
    return Path(shutil.copytree(intact, tmp_path / "run"))


def restore(run, fresh):
    with checkpoint.open_manager(run) as manager:
        return checkpoint.restore(manager, fresh[1], fresh[0], force=True)


def change_meta(step, **changes):
    path = step / "meta" / "metadata"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def halve(name, step):
    content = (step / name).read_bytes()
    (step / name).write_bytes(content[: len(content) // 2])


def flip(place, step):
    """Flip a bit of the largest file of arrays."""
    files = [path for path in (step / "state").rglob("d/*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[int(place * len(content))] ^= 0x10
    largest.write_bytes(content)


def flip_unread(step):
    """Flip a bit in the middle of a file that is not read again."""
    path = min(
        (step / "state" / "ocdbt.process_0" / "d").iterdir(),
        key=lambda path: path.stat().st_size,
    )
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(step):
    shutil.rmtree(step)
    step.mkdir()


DAMAGES = {
    "a bit in the middle": functools.partial(flip, 0.5),
    "a bit near the end": functools.partial(flip, 0.7),
    "a bit that is not read": flip_unread,
    "sums of files": lambda step: (step / "meta" / "files.json").write_text('{"a": 1}'),
    "no state/_METADATA": lambda step: (step / "state" / "_METADATA").unlink(),
    "half state/_METADATA": functools.partial(halve, "state/_METADATA"),
    "half meta": functools.partial(halve, "meta/metadata"),
    "half metrics": functools.partial(halve, "metrics/metrics"),
    "no metrics": lambda step: (step / "metrics" / "metrics").write_text("{}"),
    "no meta": lambda step: shutil.rmtree(step / "meta"),
    "no state": lambda step: shutil.rmtree(step / "state"),
    "no arrays": lambda step: shutil.rmtree(step / "state" / "d"),
    "half of the arrays": lambda step: shutil.rmtree(
        step / "state" / "ocdbt.process_0"
    ),
    "empty": empty,
    "no config": lambda step: change_meta(step, config=None),
    "a list of config": lambda step: change_meta(step, config=["data"]),
    "a class that is a path": lambda step: change_meta(
        step, config={"data": {"sources": ["../../x"]}}
    ),
    "another seed": lambda step: change_meta(step, config={"seed": 99}),
    "no progress": lambda step: change_meta(step, progress=None),
    "half progress": lambda step: change_meta(step, progress={"best_step": 2}),
    "text for progress": lambda step: change_meta(
        step, progress={"best_step": "2", "best_loss": 1, "plateau": {}}
    ),
    "no provenance": lambda step: change_meta(step, provenance=3),
    "meta is a list": lambda step: (step / "meta/metadata").write_text("[1]"),
    "meta is deep": lambda step: (step / "meta/metadata").write_text(99999 * "["),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_told_with_the_run_and_another_step(run, fresh, damage, capsys):
    damage(run / "checkpoints" / "4")
    readers = (
        checkpoint.describe,
        functools.partial(checkpoint.load, which="latest"),
        lambda folder: restore(folder, fresh),
    )
    for reader in readers:
        with pytest.raises(CheckpointError) as caught:
            reader(run)
        assert str(run / "checkpoints") in str(caught.value)
        assert "step 2" in str(caught.value)
    assert "Traceback" not in capsys.readouterr().err  # of tensorstore's threads
    # What the message advises helps.
    shutil.move(run / "checkpoints" / "4", run / "rest")
    assert checkpoint.describe(run)["step"] == 2
    assert int(restore(run, fresh)[0].step) == 2


def test_a_flipped_bit_names_its_array(run):
    flip(0.5, run / "checkpoints" / "4")
    with pytest.raises(
        CheckpointError, match=r"4 is damaged .*1 of \d+ arrays .*\.kernel"
    ):
        checkpoint.describe(run)


def test_parameters_of_another_model_are_told_without_sums(run, fresh):
    """As in runs of old: the shapes alone speak."""
    path = run / "checkpoints" / "4" / "meta" / "metadata"
    meta = json.loads(path.read_text())
    del meta["checksums"]
    (path.parent / "files.json").unlink()
    meta["config"]["model"]["B"] = 9
    path.write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match=r"4 is damaged .*parameters do not fit"):
        checkpoint.load(run, which="latest")


def test_a_missing_best_checkpoint_is_told(run):
    shutil.rmtree(run / "checkpoints" / "2")
    with pytest.warns(UserWarning, match="lacks its best checkpoint, of step 2"):
        checkpoint.load(run)


def test_checkpoints_without_sums_are_read(tmp_path):
    run = shutil.copytree(STORED, tmp_path / "run")
    assert checkpoint.describe(run)["step"] == 3
    assert np.isfinite(jax.tree.leaves(checkpoint.load(run)[1])[0]).all()
