"""Damage of checkpoints: noticed by a sum of every array, told with what to do."""

import contextlib
import hashlib
import io
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from sepjax.config import Config, from_dict
from sepjax.storage import flush, read_json, write_json
from sepjax.train.optim.plateau import PlateauState

SUMS = "checksums"
"""Name of the arrays' sums in the JSON of a checkpoint; those of old have none."""

FILES = "meta/files.json"
"""Sums of the files of a checkpoint, beside orbax's JSON, which does not mind."""


TRASH = "deleted"
"""Old checkpoints are renamed into it, which no kill can halve, and wait there until
the next is on the disk."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, found or used; the message says what to do."""


def leaves_by_name(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their path, whatever its containers are.

    Example:
        >>> leaves_by_name({"a": (1, {"b": 2})})
        {'a.0': 1, 'a.1.b': 2}
    """

    def name(path: tuple) -> str:
        keys = (getattr(key, "key", getattr(key, "idx", None)) for key in path)
        return ".".join(
            str(getattr(part, "name", "") if key is None else key)
            for part, key in zip(path, keys)
        )

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {name(path): leaf for path, leaf in leaves}


def shapes_by_name(tree: Any) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a tree's arrays by their path."""
    return {name: tuple(leaf.shape) for name, leaf in leaves_by_name(tree).items()}


def checksums(state: Any) -> dict[str, int]:
    """CRC-32 of every array.

    A flipped bit is always seen, other damage but for one case in four billion. Against
    somebody who forges a checkpoint no sum helps that lies in the same folder.

    Args:
        state: arrays. Those of which this process has a part only are left out: the
            whole of them lies in no memory.

    Example:
        >>> checksums({"w": np.zeros(2, np.float32)})
        {'w': 1696784233}
    """
    # Before the save goes on in the background, as training overwrites the arrays. On a
    # busy core 0.03 s for 48 MB (four million parameters under Adam), of the 0.04 to
    # 0.18 s for which a save holds up training, and the 0.5 s that it takes.
    return {
        name: zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
        for name, leaf in leaves_by_name(state).items()
        if not isinstance(leaf, jax.Array)
        or leaf.is_fully_addressable
        or leaf.is_fully_replicated
    }


def seal(folder: Path) -> None:
    """Have finished checkpoints on the disk, with the sums of all their files.

    tensorstore flushes what it writes, orbax neither the JSON beside it nor the names.
    The sums of arrays do not see what tensorstore writes twice and reads once. Sums
    take 0.01 to 0.03 s for 48 MB just written, which are still in memory.

    Args:
        folder: of all checkpoints.
    """
    for meta in folder.glob("*/meta"):
        step = meta.parent
        if step.name.isdigit() and not (step / FILES).exists():
            for path in (*step.rglob("*"), step, folder):
                flush(path)
            write_json(step / FILES, _file_sums(step))


def _file_sums(step: Path) -> dict[str, int]:
    files = (path for path in sorted(step.rglob("*")) if path.is_file())
    return {path.relative_to(step).as_posix(): _file_sum(path) for path in files}


def _file_sum(path: Path) -> int:
    sum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sum = zlib.crc32(block, sum)
    return sum


def _require_files(step: Path) -> None:
    """Compare the files of a checkpoint with their sums, if these are there."""
    stored = read_json(step / FILES, dict) if (step / FILES).exists() else {}
    present = _file_sums(step) if stored else {}
    if wrong := [name for name, sum in stored.items() if present.get(name) != sum]:
        raise ValueError(f"{wrong[0]} is not as it was written")


def params_sha256(params: Any) -> str:
    """SHA-256 over names, types, shapes and bytes of all parameters.

    Example:
        >>> params_sha256({"a": np.zeros(2)}) == params_sha256({"a": np.zeros(2)})
        True
    """
    digest = hashlib.sha256()
    for path, leaf in sorted(
        jax.tree_util.tree_flatten_with_path(params)[0],
        key=lambda item: jax.tree_util.keystr(item[0]),
    ):
        leaf = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{leaf.dtype}{leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _require_intact(meta: Mapping[str, Any], state: Any) -> None:
    """Compare arrays with their sums; the names of those that differ are told."""
    stored = meta.get(SUMS, {})
    names, present = set(leaves_by_name(state)), checksums(state)
    if wrong := [
        name
        for name, sum in stored.items()
        if name not in names or present.get(name, sum) != sum
    ]:
        raise ValueError(
            f"{len(wrong)} of {len(stored)} arrays are not as they were saved: "
            f"{', '.join(wrong[:3])}"
        )


def _require_facts(meta: Any) -> None:
    """Check what is stored beside the arrays: types and the configuration."""
    for progress in (meta["progress"], *meta["progress"].get("sources", ())):
        for number in (*PlateauState(**progress["plateau"]), progress["best_loss"]):
            float(number)  # infinity is a text
        if type(progress["best_step"]) is not int:
            raise ValueError("best_step is no number")
    if not isinstance(meta["provenance"], dict):
        raise ValueError("provenance has another type than a run stores")
    # A run with modules of one's own can be described where these are missing.
    if not meta["config"].get("extensions"):
        from_dict(meta["config"])


def config_of(run: Path, meta: Mapping[str, Any]) -> Config:
    """Return the configuration in the JSON of a checkpoint.

    Raises:
        CheckpointError: a value or a module of it is not there; the run is named.
    """
    try:
        return from_dict(meta["config"])
    except ValueError as error:
        raise CheckpointError(f"{run}: {error}") from error


def read_meta(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Read and check the JSON part of a checkpoint.

    Raises:
        CheckpointError: it is damaged; the message names it, and another step.
    """
    arguments = ocp.args.Composite(meta=ocp.args.JsonRestore())
    with reading(manager, step):
        meta = manager.restore(step, args=arguments).meta
        _require_facts(meta)
    return meta


def read_layout(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Read shapes and types of the saved arrays, as a tree; errors as `read_meta`."""
    with reading(manager, step):
        return dict(manager.item_metadata(step).state.tree)


def read_state(
    manager: ocp.CheckpointManager, step: int, target: Any, meta: Mapping[str, Any]
) -> dict[str, Any]:
    """Read the arrays of a checkpoint as ``target`` has them, and compare their sums.

    Raises:
        CheckpointError: they are damaged; the message names the first.
    """
    arguments = ocp.args.Composite(state=ocp.args.StandardRestore(target))
    with reading(manager, step):
        state = manager.restore(step, args=arguments).state
        _require_intact(meta, state)
        _require_files(Path(manager.directory) / str(step))
    return state


@contextlib.contextmanager
def reading(manager: ocp.CheckpointManager, step: int) -> Iterator[None]:
    """Context in which failures to read become a :class:`CheckpointError`."""
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            yield
        except (CheckpointError, MemoryError, ImportError):
            raise  # no fault of the files
        # orbax, tensorstore and JSON have dozens of errors for one thing: files are not
        # as they were written.
        except Exception as error:
            # The first read that fails closes the loop in which tensorstore's threads,
            # soon after, tell of the others, with tracebacks on stderr.
            time.sleep(0.3)
            raise damaged(Path(manager.directory), str(step), error) from error


def damaged(folder: Path, step: str, error: Exception) -> CheckpointError:
    """Return the error of a checkpoint that cannot be read, with one to take instead.

    Args:
        folder: of all checkpoints.
        step: of the damaged one; empty if it is not known which is damaged.
        error: what reading it raised.
    """
    steps = [*folder.glob("[0-9]*"), *folder.glob(f"{TRASH}/[0-9]*")]
    others = {int(path.name): path for path in steps if path.name.isdigit()}
    others.pop(int(step or -1), None)
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    offer = "restore it from a copy, or train again with another --workdir"
    if step and others:
        place = others[max(others)].relative_to(folder)
        back = f", move {place} to {folder}" if place.parent.name else ""
        offer = f"move it away{back}, and the checkpoint of step {max(others)} is used"
    return CheckpointError(
        f"{folder / step} is damaged or of another version ({reason}): {offer}"
    )


def require_losses(folder: Path) -> None:
    """Check the losses that tell the best checkpoint, which orbax reads at once.

    Raises:
        CheckpointError: one is damaged; the message names its step, and another.
    """
    for path in sorted(folder.glob("*/metrics/metrics")):
        try:
            float(json.loads(path.read_text("utf-8"))["loss"])  # NaN in runs of old
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise damaged(folder, path.parts[-3], error) from error
