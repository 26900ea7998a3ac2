"""One dictionary per family of parts; a name in a configuration is a key in it."""

from collections.abc import Callable
from typing import Any

from sepjax.config import nearest


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

    def build(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the builder of ``name``.

        Raises:
            ValueError: nothing has this name; the nearest names are suggested.
        """
        if name not in self:
            raise ValueError(f"unknown {self.family} {name!r}: {nearest(name, self)}")
        return self[name](*args, **kwargs)


BANKS = Registry("filterbank")
ENCODERS = Registry("encoder")
DECODERS = Registry("decoder")
SEPARATORS = Registry("separator")
MODELS = Registry("model")
