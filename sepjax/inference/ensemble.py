"""Several models of one track, side by side: their mean, and how far they are apart.

From all estimates and the mixture to the stems there is one matrix: the recipe of the
stems, for each member, times its weight. A single model is an ensemble of one.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sepjax.inference.augmentation import in_step
from sepjax.inference.chunks import DEFAULT, Chunking
from sepjax.inference.recipes import Recipe, check_whole, make_recipe, sum_exactly
from sepjax.inference.stream import Blocks, SeparationStream, widen
from sepjax.models.contract import SeparationModel, Variables
from sepjax.progress import bar
from sepjax.registry import nearest
from sepjax.storage import finite
from sepjax.train.damage import params_sha256

Weights = float | Sequence[float] | Mapping[str, float | Sequence[float]]


class Member(NamedTuple):
    """A model of an ensemble with its parameters, and how it separates."""

    model: SeparationModel
    variables: Variables
    chunking: Chunking = DEFAULT
    name: str = "model"
    licence: str = ""
    about: str = ""  # text that tells the model from others, without its parameters


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """Members, and what is written of them."""

    members: tuple[Member, ...]
    names: tuple[str, ...]  # of the stems
    rows: np.ndarray
    """``(members, stems, signals)``: the stems of each member alone, as sums of all
    members' estimates, one after the other, and of the mixture, the last."""
    weights: np.ndarray
    """``(members, stems)``, which sum to one over members."""
    exact: bool = False  # stems sum to the mixture (recipes.sum_exactly)

    @functools.cached_property
    def matrix(self) -> np.ndarray:
        """The stems as sums of all estimates and of the mixture."""
        return np.einsum("mo,mor->or", self.weights, self.rows)

    @property
    def hears_mixture(self) -> bool:
        """Whether stems need the mixture itself beside the estimates."""
        return self.exact or bool(self.matrix[:, -1].any())

    @property
    def signals(self) -> int:
        """Estimates of all members, and the mixture where it is needed."""
        return self.rows.shape[-1] - (not self.hears_mixture)

    @functools.cached_property
    def prepared(self) -> tuple[Variables, ...]:
        """The variables of the members, as each separates fastest."""
        return tuple(member.model.prepared(member.variables) for member in self.members)

    @functools.cached_property
    def digest(self) -> str:
        """Text that tells the stems from those of other models and recipes."""
        each = [
            f"{member.about} {params_sha256(member.variables)} {member.chunking}"
            for member in self.members
        ]
        tables = self.rows.tolist(), self.weights.tolist()
        return f"{each} {self.names} {tables} {self.exact}"

    @property
    def width(self) -> int:
        """Channels that a recording is widened to."""
        return max(member.model.audio_channels for member in self.members)


def make_ensemble(
    models: Sequence[Member | Sequence[Member]],
    *,
    weights: Weights = (),
    total: str = "model",
    **recipe: Any,
) -> Ensemble:
    """Make an ensemble of models that have the stems in common.

    Args:
        models: of any rates, channels and chunks. Those in a list of their own, as the
            seeds of one configuration, share a weight.
        weights: of the models, all of one by default; or for stems by their names.
        total: what stems sum to: "model", what the models say; "exact", the mixture.
        recipe: see :func:`~.recipes.make_recipe`, which makes each member's stems:
            sources of one may be sums in another.

    Raises:
        ValueError: their stems differ, or an option does not fit them.

    Example:
        >>> from sepjax.models import SeparationModel
        >>> class Pair(SeparationModel):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        >>> both = [Member(Pair(), {}), Member(Pair(("two", "one")), {})]
        >>> make_ensemble(both, weights=[3, 1]).matrix
        array([[0.75, 0.  , 0.  , 0.25, 0.  ],
               [0.  , 0.75, 0.25, 0.  , 0.  ]])
    """
    groups = [[each] if isinstance(each, Member) else each for each in models]
    members = [member for group in groups for member in group]
    recipes = [_recipe(member, recipe) for member in members]
    names = _common_names(members, recipes)
    if total not in ("model", "exact"):
        raise ValueError(f"the sum is 'model' or 'exact', not {total!r}")
    for each in recipes if total == "exact" else ():
        check_whole(each)
    count = sum(len(member.model.sources) for member in members)
    rows, first = np.zeros((len(members), len(names), count + 1)), 0
    for row, each in zip(rows, recipes):
        matrix = each.matrix[[each.names.index(name) for name in names]]
        last = first + matrix.shape[1] - 1
        row[:, first:last], row[:, -1], first = matrix[:, :-1], matrix[:, -1], last
    shares = _weights(weights, [*map(len, groups)], names)
    return Ensemble(tuple(members), names, rows, shares, total == "exact")


def _recipe(member: Member, recipe: Mapping[str, Any]) -> Recipe:
    try:
        return make_recipe(member.model.sources, **recipe)
    except ValueError as error:
        raise ValueError(f"{member.name}: {error}") from error


def _common_names(
    members: Sequence[Member], recipes: Sequence[Recipe]
) -> tuple[str, ...]:
    """The stems of all members, in the order of the first."""
    names, sets = recipes[0].names, [set(recipe.names) for recipe in recipes]
    if any(each != sets[0] for each in sets):
        lines = (
            f"{member.name}: {', '.join(recipe.names)}"
            for member, recipe in zip(members, recipes)
        )
        common = [name for name in names if all(name in each for each in sets)]
        raise ValueError(
            f"the models have other stems ({'; '.join(lines)}): choose common ones "
            f"({', '.join(common) or 'there is none'}), or make them by sums"
        )
    return names


def _weights(
    weights: Weights, sizes: Sequence[int], names: Sequence[str]
) -> np.ndarray:
    """(members, stems), normalized, from those of groups of members."""
    given = weights if isinstance(weights, Mapping) else dict.fromkeys(names, weights)
    made = np.ones((len(sizes), len(names)))
    for name, numbers in given.items():
        if name not in names:
            raise ValueError(f"weights: unknown stem {name!r}: {nearest(name, names)}")
        row = np.atleast_1d(np.array(numbers, np.float64))
        row = row if len(row) else np.ones(len(sizes))
        if row.shape != (len(sizes),) or not (np.isfinite(row) & (row >= 0)).all():
            raise ValueError(
                f"weights {row.tolist()}: give one number for each model, {len(sizes)} "
                "in all, none of them negative"
            )
        made[:, names.index(name)] = row
    if not (made.sum(0) > 0).all():
        raise ValueError("weights: those of a stem are all zero: one has to count")
    shares = made / made.sum(0) / np.array(sizes)[:, None]
    return shares.repeat(sizes, axis=0)


class EnsembleStream:
    """The estimates of an ensemble, block by block, and the stems made of them.

    As :class:`~.stream.SeparationStream`: iterate over it once, then make stems of the
    blocks ``(time, signals, width)``, in which all members' estimates lie side by side,
    and the mixture where stems need it.

    Args:
        ensemble: see :func:`make_ensemble`.
        blocks: begins to read the track, as often as members and mixture need it.
        sample_rate: of the blocks, Hz.
        shape: see :class:`~.stream.SeparationStream`.
        progress: True shows a bar on stderr. A function is called often, with the share
            that is done, 0 to 1; what it raises ends the work.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        blocks: Blocks,
        *,
        sample_rate: int,
        shape: tuple[int, int] | None = None,
        progress: bool | Callable[[float], object] = False,
    ) -> None:
        self.ensemble, self.matrix = ensemble, ensemble.matrix
        self.sample_rate, self.progress, self.done = sample_rate, progress, 0
        self.blocks, self.total = lambda: map(self._tell, blocks()), np.inf
        how: dict[str, Any] = dict(sample_rate=sample_rate, shape=shape)
        self.streams = [
            SeparationStream(
                member.model, variables, self.blocks, chunking=member.chunking, **how
            )
            for member, variables in zip(ensemble.members, ensemble.prepared)
        ]
        self.total = sum(stream.count() for stream in self.streams)
        self.channels = self.streams[0].channels
        self.width = max(len(stream.level) for stream in self.streams)
        self.is_known = not (
            ensemble.exact or any(stream.rescale for stream in self.streams)
        )
        """Whether stems can be made of each block as it comes."""
        self.grams: list[np.ndarray] = []
        """``(channels, signals, signals)``: inner products in each second."""

    def __iter__(self) -> Iterator[np.ndarray]:
        """Separate the track."""
        show = None if self.progress is True else False
        gathers, time = self.ensemble.exact or len(self.streams) > 1, 0
        tracks = [((block,) for block in stream) for stream in self.streams]
        if self.ensemble.hears_mixture:
            shaped = (x.reshape(len(x), -1, x.shape[-1]) for x in self.blocks())
            tracks.append((block[:, :1],) for block in shaped)
        with bar(None, "separating", self.total, show=show, unit="chunk") as shown:

            def step() -> None:
                self.done += 1
                shown.update()
                self._tell()

            for stream in self.streams:
                stream.step = step
            for parts in in_step(tracks):
                blocks = [widen(block, self.width) for (block,) in parts]
                block = np.concatenate(blocks, axis=1) if blocks[1:] else blocks[0]
                if gathers and len(block):
                    self._gather(block, time)
                time += len(block)
                yield block

    def _gather(self, block: np.ndarray, time: int) -> None:
        second = self.sample_rate
        ends = range(second - time % second, len(block), second)
        for piece in np.split(block, ends):
            signals = piece.transpose(2, 1, 0).astype(np.float64)
            gram = signals @ signals.transpose(0, 2, 1)
            if time % second:
                self.grams[-1] += gram
            else:
                self.grams.append(gram)
            time += len(piece)

    def stems(self, block: np.ndarray, depth: int = 32) -> np.ndarray:
        """Make ``(time, stems, channels)`` of a block of the iteration.

        Where they sum to the mixture, they are on the grid of files of so many bits.
        """
        self._tell()
        # Samples of a channel side by side, and no BLAS, whose threads wake too slowly.
        signals = np.ascontiguousarray(np.moveaxis(block, 0, -1))
        stems = np.einsum("orc,rct->oct", self.gains, signals)
        if self.width > self.channels:
            stems = stems.mean(1, keepdims=True)
        stems = np.moveaxis(stems, -1, 0)
        if self.ensemble.exact:
            # A mono track has the same samples in all channels that it was widened to.
            mixture = signals[-1, : self.channels].T
            stems = sum_exactly(stems, mixture, self.shares, depth)
        return stems

    @functools.cached_property
    def gains(self) -> np.ndarray:
        """How much of each signal is in a stem, (stems, signals, channels)."""
        return self._gains(self.matrix)[:, : self.ensemble.signals].astype(np.float32)

    @functools.cached_property
    def shares(self) -> np.ndarray:
        """The share of each stem in the power of all, (stems, channels)."""
        gram, rows = np.sum(self.grams, axis=0), self._gains(self.matrix)
        power = np.einsum("orc,crs,osc->oc", rows, gram, rows)
        power = np.where(power.sum(0) > 0, np.maximum(power, 0), 1)
        if self.width > self.channels:
            power = power.sum(-1, keepdims=True)
        return power / power.sum(0)

    def spread(self) -> dict[str, Any]:
        r"""Return how far the members are apart, in each stem and second.

        .. math:: 10 \log_{10} \frac{\frac1M \sum_m |\hat s_m - \bar s|^2}{|\bar s|^2}

        in dB, over all channels, of stems :math:`\hat s_m` of the M members alone and
        :math:`\bar s` as it is written: -20 dB are a tenth of its level. It is None
        where the stem is silent, or all members agree to the last bit. The result is
        for JSON.
        """
        facts = {
            "weights": self.ensemble.weights.T,
            "track": self._spread(np.sum(self.grams, axis=0)),
            "seconds": np.stack([*map(self._spread, self.grams)], -1),
        }
        names, text = self.ensemble.names, "10 log10 of the mean over members of "
        return {
            "definition": f"{text}|member - stem|^2, over |stem|^2, in each second and "
            "in the whole track, in dB",
            "members": [member.name for member in self.ensemble.members],
        } | {key: dict(zip(names, finite(x, 3))) for key, x in facts.items()}

    def _spread(self, gram: np.ndarray) -> np.ndarray:
        """(stems,) in dB, from (channels, signals, signals)."""
        size = gram.shape[-1]
        apart = self.ensemble.rows - self.matrix
        rows = [self._gains(rows)[:, :size] for rows in (*apart, self.matrix)]
        powers = [np.einsum("orc,crs,osc->o", row, gram, row) for row in rows]
        # Rounding may leave less than nothing of the members' differences.
        difference = np.maximum(np.mean(powers[:-1], axis=0), 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return 10 * np.log10(difference / powers[-1])

    def _gains(self, rows: np.ndarray) -> np.ndarray:
        """(stems, signals, channels): rows times the scales of the estimates."""
        scales = [widen(stream.scales, self.width) for stream in self.streams]
        ones = np.ones((1, self.width))
        return rows[..., None] * np.concatenate([*scales, ones])

    def _tell(self, block: Any = None) -> Any:
        """Tell that work goes on; return the block."""
        if callable(self.progress):
            self.progress(min(self.done / self.total, 1.0))
        return block
