"""Annotations that run: every call of a formula, a loss or a model checks its own.

Arrays are those of jax, tracers among them, or of NumPy, which jax takes as well; an
``int`` may stand for a ``float``, and names of axes mean one length within a call.
"""

import contextlib
from collections.abc import Iterator

import jax
import jaxtyping
import numpy as np
from beartype import BeartypeConf, beartype

CHECKED = ("sepjax.functional", "sepjax.losses", "sepjax.models")
check = beartype(conf=BeartypeConf(is_pep484_tower=True))


def install() -> None:
    """Check what is imported from now on."""
    jaxtyping.Array = jax.Array | np.ndarray
    jaxtyping.install_import_hook(CHECKED, f"{__name__}.check")


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Context in which a wrong argument meets the function's own error."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
