"""A model in one plain file: safetensors, with the configuration in its header."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import safe_open
from safetensors.numpy import save_file

from sepjax.config import Config, from_dict, to_dict
from sepjax.storage import parse_json

KEY = "sepjax.model"


def save_safetensors(path: str | Path, config: Config, params: Any) -> None:
    """Write parameters, and the configuration as JSON in the file's metadata.

    The names in the file are the paths in the tree, joined by ``/``. The same model
    gives the same bytes.

    Args:
        path: of the file; an existing one is replaced.
        config: its sections ``model`` and ``data`` (classes, rate) are kept.
        params: nested dictionaries of arrays.

    Raises:
        ValueError: the configuration has a value that cannot be read again.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/model.safetensors"
        >>> from sepjax.models.tasnet.config import TasNetConfig
        >>> config = Config(model=TasNetConfig(L=25))
        >>> save_safetensors(path, config, {"encoder": {"taps": np.ones(2)}})
        >>> config, params = load_safetensors(path)
        >>> config.model.L, params["encoder"]["taps"].tolist()
        (25, [1.0, 1.0])
    """
    tree = to_dict(config)
    data = {name: tree["data"][name] for name in ("sources", "sample_rate")}
    fields = {"model": tree["model"], "data": data, "extensions": tree["extensions"]}
    from_dict(fields)  # what is written can be read
    metadata = {KEY: json.dumps(fields, sort_keys=True)}
    leaves, arrays = flatten_dict(params), {}
    for names in sorted(leaves, key="/".join):
        if any("/" in name for name in names):
            raise ValueError(f"the name '{'/'.join(names)}' has a '/' of its own")
        # A view with strides would be written in the order of its memory.
        arrays["/".join(names)] = np.asarray(leaves[names], order="C")
    save_file(arrays, str(path), metadata=metadata)


def load_safetensors(path: str | Path) -> tuple[Config, dict]:
    """Inverse of :func:`save_safetensors`.

    Returns:
        The configuration, and nested dictionaries of NumPy arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or has no configuration of ours.
    """
    with reading(path), safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata() or {}
        if KEY not in metadata:
            raise ValueError(
                f"no '{KEY}' in its metadata: it was not written by save_safetensors; "
                "read foreign arrays with safetensors itself and give them to "
                "from_state_dict"
            )
        fields = parse_json(metadata[KEY], dict, KEY)
        # Files of old have the fields of the model alone.
        config = from_dict(fields if "model" in fields else {"model": fields})
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        return config, unflatten_dict(arrays, sep="/")


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Context in which whatever a damaged file makes others raise is a ValueError."""
    try:
        yield
    except (OSError, MemoryError, ImportError):
        raise  # no fault of the file's content
    # safetensors, Flax and JAX have dozens of errors for headers that lie.
    except Exception as error:
        own = isinstance(error, ValueError)
        reason = str(error) if own else f"{type(error).__name__}: {error}"[:300]
        raise ValueError(f"{path} cannot be used: {reason}") from error
