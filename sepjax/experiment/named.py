"""Configurations by name: the file that ``--config=demo`` means."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from sepjax import configs
from sepjax.registry import close_names

FOLDER = Path(configs.__file__).parent
OWN = "a file of your own is --config=PATH.py[:NAME]; --mode=list prints all names"


def config_modules() -> dict[str, ModuleType]:
    """Import the package's files of configurations, by their names.

    Example:
        >>> sorted(config_modules())[:4]
        ['appendix_a', 'base', 'box', 'chapter4']
    """
    stems = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    modules = {
        stem: importlib.import_module(f"{configs.__name__}.{stem}") for stem in stems
    }
    return {stem: one for stem, one in modules.items() if hasattr(one, "get_config")}


def config_file(given: str) -> str:
    """Return ``file.py[:name]`` of a configuration that is given by name or by path.

    A name, as ``demo`` or ``demo:causal``, is one of the package, whatever lies in the
    working directory. A path ends with ``.py``; where there is no ``configs/demo.py``,
    that is the package's file as well, so that commands of a clone are those of a
    wheel.

    Raises:
        ValueError: the package has no file of that name; the nearest are suggested.

    Example:
        >>> config_file("mine/small.py:test")
        'mine/small.py:test'
        >>> config_file("demo:causal").endswith("configs/demo.py:causal")
        True
    """
    path, colon, variant = given.partition(":")
    if path.endswith(".py"):
        own = FOLDER / Path(path).name
        if Path(path).parent == Path("configs") and own.exists():
            path = path if Path(path).exists() else str(own)
        return f"{path}{colon}{variant}"
    modules = config_modules()
    if path not in modules:
        raise ValueError(f"--config={given} is unknown: {_nearest(path, modules)}{OWN}")
    return f"{FOLDER / path}.py{colon}{variant}"


def _nearest(name: str, modules: dict[str, ModuleType]) -> str:
    """The nearest of all names, as a question; nothing if none is near."""
    full = {stem: stem for stem in modules}
    for stem, module in modules.items():
        for key in getattr(module, "NAMES", ()):
            full.setdefault(key, f"{stem}:{key}")
    close = [full[key] for key in close_names(name, full)]
    return f"did you mean {' or '.join(close)}? " if close else ""


def with_files(arguments: Iterable[str]) -> list[str]:
    """Return arguments whose ``--config`` names a file, with ``=`` before it.

    The last one counts: ml_collections would define its fields for each.

    Raises:
        ValueError: as :func:`config_file`.

    Example:
        >>> with_files(["--config=old.py", "--mode=check", "--config", "own.py"])
        ['--mode=check', '--config=own.py']
    """
    line: list[str] = []
    for word in arguments:
        if line and line[-1] in ("--config", "-config"):
            word = f"{line.pop()}={word}"
        name, equals, value = word.partition("=")
        if name in ("--config", "-config") and equals:
            line = [
                one for one in line if one.partition("=")[0] not in (name, "--config")
            ]
            word = f"--config={config_file(value)}"
        line.append(word)
    return line
