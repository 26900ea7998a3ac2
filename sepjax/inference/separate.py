"""Separate music of any length, rate and number of channels.

The device sees chunks of one size; the host holds the track and its stems. Tracks too
long for that: :class:`sepjax.inference.stream.SeparationStream`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from sepjax.inference.chunks import Chunking
from sepjax.inference.ensemble import Ensemble, EnsembleStream, Member, make_ensemble
from sepjax.inference.stream import BLOCK
from sepjax.models.contract import SeparationModel, Variables


def separate(
    model: SeparationModel,
    variables: Variables,
    mixture: np.ndarray,
    *,
    sample_rate: int,
    chunk: float = 8.0,
    overlap: float = 0.25,
    normalize: bool = True,
    rescale: bool = True,
    shifts: int = 1,
    augment: Sequence[str] = (),
    references: np.ndarray | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    r"""Separate a track into its sources.

    Args:
        model: a :class:`~sepjax.models.contract.SeparationModel`, whose result of
            ``(batch, time)`` has ``estimates (batch, sources, time)``. With
            ``audio_channels = 2`` it takes ``(batch, 2, time)`` and estimates
            ``(batch, sources, 2, time)``.
        variables: its parameters.
        mixture: ``(time, channels)`` or ``(time,)``, floats at full scale 1; every
            channel is separated on its own, except by a stereo model.
        sample_rate: of the mixture, Hz. Where it is not the model's, the track is
            resampled there and back; what lies above the model's band is lost.
        chunk: seconds separated at once.
        overlap: share of a chunk that is cross-faded with the next, in [0, 1).
        normalize: divide every channel, or both of a stereo model, by the standard
            deviation first, as in training with ``data.normalize``.
        rescale: fit the scales :math:`c_j` of every channel so that
            :math:`\sum_j c_j \hat s_j` is nearest to the mixture: estimates of a model
            trained on SI-SDR have none of their own.
        shifts: times that the track is heard, each up to half a second later; estimates
            are the mean.
        augment: what else is heard: "polarity", the track upside down; "swap", both
            channels of a stereo model exchanged.
        references: ``(sources, time, channels)``, for ideal masks, which need them.
        progress: show a progress bar on stderr.

    Returns:
        Source name -> array of the mixture's shape, float32. Silent channels and
        silent chunks of the mixture give silence.

    Raises:
        ValueError: the mixture is no finite audio, or an argument is out of range.
        FloatingPointError: an estimate is not finite; the message names the source.

    Example:
        >>> from sepjax.models import Separation, SeparationModel
        >>> class Halves(SeparationModel):
        ...     sources: tuple = ("one", "two")
        ...     sample_rate: int = 8000
        ...     def __call__(self, mixture):
        ...         estimates = mixture[:, None].repeat(2, axis=1) / 2
        ...         return Separation(estimates)
        >>> stereo = np.ones((44101, 2), np.float32)
        >>> stems = separate(Halves(), {}, stereo, sample_rate=44100)
        >>> stems["two"].shape
        (44101, 2)

    Reference:
        Samuel et al. 2020 (Meta-TasNet), scale fit of the evaluation.
    """
    wave = checked_mixture(mixture, sample_rate)
    tracks = wave[:, None]
    if model.needs_sources:
        references = _checked_references(model, references, wave.shape)
        tracks = np.concatenate([tracks, np.moveaxis(references, 0, 1)], axis=1)
    chunking = Chunking(chunk, overlap, normalize, rescale, shifts, (*augment,))
    ensemble = make_ensemble([Member(model, variables, chunking)])
    stems = separate_array(ensemble, tracks, sample_rate, progress)
    return {name: stem.reshape(mixture.shape) for name, stem in stems.items()}


def separate_array(
    ensemble: Ensemble,
    tracks: np.ndarray,
    sample_rate: int,
    progress: bool | Callable[[float], object] = False,
) -> dict[str, np.ndarray]:
    """Separate checked ``(time, 1 + references, channels)``: stem -> its array."""
    stream = EnsembleStream(
        ensemble,
        lambda: (tracks[at : at + BLOCK] for at in range(0, len(tracks), BLOCK)),
        sample_rate=sample_rate,
        shape=(len(tracks), tracks.shape[-1]),
        progress=progress,
    )
    stems, done = np.empty((len(ensemble.names), *tracks[:, 0].shape), np.float32), 0
    for block in map(stream.stems, stream if stream.is_known else [*stream]):
        stems[:, done : done + len(block)] = np.moveaxis(block, 1, 0)
        done += len(block)
    return dict(zip(ensemble.names, stems))


def checked_mixture(mixture: np.ndarray, sample_rate: int) -> np.ndarray:
    """The mixture as float32 (time, channels), or an error that says what is wrong."""
    if not isinstance(mixture, np.ndarray):
        raise ValueError(f"the mixture is a {type(mixture).__name__}: give an array")
    if not np.issubdtype(mixture.dtype, np.floating):
        whole = np.issubdtype(mixture.dtype, np.signedinteger)
        hint = f": divide it by {np.iinfo(mixture.dtype).max + 1}" if whole else ""
        raise ValueError(
            f"the mixture is {mixture.dtype}: give floats at full scale 1{hint}"
        )
    if mixture.ndim not in (1, 2) or 0 in mixture.shape:
        raise ValueError(f"the mixture {mixture.shape} must be (time, channels)")
    if mixture.ndim == 2 and mixture.shape[1] > max(mixture.shape[0], 8):
        raise ValueError(
            f"the mixture {mixture.shape} must be (time, channels): transpose it"
        )
    if not isinstance(sample_rate, int | np.integer) or not 0 < sample_rate <= 10**6:
        raise ValueError(f"sample_rate={sample_rate!r} must be a whole number of Hz")
    wave = mixture.reshape(len(mixture), -1)
    if not np.isfinite(wave).all():
        bad = ~np.isfinite(wave).all(1)
        raise ValueError(
            f"{bad.sum()} of {len(bad)} samples are NaN or infinite, the first at "
            f"{bad.argmax() / sample_rate:.3f} s: repair or cut the recording"
        )
    return wave.astype(np.float32)


def _checked_references(
    model: SeparationModel, references: np.ndarray | None, shape: tuple[int, int]
) -> np.ndarray:
    expected = (len(model.sources), *shape)
    if references is None or references.shape != expected:
        raise ValueError(
            "an ideal mask needs the true references (sources, time, channels) "
            f"{expected}; it cannot separate a recording without them"
        )
    return references
