"""A folder of imported weights: the model in one plain file, and where it is from.

``model.safetensors`` has the parameters and the configuration, ``weights.json`` the
facts: family, files and their SHA-256, source, licence. Neither has a time stamp, so
that the same files give the same folder, byte for byte.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sepjax import __version__
from sepjax.config import Config, from_dict, to_dict
from sepjax.foreign.state_dict import BATCH_STATS, as_variables
from sepjax.models.build import model_of
from sepjax.models.parameters import count_parameters
from sepjax.registry import nearest
from sepjax.storage import atomic_folder, read_json, sha256, write_json
from sepjax.weights.files import load_safetensors, reading, save_safetensors

MODEL, FACTS = "model.safetensors", "weights.json"
LARGE = 1 << 14
"""Numbers from which an array is rounded: scales of bins keep their range."""
KINDS = {"family": str, "files": list, "licence_notice": str, "separate": dict}
"""Types of facts that others rely on."""
HABITS = {
    "chunk": ("eval", "chunk_seconds"),
    "overlap": ("eval", "overlap"),
    "rescale": ("eval", "rescale"),
    "normalize": ("data", "normalize"),
}
"""Defaults of :func:`sepjax.separate`, and the fields that say the same."""


def write_imported(
    folder: str | Path, config: Config, params: Any, facts: Mapping[str, Any]
) -> None:
    """Write weights and facts that :func:`load_imported` reads, all or nothing.

    Args:
        folder: created where needed; an earlier import in it is replaced.
        config: of the model, with the classes and the rate of its data.
        params: nested dictionaries of arrays, as the model draws them; running
            statistics are their part ``batch_stats``
            (:func:`sepjax.foreign.state_dict.as_variables`).
        facts: what JSON can hold, among it ``family`` and ``files``
            (:func:`sepjax.models.importers.make_facts`). ``licence_notice`` is shown
            at every use; ``separate`` holds defaults of
            :func:`sepjax.separate`: ``chunk``, ``overlap``, ``normalize``,
            ``rescale``.

    Raises:
        ValueError: the parameters are not those of the model, or not finite, or a fact
            is missing.
        FileExistsError: the folder holds something else.

    Example:
        >>> import tempfile
        >>> from sepjax.models.tasnet.config import TasNetConfig
        >>> small = TasNetConfig(encoding="simple", N=8, B=4, H=4, layers=1, stack=1)
        >>> config = Config(model=small)
        >>> draw, wave = model_of(config).init, jnp.zeros((1, 800))
        >>> drawn = jax.eval_shape(draw, jax.random.key(0), wave)["params"]
        >>> params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), drawn)
        >>> folder = tempfile.mkdtemp() + "/mine"
        >>> write_imported(folder, config, params, {"family": "mine", "files": []})
        >>> load_imported(folder)[2].data.sources
        ('drums', 'bass', 'other', 'vocals')
    """
    folder = Path(folder)
    for name in ("family", "files"):
        if name not in facts:
            raise ValueError(f"the facts have no '{name}'")
    check_params(config, params)
    strangers = sorted(
        path.name
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name not in (MODEL, FACTS)
    )
    if strangers:
        raise FileExistsError(
            f"{folder} holds other files ({', '.join(strangers[:3])}): give imported "
            "weights a folder of their own with -o"
        )
    with atomic_folder(folder) as part:
        save_safetensors(part / MODEL, config, params)
        record = {"licence_notice": "", "sepjax": __version__} | dict(facts)
        record["model_sha256"] = sha256(part / MODEL)
        write_json(part / FACTS, dict(sorted(record.items())))


def in_half(params: Any) -> Any:
    """Round matrices to float16: half of the bytes; they are read as float32 again.

    Smaller arrays stay, such as scales of bins, whose range is wide.

    Example:
        >>> sizes = {"kernel": (200, 100), "gain": (100,)}
        >>> tree = {name: np.ones(size, np.float32) for name, size in sizes.items()}
        >>> {name: str(leaf.dtype) for name, leaf in in_half(tree).items()}
        {'gain': 'float32', 'kernel': 'float16'}
    """

    def rounded(leaf: np.ndarray) -> np.ndarray:
        large = leaf.size >= LARGE and leaf.dtype == np.float32
        return leaf.astype(np.float16) if large else leaf

    return jax.tree.map(rounded, params)


def load_imported(folder: str | Path) -> tuple[Any, Any, Config]:
    """Load model, variables and configuration of imported weights.

    Raises:
        FileNotFoundError: a file of the folder is missing.
        ValueError: the files do not belong to each other, or are damaged.
    """
    facts = read_facts(folder)
    path = Path(folder) / MODEL
    if sha256(path) != facts.get("model_sha256"):
        raise ValueError(
            f"{path} is not the file that {FACTS} beside it describes: import it again"
        )
    config, params = load_safetensors(path)
    params = jax.tree.map(_single, params)
    with reading(path):
        check_params(config, params)
    config.name = facts["family"]
    with reading(Path(folder) / FACTS):
        _with_habits(config, facts.get("separate", {}))
    return model_of(config), as_variables(params), config


def _single(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float32) if leaf.dtype == np.float16 else leaf


def read_facts(folder: str | Path) -> dict[str, Any]:
    """Read ``weights.json``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    path = Path(folder) / FACTS
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, which says where the weights are from: import again"
        )
    facts = read_json(path, dict)
    with reading(path):
        for name, kind in KINDS.items():
            if not isinstance(facts.get(name, kind()), kind):
                raise ValueError(f"'{name}' must be of type {kind.__name__}")
        if not facts.get("family"):
            raise ValueError("it names no family")
        _with_habits(Config(), facts.get("separate", {}))
    return facts


def _with_habits(config: Config, habits: Mapping[str, Any]) -> Config:
    """The configuration with the defaults of `sepjax.separate` for these weights.

    Raises:
        ValueError: one is not known, or of another type or range.
    """
    tree: dict[str, dict[str, Any]] = {"data": {}, "eval": {}}
    for name, value in habits.items():
        if name not in HABITS:
            raise ValueError(f"'separate' has '{name}': {nearest(name, HABITS)}")
        section, field = HABITS[name]
        tree[section][field] = value
    from_dict(tree)
    for section, fields in tree.items():
        for field, value in fields.items():
            setattr(getattr(config, section), field, value)
    return config


def describe_imported(folder: str | Path) -> dict[str, Any]:
    """Return what ``sepjax inspect`` prints about imported weights, for JSON."""
    model, variables, config = load_imported(folder)
    return {
        "weights": read_facts(folder),
        "parameters": count_parameters(variables["params"], model.constants),
        "model": to_dict(config)["model"],
        "sources": list(model.sources),
        "sample_rate": model.sample_rate,
    }


def check_params(config: Config, params: Any) -> None:
    """Refuse parameters unlike the model's own: other names or shapes, or not numbers.

    Running statistics are checked as well.

    Raises:
        ValueError: the first that differ are named.
    """
    from_dict(to_dict(config))  # types, ranges, names
    numbers = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    for name, value in vars(config.model).items():
        # Each layer has numbers of its own: what says otherwise would be built in vain.
        if type(value) is int and value > max(numbers, 1 << 14):
            raise ValueError(
                f"model.{name}={value}, but there are {numbers} parameters"
            )
    model = model_of(config)
    channels = (model.audio_channels,) if model.audio_channels > 1 else ()
    wave = (1, *channels, model.sample_rate)  # a second
    mixture = jax.ShapeDtypeStruct(wave, jnp.float32)
    drawn = dict(jax.eval_shape(model.init, jax.random.key(0), mixture))
    # As trees of weights have them: parameters, and statistics as one more part.
    tree = drawn["params"] | {n: drawn[n] for n in {BATCH_STATS} & set(drawn)}
    require_shapes(tree, params)
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        floats = jnp.issubdtype(np.asarray(leaf).dtype, jnp.floating)
        if not floats or not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path)
            raise ValueError(f"the parameter {name} has values that are not finite")


def require_shapes(model: Any, params: Any) -> None:
    """Compare two trees by names and shapes.

    Raises:
        ValueError: they differ; the first that do are named.

    Example:
        >>> require_shapes({"w": np.zeros(2)}, {"w": np.zeros(3)})
        Traceback (most recent call last):
        ValueError: 1 parameters do not fit the model: ['w']: (3,) instead of (2,)
    """
    right, shapes = _shapes(model), _shapes(params)
    if wrong := [
        f"{name}: {shapes.get(name, 'missing')} instead of {right.get(name, 'none')}"
        for name in sorted(right | shapes)
        if right.get(name) != shapes.get(name)
    ]:
        raise ValueError(
            f"{len(wrong)} parameters do not fit the model: {'; '.join(wrong[:3])}"
        )


def _shapes(params: Any) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {jax.tree_util.keystr(path): tuple(np.shape(leaf)) for path, leaf in leaves}
