"""Files that sepjax writes: whole or not at all, as plain JSON, known by their hash."""

import hashlib
from pathlib import Path


def sha256(path: str | Path) -> str:
    """Digest of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
