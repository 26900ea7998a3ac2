"""Things by name: a dictionary for each family, helpful errors, aligned listings."""

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name.

    Example:
        >>> nearest("vocal", ["vocals", "drums"])
        "did you mean 'vocals'? Known: drums, vocals"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = " or ".join(repr(match) for match in close)
    return (f"did you mean {hint}? " if hint else "") + f"Known: {', '.join(known)}"


def aligned(rows: Iterable[Sequence[Any]], left: Collection[int] = (0,)) -> str:
    """Lines of text whose columns are as wide as they need to be, two spaces apart.

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


class Registry(dict[str, Callable[..., Any]]):
    """Names to builders, with a decorator to add one and errors that help.

    Example:
        >>> SHAPES = Registry("shape")
        >>> @SHAPES.register("square")
        ... def square(side): return side**2
        >>> SHAPES.build("square", 3)
        9
    """

    def __init__(self, family: str):
        super().__init__()
        self.family = family

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Decorator that files a builder under ``name``; a name is given once."""

        def add(builder: Callable) -> Callable:
            if name in self:
                raise ValueError(f"{self.family} {name!r} is registered twice")
            self[name] = builder
            return builder

        return add

    def find(self, name: str) -> Callable[..., Any]:
        """The builder of ``name``.

        Raises:
            ValueError: nothing has this name; the nearest names are suggested.
        """
        if name not in self:
            raise ValueError(f"unknown {self.family} {name!r}: {nearest(name, self)}")
        return self[name]

    def build(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the builder of ``name``; errors as :meth:`find`."""
        return self.find(name)(*args, **kwargs)
