"""PyTorch LSTM weights, as :mod:`sepjax.functional.recurrent` has them."""

import numpy as np

from sepjax.weights.families import StateReader


def read_lstm(
    state: StateReader, place: str, layer: int, *, inputs: int, hidden: int
) -> dict[str, np.ndarray]:
    """One layer: matrices turned to (in, gates), directions along a leading axis.

    The order of the gates is ours, and both biases stay.

    Args:
        state: its arrays.
        place: what comes before ``weight_ih_l0``.
        layer: number of the layer; it has two directions if there are names with
            ``_reverse``.
        inputs: channels that it hears.
        hidden: channels of each direction.
    """
    both = f"{place}weight_ih_l{layer}_reverse" in state
    shapes = {
        "input": ("weight_ih", 4 * hidden, inputs),
        "state": ("weight_hh", 4 * hidden, hidden),
        "input_bias": ("bias_ih", 4 * hidden),
        "state_bias": ("bias_hh", 4 * hidden),
    }
    return {
        name: np.stack(
            [
                state.take(f"{place}{theirs}_l{layer}{end}", *shape).T
                for end in ("", *("_reverse",) * both)
            ]
        )
        for name, (theirs, *shape) in shapes.items()
    }
