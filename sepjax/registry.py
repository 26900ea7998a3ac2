"""Things by name: what people extend is an entry here, also from a file of their own.

A registry knows its entries by the decorator :meth:`Registry.register`. Those of sepjax
itself are imported when somebody asks for them.
"""

import difflib
import importlib
import re
import unicodedata
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from pathlib import Path
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name.

    Capitals make no difference, and names that continue the name are near.

    Example:
        >>> nearest("vocal", ["vocals", "drums"])
        "did you mean 'vocals'? Known: drums, vocals"
        >>> nearest("n", ["N", "L"])
        "did you mean 'N'? Known: L, N"
    """
    known = sorted(known)
    hint = " or ".join(map(repr, close_names(name, known)))
    return (f"did you mean {hint}? " if hint else "") + f"Known: {', '.join(known)}"


def close_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the names that are most like a name, whatever their capitals.

    Example:
        >>> close_names("demmo", ["demo", "Demo", "base"])
        ['demo', 'Demo']
    """
    lower: dict[str, list[str]] = {}
    for entry in known:
        lower.setdefault(entry.lower(), []).append(entry)
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    return [match for key in close for match in lower[key]]


def name_problems(names: Collection[Any]) -> Iterator[str]:
    """Yield what is wrong with names of classes, which become names of files.

    A name has 1 to 100 letters, digits, spaces and ``. _ -``, at most 200 bytes, a
    letter, digit, ``_`` or ``-`` at both ends, and differs from the other names in more
    than capitals: so it is one part of a path, on every system.

    Example:
        >>> list(name_problems(["vocals", "Lead-Gitarre 2"]))
        []
        >>> [problem.split(" ")[0] for problem in name_problems(["../x", "a", "A"])]
        ["'../x'", "'A'"]
    """
    taken: set[str] = set()
    for name in names:
        text = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
        # Vowels of many scripts are marks on letters, which \w leaves out.
        letters = "".join("a" if unicodedata.category(c)[0] == "M" else c for c in text)
        fits = _NAME.fullmatch(letters) and not _DEVICE.fullmatch(text)
        if not fits or len(text.encode()) > 200:
            yield (
                f"{str(name)[:120]!r} is no name: 1 to 100 letters, digits, spaces and "
                ". _ - without a space or dot at its ends"
            )
        elif text.casefold() in taken:
            yield f"{name!r} names two of them (capitals make no difference)"
        taken.add(text.casefold())


_NAME = re.compile(r"(?=.{1,100}\Z)[\w-]([\w .-]*[\w-])?")
# What no file may be called on Windows, whatever comes behind a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def aligned(rows: Iterable[Sequence[Any]], left: Collection[int] = (0,)) -> str:
    """Align lines of text: columns as wide as they need to be, two spaces apart.

    Args:
        rows: cells, the same number in each row.
        left: columns whose cells stand at the left; the others stand at the right.

    Example:
        >>> print(aligned([["a", "b"], ["long", "1.00"]]))
        a        b
        long  1.00
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in texts
    )


class Registry(MutableMapping[str, Any]):
    """Names to builders, with a decorator to add one and errors that help.

    Args:
        kind: of the entries, for messages.
        homes: names of sepjax's own entries, and the modules that register them.
        package: a package with folders that are named after entries ...
        module: ... and register them in this module, if they have it. A pattern such
            as ``weights*`` names modules whose entries have names of their own: all
            are imported with the first search for a name that is not yet known.

    Example:
        >>> SHAPES = Registry("shape")
        >>> @SHAPES.register("square")
        ... def square(side): return side**2
        >>> SHAPES.build("square", 3)
        9
        >>> SHAPES.find("sqare")
        Traceback (most recent call last):
        ValueError: unknown shape 'sqare': did you mean 'square'? Known: square
    """

    def __init__(
        self,
        kind: str,
        homes: Mapping[str, str] | None = None,
        *,
        package: str = "",
        module: str = "",
    ):
        self.kind = kind
        self._entries: dict[str, Any] = {}
        self._homes = dict(homes or {})
        self._package, self._module = package, module

    def register(self, name: str) -> Callable[[Any], Any]:
        """Decorator that files a builder under ``name``.

        Raises:
            ValueError: the name is taken by something else. The same definition may
                come again, as from a file that is imported twice or reloaded.
        """

        def add(builder: Any) -> Any:
            present = self._entries.get(name, builder)
            if _origin(present) != _origin(builder):
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = builder
            return builder

        return add

    def find(self, name: str) -> Any:
        """Return the builder of ``name``.

        Raises:
            ValueError: nothing has this name; the nearest names are suggested.
        """
        if name not in self:
            raise ValueError(f"unknown {self.kind} {name!r}: {nearest(name, self)}")
        return self[name]

    def build(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the builder of ``name``; errors as :meth:`find`."""
        return self.find(name)(*args, **kwargs)

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries and (home := self._homes_by_name().get(name)):
            importlib.import_module(home)
            if name not in self._entries:
                raise KeyError(f"{home} registers no {self.kind} {name!r}")
        return self._entries[name]

    def __setitem__(self, name: str, builder: Any) -> None:
        self._entries[name] = builder

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._homes_by_name(), *self._entries]))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in list(self)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _homes_by_name(self) -> dict[str, str]:
        homes = dict(self._homes)
        package = self._package and importlib.import_module(self._package)
        for place in package.__path__ if package else ():
            for path in sorted(Path(place).glob(f"*/{self._module}.py")):
                folder = path.parent.name
                home = f"{self._package}.{folder}.{path.stem}"
                if "*" in self._module:
                    importlib.import_module(home)
                else:
                    homes[folder] = home
        return homes


def names_on_demand(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package that imports names at the first touch.

    Args:
        package: its name.
        names: of things to the modules of the package that define them; "" for a module
            of the package itself.

    Example:
        >>> get = names_on_demand("sepjax", {"Registry": "registry", "storage": ""})
        >>> get("Registry").__name__, get("storage").__name__
        ('Registry', 'sepjax.storage')
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{names[name] or name}")
        return getattr(module, name) if names[name] else module

    return get


def _origin(builder: Any) -> tuple[str, str] | Any:
    """Where a function or class is defined; anything else is its own origin.

    An entry that holds a ``function``, as losses and metrics do, comes from there.
    """
    made = getattr(builder, "function", builder)
    module, name = (getattr(made, key, None) for key in ("__module__", "__qualname__"))
    return builder if not module or not name or "<" in name else (module, name)


def import_extensions(modules: Iterable[str]) -> None:
    """Import the modules whose entries a configuration names.

    Raises:
        ValueError: one is not a module's name, or cannot be found.
    """
    for name in modules:
        if not all(part.isidentifier() for part in str(name).split(".")):
            raise ValueError(f"extensions: {name!r} is no module, such as my_parts")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            raise ValueError(
                f"extensions: there is no module {name!r}: install it, or add its "
                "folder to PYTHONPATH"
            ) from error
