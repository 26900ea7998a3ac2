"""Put a run into the package as the small separator, in float16.

    python tools/box.py runs/box sepjax/weights/shipped/small

The same run gives the same bytes: there is no date in them, and no place.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from sepjax.storage import sha256
from sepjax.train.checkpoint import describe
from sepjax.train.load import load
from sepjax.weights import write_imported
from sepjax.weights.store import MODEL, in_half

TOLD = ("data_sha256", "device", "seed", "teacher", "versions")


def main() -> None:
    """Write the folder, and say how large it is and what its hash is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    _, variables, config = load(arguments.run)
    known = describe(arguments.run)
    tree = jax.tree.map(np.asarray, dict(variables["params"]))
    tree |= {
        n: jax.tree.map(np.asarray, variables[n]) for n in variables if n != "params"
    }
    origin = {name: known["provenance"].get(name) for name in TOLD}
    facts = {
        "family": config.name,
        "files": [],
        "licence": "MIT",
        "separate": {
            "normalize": config.data.normalize,
            "rescale": config.eval.rescale,
        },
        "trained": origin | {"steps": known["best"]["step"]},
    }
    write_imported(arguments.folder, config, in_half(tree), facts)
    path = arguments.folder / MODEL
    print(f"{path}: {path.stat().st_size:,} bytes, sha256 {sha256(path)}")


if __name__ == "__main__":
    main()
