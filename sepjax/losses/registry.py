"""Losses by name.

A loss is a function of what it needs, by the names of its arguments, and returns a
value for every item and source::

    @LOSSES.register("peak", positive=True)
    def peak(sources, estimates):
        return jnp.max(jnp.abs(sources - estimates), axis=-1)

``sources``, ``mixture``, ``estimates``, ``masks``, ``latent`` and ``sample_rate`` are
there for every model (masks and latent only if it has some), others if the model's
``outputs`` name them. Reduction is separate and takes global counts
(:func:`sepjax.losses.reduction.mean_over_active`), so that a loss is right however a
batch is split.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from sepjax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss, and the facts that reduction, logs and rules need about the loss.

    Attributes:
        function: of the arguments ``needs``; those with defaults stay as they are. One
            that needs ``whole`` (:class:`sepjax.losses.reduction.Whole`) and
            ``weights`` (the section ``loss`` of a configuration) reduces by itself: it
            returns its share of the loss and metrics.
        label: what its values per source are called in logs.
        sign: -1 where logs show the negative of the loss, as of SI-SDR.
        counts_silence: whether sources count where they are silent.
        over_sources: how sources are reduced, mean or sum.
        positive: whether it is never negative, so that a share of it is an improvement.
        terms: fields of the section ``loss`` that it weighs terms with.
        options: what the model's method for its outputs is asked to compute, as keyword
            arguments, from the section ``loss``.
        joint: whether items are compared with each other, so that a microbatch alone
            has no loss; of the section ``loss``.
    """

    function: Callable[..., Any]
    label: str
    sign: int = 1
    counts_silence: bool = False
    over_sources: str = "mean"
    positive: bool = False
    terms: tuple[str, ...] = ()
    options: Callable[[Any], dict[str, Any]] = lambda weights: {}
    joint: Callable[[Any], bool] = lambda weights: False

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the function's arguments without defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(p.name for p in parameters if p.default is p.empty)

    @property
    def reduces(self) -> bool:
        """Whether the function returns a number rather than values."""
        return "whole" in self.needs


class Losses(Registry):
    """A registry whose entries are :class:`Loss`."""

    def register(self, name: str, label: str = "", **facts: Any) -> Callable:
        """File a function as a loss; ``facts`` are attributes of :class:`Loss`."""

        def add(function: Callable) -> Callable:
            file = super(Losses, self).register(name)
            file(Loss(function, label=label or name, **facts))
            return function

        return add


LOSSES = Losses("loss", package="sepjax.models", module="loss")
"""Those of this package, and the families' own."""


def parse_loss(name: str) -> list[tuple[float, str]]:
    """Parse the weighted sum that a name spells.

    Raises:
        ValueError: a weight is no number.

    Example:
        >>> parse_loss("l1+0.5*multi_resolution_stft")
        [(1.0, 'l1'), (0.5, 'multi_resolution_stft')]
    """
    terms = []
    for part in name.split("+"):
        weight, star, term = part.strip().rpartition("*")
        try:
            terms.append((float(weight) if star else 1.0, term.strip()))
        except ValueError:
            raise ValueError(
                f"loss.name={name!r}: {weight!r} is no weight; write l1+0.5*l1_snr"
            ) from None
    return terms
