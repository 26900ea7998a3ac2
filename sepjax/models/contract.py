"""What training, inference and evaluation may know of a model.

A model is a Flax module that separates. Generic code asks it nothing but what stands
here; :class:`SeparationModel` has an answer to everything that a family need not say.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
from jaxtyping import Array, Float

Variables = Mapping[str, Any]
"""What a model is applied with: its collections by name, ``params`` among them."""
STATISTICS = "statistics"
"""Collection into which modules sow the (mean, variance) of what they standardize."""
BRANCHES = "branches"
"""Collection into which an encoder sows each :class:`Branch` that it joins."""


class Separation(NamedTuple):
    """What a model returns; ``estimates`` are in the order of the model's sources.

    A model of the waveform has no masks and no latent frames.
    """

    estimates: Float[Array, "batch sources *channels time"]
    masks: Float[Array, "batch sources frames latent"] | None = None
    latent: Float[Array, "batch frames latent"] | None = None


class Branch(NamedTuple):
    """A branch of an encoder, and its weights in the layer that joins the branches."""

    features: Float[Array, "*batch frames channels"]
    weights: Float[Array, "channels outputs"]


class Tiling(NamedTuple):
    """How a model cuts a song into tiles, whose estimates are added to the song's.

    Tile k hears ``length`` samples from ``k * hop - before`` on, zeros beyond the ends.
    """

    length: int
    hop: int
    before: int = 0


class Streaming(NamedTuple):
    """How a model separates a stream, in samples.

    A step takes a multiple of ``block`` samples, ``lead`` zeros come before the first
    one of the signal, and the estimates of a step lie ``delay`` samples behind its
    block. ``latency`` is the least delay of any stream: so many samples after a sample
    of the estimates are heard for it.

    Example:
        >>> Streaming(latency=15, block=8, lead=4).delay
        8
    """

    latency: int
    block: int
    lead: int = 0

    @property
    def delay(self) -> int:
        """Samples by which the estimates of a step lie behind its block."""
        return self.latency + 1 - self.block

    def whole_blocks(self, size: int) -> int:
        """Round a number of samples to what a step takes."""
        return max(round(size / self.block), 1) * self.block


@runtime_checkable
class Model(Protocol):
    """The contract; a test checks it for every registered family.

    Called with a mixture ``(batch, time)``, or ``(batch, channels, time)`` where
    ``audio_channels`` is above one, it returns a :class:`Separation`. A model that
    ``needs_sources`` takes the true sources as its second argument. One that has
    ``rngs`` or ``collections`` takes the keyword ``train``, one that has
    ``collections`` the keyword ``axis_name`` as well: the axis of devices over which
    its statistics are pooled.
    """

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the estimates, in their order."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the model's audio in Hz."""

    @property
    def audio_channels(self) -> int:
        """Audio channels of the model's input: 1, or 2 for a stereo model."""

    @property
    def needs_sources(self) -> bool:
        """Whether the model is an oracle, which is given the true sources."""

    @property
    def objective(self) -> str:
        """Name of the default training loss."""

    @property
    def outputs(self) -> Mapping[str, str]:
        """Outputs for losses beside estimates, masks and latent: name -> method.

        The method is ``(mixture, sources, **options) -> {name: array}``.
        """

    @property
    def rngs(self) -> tuple[str, ...]:
        """Names of the random streams that a training step draws from: dropout."""

    @property
    def collections(self) -> tuple[str, ...]:
        """Variables that training keeps beside the parameters: batch_stats."""

    @property
    def batch_norms(self) -> tuple[str, ...]:
        """Paths of the norms that take their statistics from the batch in training.

        Where all of them are frozen the model runs as in inference.
        """

    @property
    def statistics(self) -> Mapping[str, Callable[[Any, Any], Any]]:
        """Parameters that are gathered before training: name -> value.

        The value is a function of mean and deviation of what ``observe`` sows beside
        the parameter.
        """

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of parameters that are facts about the data: never learned."""

    @property
    def coders(self) -> tuple[str, ...]:
        """Parts whose parameters mean the same beside any separator."""

    @property
    def cpu_batch_seconds(self) -> float:
        """Best amount of audio at once on a CPU, in seconds; 0: one chunk."""

    @property
    def tiling(self) -> Tiling | None:
        """Tiles of a song, by which ``tile`` is exact; None: any chunk will do."""

    def tile(self, mixture: Array) -> Separation:
        """Separate a tile: the whole song's estimates are the sum of those of tiles."""

    def prepared(self, variables: Variables) -> Variables:
        """Return variables in the form with which this machine separates fastest.

        They are not to be trained, changed or stored.
        """

    @property
    def offline(self) -> str:
        """Why the model does not separate streams, and what would; empty: it does."""

    @property
    def streaming(self) -> Streaming | None:
        """How the model separates a stream; None: ``offline`` says why not."""

    def init_state(self, batch: int) -> Any:
        """Return the state before a stream's first block.

        Raises:
            ValueError: the model is ``offline``.
        """

    def step(
        self, state: Any, block: Array, samples: int | Array | None = None
    ) -> tuple[Any, Array]:
        """Return the state after a block of a stream, and estimates of its shape.

        A method for ``apply``. Of the last blocks ``samples`` says how many of their
        samples are the signal's: what follows the end is not heard.
        """

    def decays(self, path: tuple[str, ...]) -> bool:
        """Whether weight decay shrinks the parameter at a path."""

    def observe(self, mixture: Array) -> Any:
        """Sow the moments of the features that the model standardizes, and branches."""

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """Return the taps of the model's filters by name, for plots."""

    def describe(self, time: int) -> dict[str, str]:
        """Describe what is worth knowing of ``time`` samples, before training."""

    def for_validation(self) -> "Model":
        """Return the model for validation: without steps for whole songs only."""


class SeparationModel(nn.Module):
    """The answers of a plain model: no special needs, kernels decay.

    A family's model subclasses it and declares ``sources``, ``sample_rate`` and, where
    it is no constant, ``audio_channels`` as fields.

    Example:
        >>> class Half(SeparationModel):
        ...     sources: tuple[str, ...]
        ...     sample_rate: int
        ...     def __call__(self, mixture):
        ...         halves = [mixture / len(self.sources)] * len(self.sources)
        ...         return Separation(jax.numpy.stack(halves, axis=1))
        >>> import jax
        >>> half = Half(("voice", "rest"), 8000)
        >>> half.apply({}, jax.numpy.ones((1, 4))).estimates.shape
        (1, 2, 4)
        >>> isinstance(half, Model)
        True
    """

    if TYPE_CHECKING:  # fields of a family's model; flax says less than is true here

        @property
        def sources(self) -> tuple[str, ...]:
            """Names of the estimates."""

        @property
        def sample_rate(self) -> int:
            """Hz."""

        def init(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            """Draw variables."""

        def apply(self, variables: Variables, *args: Any, **kwargs: Any) -> Any:
            """Run the model, or another method."""

    # Without annotations: a subclass may make a field of each of them.
    audio_channels = 1
    needs_sources = False
    objective = "si_sdr"
    outputs = MappingProxyType[str, str]({})
    rngs = tuple[str, ...]()
    collections = tuple[str, ...]()
    batch_norms = tuple[str, ...]()
    statistics = MappingProxyType[str, Callable[[Any, Any], Any]]({})
    constants = tuple[str, ...]()
    coders = tuple[str, ...]()
    cpu_batch_seconds = 0.0
    offline = "it hears the future as well as the past"

    @property
    def streaming(self) -> Streaming | None:
        """None: the model needs what comes after."""
        return None

    def init_state(self, batch: int) -> Any:
        """Raise the error that says why there is none."""
        raise ValueError(
            f"{type(self).__name__} does not separate streams: {self.offline}"
        )

    def step(
        self, state: Any, block: Array, samples: int | Array | None = None
    ) -> tuple[Any, Array]:
        """Raise the error of :meth:`init_state`."""
        return self.init_state(len(block)), block

    @property
    def tiling(self) -> Tiling | None:
        """None: any chunk will do."""
        return None

    def tile(self, mixture: Array) -> Separation:
        """Run the model."""
        return self(mixture)

    def prepared(self, variables: Variables) -> Variables:
        """The variables as they are."""
        return variables

    def decays(self, path: tuple[str, ...]) -> bool:
        """Return true for kernels: gains, biases and filterbank logits do not decay."""
        return path[-1] == "kernel"

    def observe(self, mixture: Array) -> Any:
        """Run the model."""
        return self(mixture)

    def kernels(self) -> dict[str, Float[Array, "length filters"]]:
        """No filters."""
        return {}

    def describe(self, time: int) -> dict[str, str]:
        """Nothing."""
        return {}

    def for_validation(self) -> "SeparationModel":
        """The model itself."""
        return self
