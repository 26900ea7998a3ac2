"""Loss values per batch item and source; the mean over active sources is separate."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped


def si_sdr(
    reference: Float[Array, "*batch time"],
    estimate: Float[Array, "*batch time"],
    *,
    zero_mean: bool = False,
    eps: float = 1e-8,
) -> Float[Array, "*batch"]:
    r"""Scale-invariant signal-to-distortion ratio in decibels (thesis eq. 2.12).

    .. math:: \alpha = \frac{\langle \hat s, s \rangle}{\|s\|^2 + \epsilon}, \qquad
              10 \log_{10} \frac{\max(\|\alpha s\|^2, \epsilon)}
                                {\max(\|\alpha s - \hat s\|^2, \epsilon)}

    The floors make value and gradient finite for silent references, silent estimates
    and perfect ones. They are absolute: normalise loudness first.

    Args:
        reference: true sources.
        estimate: separated sources.
        zero_mean: remove the mean of both first, as speech toolkits do.
        eps: energy floor, in squared units of the signals.

    Example:
        >>> wave = jnp.array([1.0, -1.0, 1.0, -1.0])
        >>> noise = jnp.array([1.0, 1.0, -1.0, -1.0])
        >>> round(float(si_sdr(wave, 2 * wave + noise)), 2)
        6.02

    Reference:
        Le Roux et al. 2019, SDR: half-baked or well done?
    """
    if zero_mean:
        reference = reference - jnp.mean(reference, axis=-1, keepdims=True)
        estimate = estimate - jnp.mean(estimate, axis=-1, keepdims=True)
    energy = jnp.sum(reference**2, axis=-1, keepdims=True)
    scale = jnp.sum(reference * estimate, axis=-1, keepdims=True) / (energy + eps)
    target = scale * reference
    signal = jnp.maximum(jnp.sum(target**2, axis=-1), eps)
    distortion = jnp.maximum(jnp.sum((target - estimate) ** 2, axis=-1), eps)
    return 10 * (jnp.log10(signal) - jnp.log10(distortion))


def source_si_sdr(
    reference: Float[Array, "batch sources *channels time"],
    estimate: Float[Array, "batch sources *channels time"],
) -> Float[Array, "batch sources"]:
    """SI-SDR of every source, its channels one long vector (one scale for all).

    Example:
        >>> stereo = jnp.array([[[[1.0, -1.0], [2.0, -2.0]]]])
        >>> source_si_sdr(stereo, 3 * stereo).shape
        (1, 1)
    """
    return si_sdr(*(x.reshape(*x.shape[:2], -1) for x in (reference, estimate)))


def active_sources(
    reference: Float[Array, "batch sources *channels time"],
) -> Bool[Array, "batch sources"]:
    """Which sources sound at all.

    Example:
        >>> active_sources(jnp.array([[[0.0, 0.0], [0.0, 0.1]]]))
        Array([[False,  True]], dtype=bool)
    """
    return jnp.any(reference != 0, axis=tuple(range(2, reference.ndim)))


def mean_over_active(
    values: Float[Array, "batch sources"],
    active: Bool[Array, "batch sources"] | Float[Array, "batch sources"],
    counts: Float[Array, " sources"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, " sources"]]:
    """Mean over the active items of each source, and the mean of these over sources.

    A source that is active nowhere counts neither here nor there; with none at all the
    means are 0.

    Args:
        values: one value per item and source.
        active: which of them count.
        counts: active items per source in the *whole* batch where ``values`` are only a
            device's share of it; the shares then sum up to the mean.

    Example:
        >>> mean, each = mean_over_active(
        ...     jnp.array([[2.0, 9.0], [4.0, 9.0]]), jnp.array([[True, False]] * 2)
        ... )
        >>> float(mean), each
        (3.0, Array([3., 0.], dtype=float32))
    """
    active = active.astype(values.dtype)
    counts = jnp.sum(active, axis=0) if counts is None else counts
    # where, not a product: an inactive value may be huge or not finite.
    total = jnp.sum(jnp.where(active > 0, values * active, 0.0), axis=0)
    each = total / jnp.maximum(counts, 1)
    return jnp.sum(each) / jnp.maximum(jnp.sum(counts > 0), 1), each


def separation_loss(
    reference: Float[Array, "batch sources *channels time"],
    estimate: Float[Array, "batch sources *channels time"],
    counts: Float[Array, " sources"] | None = None,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Negative SI-SDR of the active sources, and its value per source.

    Of :func:`source_si_sdr`.

    Args:
        reference: true sources.
        estimate: separated sources, in the same order.
        counts: as in :func:`mean_over_active`.

    Example:
        >>> wave = jnp.ones((1, 2, 4))
        >>> loss, metrics = separation_loss(wave, wave)
        >>> sorted(metrics)
        ['active', 'si_sdr']
    """
    active, values = active_sources(reference), source_si_sdr(reference, estimate)
    mean, each = mean_over_active(values, active, counts)
    return -mean, {"si_sdr": each, "active": active}


def latent_dissimilarity(
    latents: Float[Array, "batch sources frames latent"],
    active: Bool[Array, "batch sources"],
    pairs: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    r"""How much the sources of a mixture resemble each other in the latent space.

    The cosine of the magnitudes of two latent frames, averaged over frames and over
    pairs of active sources of the same item; between 0, no channel in common, and 1.

    .. math:: \cos(|q_c|, |q_d|) = \frac{\langle |q_c|, |q_d| \rangle}{\|q_c\| \|q_d\|}

    Args:
        latents: of the true sources.
        active: which of them sound.
        pairs: :func:`active_pairs` of the *whole* batch where ``latents`` are only a
            share of it; the shares then sum up to the average.

    Example:
        >>> alone = jnp.eye(2)[None, :, None]
        >>> float(latent_dissimilarity(alone, jnp.ones((1, 2), bool)))
        0.0

    Reference:
        Samuel et al. 2020 (Meta-TasNet).
    """
    pairs = active_pairs(active) if pairs is None else pairs
    unit = _unit_frames(jnp.abs(latents), active)
    # The square of a sum of unit vectors has every pair twice, and themselves once.
    products = jnp.square(unit.sum(1)).sum(-1) - jnp.square(unit).sum((1, -1))
    return jnp.mean(products.sum(0) / 2) / (pairs + 1e-8)


def latent_similarity(
    latents: Float[Array, "batch sources frames latent"],
    active: Bool[Array, "batch sources"],
    both: Float[Array, ""] | None = None,
    axis_name: str | None = None,
) -> Float[Array, ""]:
    r"""How much a source resembles itself in other mixtures, in the latent space.

    The cosine of the latents of a source in neighbouring items of the batch (the first
    one's neighbour is the last), averaged over frames and over sources that are active
    in both; between -1 and 1.

    Args:
        latents: of the true sources.
        active: which of them sound.
        both: :func:`active_neighbours` of the *whole* batch where ``latents`` are a
            device's share of it; the shares then sum up to the average.
        axis_name: the axis of ``pmap`` or ``shard_map`` along which the batch is split;
            every device then gets the item before its first one from its neighbour.

    Example:
        >>> latents = jnp.ones((2, 1, 3, 4))
        >>> round(float(latent_similarity(latents, jnp.ones((2, 1), bool))), 3)
        1.0

    Reference:
        Samuel et al. 2020 (Meta-TasNet).
    """
    both = active_neighbours(active) if both is None else both
    unit = _unit_frames(latents, active)
    cosines = (unit * preceding_items(unit, axis_name)).sum(-1)
    return jnp.mean(cosines.sum((0, 1))) / jnp.maximum(both, 1)


def active_pairs(active: Bool[Array, "batch sources"]) -> Float[Array, ""]:
    """Number of pairs of different sources that sound in the same item.

    Example:
        >>> float(active_pairs(jnp.array([[True, True, True], [True, False, False]])))
        3.0
    """
    count = jnp.sum(active, axis=1, dtype=jnp.float32)
    return jnp.sum(jnp.square(count) - count) / 2


def active_neighbours(
    active: Bool[Array, "batch sources"], axis_name: str | None = None
) -> Float[Array, ""]:
    """Number of sources that sound both in an item and in the one before it.

    Example:
        >>> float(active_neighbours(jnp.array([[True, True], [True, False]])))
        2.0
    """
    before = preceding_items(active, axis_name)
    return jnp.sum(active & before, dtype=jnp.float32)


def preceding_items(
    x: Shaped[Array, "batch *rest"], axis_name: str | None = None
) -> Shaped[Array, "batch *rest"]:
    """The item before each item of the whole batch; before the first comes the last.

    Args:
        x: items, or a device's share of them.
        axis_name: the axis of ``pmap`` or ``shard_map`` along which they are split: one
            item then moves from each device to the next.

    Example:
        >>> preceding_items(jnp.array([1, 2, 3]))
        Array([3, 1, 2], dtype=int32)
    """
    if axis_name is None:
        return jnp.roll(x, 1, axis=0)
    devices = jax.lax.axis_size(axis_name)
    ring = [(device, (device + 1) % devices) for device in range(devices)]
    return jnp.concatenate([jax.lax.ppermute(x[-1:], axis_name, ring), x[:-1]])


def _unit_frames(latents: Array, active: Array) -> Array:
    """Frames of norm one; zero where the source is silent."""
    latents = jnp.where(active[..., None, None], latents, 0.0)
    # The floor stands inside of the root, whose gradient at zero is not finite.
    energy = jnp.maximum(jnp.square(latents).sum(-1, keepdims=True), 1e-16)
    return latents * jax.lax.rsqrt(energy)
