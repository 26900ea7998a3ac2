"""Safetensors files of others: arrays by their names, and the texts of their header."""

from pathlib import Path
from typing import Any

DAMAGE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


def read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read all arrays of a file, and its metadata.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from safetensors.numpy import save_file
        >>> path = Path(tempfile.mkdtemp(), "a.safetensors")
        >>> save_file({"weight": np.ones(2)}, path, metadata={"kind": "none"})
        >>> arrays, texts = read_safetensors(path)
        >>> arrays["weight"].tolist(), texts
        ([1.0, 1.0], {'kind': 'none'})
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file

    try:
        with safe_open(str(path), framework="numpy") as file:
            texts = file.metadata() or {}
        return load_file(path), texts
    except (SafetensorError, *DAMAGE) as error:
        raise ValueError(f"{path} is damaged, or no safetensors: {error}") from error
