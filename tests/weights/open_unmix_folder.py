"""Folders of Open-Unmix, as its scripts write them, with random weights."""

import hashlib
import json

import numpy as np
from torch_writer import pickled, tensors_of, write_stream, write_zip

from sepjax.commands import cli


def random_state(rng, *, hidden=8, bins=2049, heard=1487, channels=2):
    """The state dict of one target."""
    half = hidden // 2

    def draw(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    state = {
        "input_mean": -np.ones(heard, np.float32),
        "input_scale": np.ones(heard, np.float32),
        "output_scale": np.ones(bins, np.float32),
        "output_mean": np.ones(bins, np.float32),
        "fc1.weight": draw(hidden, channels * heard),
        "fc2.weight": draw(hidden, 2 * hidden),
        "fc3.weight": draw(channels * bins, hidden),
    }
    for norm, width in (("bn1", hidden), ("bn2", hidden), ("bn3", channels * bins)):
        state |= {
            f"{norm}.weight": np.ones(width, np.float32),
            f"{norm}.bias": np.zeros(width, np.float32),
            f"{norm}.running_mean": draw(width),
            f"{norm}.running_var": rng.uniform(0.5, 1, width).astype(np.float32),
            f"{norm}.num_batches_tracked": np.array(7),
        }
    for layer in range(3):
        for end in ("", "_reverse"):
            state |= {
                f"lstm.weight_ih_l{layer}{end}": draw(4 * half, hidden),
                f"lstm.weight_hh_l{layer}{end}": draw(4 * half, half),
                f"lstm.bias_ih_l{layer}{end}": draw(4 * half),
                f"lstm.bias_hh_l{layer}{end}": draw(4 * half),
            }
    return state


def write_state(path, state, *, old=False):
    """A file of a state dict, also in the format of 2019; returns its SHA-256."""
    tensors, data = tensors_of(state)
    if old:
        kinds = [
            (key, array.size, array.tobytes())
            for key, array in zip(data, state.values())
        ]
        write_stream(path, pickled(tensors), kinds)
    else:
        write_zip(path, pickled(tensors), data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def states_of(arrays):
    """Target -> state dict, from the arrays of a separator's vectors."""
    states = {}
    for key, array in arrays.items():
        target, slash, name = key.partition("/")
        if slash:
            states.setdefault(target, {})[name] = array
    return states


def vectors(shared_data, name):
    """Reference vectors of the source by name."""
    with np.load(shared_data / f"umx_ref/{name}.npz") as data:
        return dict(data)


def write_json(path, **content):
    """One file of the source's settings."""
    path.write_text(json.dumps(content))


def contents(folder):
    """Name -> bytes of all files."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(family, *files, output, options=()):
    """The exit code of an import on the command line."""
    given = [family, *map(str, files), "-o", str(output), *options]
    return cli.main(["import-weights", *given])
