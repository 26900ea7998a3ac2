"""Open-Unmix: sigsep/open-unmix-pytorch, class ``OpenUnmix``, one file for each source.

The state dicts of the sources are one here (:func:`join_targets`), and their arrays are
stacked along a leading axis.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sepjax.config import Config, DataConfig
from sepjax.foreign.state_dict import BATCH_STATS, StateReader, read_lstm
from sepjax.models.open_unmix.config import OpenUnmixConfig
from sepjax.models.open_unmix.model import bins_within
from sepjax.models.open_unmix.network import NORMS

BANDWIDTH = 16000.0
"""Hz, of the public models."""
Tree = dict[str, "np.ndarray | Tree"]


def join_targets(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Join the state dicts of several targets, by name, to the one of the family.

    Example:
        >>> join_targets({"vocals": {"fc1.weight": 1}, "bass": {"fc1.weight": 2}})
        {'vocals/fc1.weight': 1, 'bass/fc1.weight': 2}
    """
    return {
        f"{target}/{name}": array
        for target, state in states.items()
        for name, array in state.items()
    }


def open_unmix(
    state: StateReader,
    *,
    sources: tuple[str, ...] = (),
    sample_rate: int = 44100,
    hop: int = 0,
    iterations: int = -1,
    softmask: bool = False,
    residual: bool = False,
) -> tuple[Config, dict]:
    """Import the networks of several targets, all of one size.

    Arrays are named ``<target>/<name>``; options as those of
    :func:`sepjax.models.open_unmix.weights_folder.import_folder`.
    """
    targets = _targets(state, tuple(sources))
    trees = [_network(state, target + "/") for target in targets]
    for target, tree in zip(targets, trees):
        sizes = [jax.tree.map(np.shape, params) for params in (trees[0], tree)]
        names = [n for n in sizes[0] | sizes[1] if sizes[0].get(n) != sizes[1].get(n)]
        if names:
            raise ValueError(
                f"'{target}' and '{targets[0]}' differ in the sizes of "
                f"{', '.join(names)}: targets of a model have one size"
            )
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
    layers = sum(name.startswith("lstm_") for name in params)
    _, directions, width, _ = params["lstm_0"]["state"].shape
    bins, inputs = params["output_scale"].shape[1], params["input_mean"].shape[1]
    several = int(len(targets) + residual > 1)
    model = OpenUnmixConfig(
        audio_channels=params["fc1"]["kernel"].shape[1] // inputs,
        hidden=directions * width,
        layers=layers,
        bidirectional=directions == 2,
        n_fft=2 * (bins - 1),
        hop=hop or (bins - 1) // 2,
        bandwidth=simplest_bandwidth(inputs, bins, sample_rate),
        wiener_iterations=several if iterations < 0 else iterations,
        wiener_softmask=softmask,
        wiener_residual=residual,
    )
    data = DataConfig(sources=targets, sample_rate=sample_rate)
    return Config(model=model, data=data), params


def simplest_bandwidth(inputs: int, bins: int, sample_rate: int) -> float:
    """Return a bandwidth in Hz that contains so many of the bins.

    The bandwidth of the public models if that is right, 0 if all bins lie within, or
    else half a bin above the last bin.

    Example:
        >>> simplest_bandwidth(1487, 2049, 44100), simplest_bandwidth(513, 513, 16000)
        (16000.0, 0.0)
        >>> simplest_bandwidth(3, 5, 8000)
        2500.0
    """
    if inputs == bins:
        return 0.0
    if inputs == bins_within(BANDWIDTH, n_fft=2 * (bins - 1), sample_rate=sample_rate):
        return BANDWIDTH
    return (inputs - 0.5) * sample_rate / 2 / (bins - 1)


def _targets(state: StateReader, sources: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(name.rpartition("/")[0] for name in state.arrays))
    if "" in known or not known:
        raise KeyError(
            "names must say their target, as 'vocals/fc1.weight' does: join the state "
            "dicts with sepjax.models.open_unmix.weights.join_targets("
            "{'vocals': state, ...})"
        )
    missing = [name for name in sources if name not in known]
    if missing:
        raise KeyError(f"the state dict has no target {missing}: it has {known}")
    for target in set(known) - set(sources or known):
        state.ignore(rf"{target}/.*")
    return sources or known


def _network(state: StateReader, place: str) -> Tree:
    """Parameters of one target, and its statistics as one more part."""
    bands = len(state.take(f"{place}input_mean", -1))
    bins = len(state.take(f"{place}output_scale", -1))
    fc1 = state.take(f"{place}fc1.weight", -1, -1)
    hidden, inputs = fc1.shape
    if inputs % bands:
        raise ValueError(
            f"'{place}fc1.weight' has {inputs} inputs, which are no multiple of the "
            f"{bands} bins of '{place}input_mean'"
        )
    outputs = inputs // bands * bins
    params: Tree = {
        "input_mean": state.take(f"{place}input_mean", bands),
        "input_scale": state.take(f"{place}input_scale", bands),
        "output_scale": state.take(f"{place}output_scale", bins),
        "output_mean": state.take(f"{place}output_mean", bins),
        "fc1": {"kernel": fc1.T},
        "fc2": {"kernel": state.take(f"{place}fc2.weight", hidden, 2 * hidden).T},
        "fc3": {"kernel": state.take(f"{place}fc3.weight", outputs, hidden).T},
    }
    statistics = {}
    for name, width in zip(NORMS, (hidden, hidden, outputs)):
        weight, bias, mean, variance = (
            state.take(f"{place}{name}.{part}", width)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        params[name] = {"gain": weight, "bias": bias}
        statistics[name] = {"mean": mean, "var": variance}
    # The number of batches seen changes nothing where the momentum is given.
    state.ignore(rf"{place}bn\d\.num_batches_tracked")
    width = hidden // (2 if f"{place}lstm.weight_ih_l0_reverse" in state else 1)
    for layer in range(max(state.count(rf"{place}lstm\.weight_ih_l(\d+)$"), 1)):
        params[f"lstm_{layer}"] = read_lstm(
            state, f"{place}lstm.", layer, inputs=hidden, hidden=width
        )
    return params | {BATCH_STATS: statistics}
