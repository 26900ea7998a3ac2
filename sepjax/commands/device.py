"""Where to compute, chosen before JAX starts."""


def choose_device(name: str) -> None:
    """Have JAX compute on ``cpu``, ``gpu``, ``cuda``, ``tpu``; ``gpu:1`` is the second.

    Raises:
        ValueError: there is no such device; the message names those that are.

    Example:
        >>> choose_device("abacus")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: -d abacus: no such device here; there are ...
    """
    import jax

    platform, _, index = name.lower().partition(":")
    before = jax.config.jax_platforms
    # JAX takes "gpu" for all makes at once, and misses those that are not there.
    wanted = {"cpu": "cpu", "gpu": before}.get(platform, f"{platform},cpu")
    try:
        jax.config.update("jax_platforms", wanted)
        device = dict(enumerate(jax.devices(platform)))[int(index or 0)]
    except (RuntimeError, ValueError, KeyError) as error:
        jax.config.update("jax_platforms", before)
        known = ", ".join(f"{each.platform}:{each.id}" for each in jax.devices())
        text = f"-d {name}: no such device here; there are {known}"
        raise ValueError(text) from error
    jax.config.update("jax_default_device", device)
