"""What a number was made with: versions, commit, device, data."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import sepjax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")


def commit() -> str:
    """The checkout's git commit, ``-dirty`` if it has changes, or ``"unknown"``."""
    root = Path(sepjax.__file__).parent.parent
    if not (root / ".git").exists():  # installed: git would name a stranger's commit
        return "unknown"
    describe = "git describe --always --dirty --abbrev=12".split()
    try:
        return subprocess.check_output(
            describe, cwd=root, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def provenance(data_digest: str, seed: int) -> dict[str, Any]:
    """A JSON-ready record that travels with checkpoints and scores.

    Example:
        >>> record = provenance("0" * 64, seed=1)
        >>> record["seed"], "jax" in record["versions"]
        (1, True)
    """
    device = jax.devices()[0]
    return {
        "commit": commit(),
        "seed": seed,
        "data_sha256": data_digest,
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "versions": {"sepjax": sepjax.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }
