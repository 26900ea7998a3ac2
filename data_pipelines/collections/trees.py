"""YAML and JSON that somebody wrote, in UTF-8."""

from pathlib import Path
from typing import Any

from data_pipelines.manifest import DataError
from sepjax.foreign.yaml_text import parse_yaml
from sepjax.storage import parse_json


def read_text(path: Path) -> str:
    """Read a text.

    Raises:
        DataError: the file is missing, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        place = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}: line {place} is not UTF-8: save the file in UTF-8, as by "
            "`iconv -f latin1 -t utf-8`"
        ) from error


def read_tree(path: Path) -> Any:
    """Read a file of JSON (``.json``) or else YAML.

    Raises:
        DataError: it cannot be read; it is nested too deeply, or multiplied by aliases.
    """
    text = read_text(path)
    try:
        if path.suffix == ".json":
            return parse_json(text, object, f"{path}: not readable as JSON")
        return parse_yaml(text, str(path))
    except ValueError as error:
        raise DataError(str(error)) from error
