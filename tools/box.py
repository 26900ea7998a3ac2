"""Build the small separator of the package: music for its teacher, then its weights.

    python tools/box.py music runs/box_music
    python run_experiment.py --config=configs/box.py --workdir=runs/box \
        --config.data.root=SONGS --config.train.teacher_music=runs/box_music
    python tools/box.py weights runs/box sepjax/weights/shipped/small

``music`` writes demo songs with a voice, as recordings. ``weights`` takes the best
parameters of a run, in float16. The same run gives the same bytes: there is no date in
them, and no place.
"""

import argparse
import itertools
from pathlib import Path

import jax
import numpy as np
import soundfile

from data_pipelines.pipeline import open_data
from sepjax.config import Config, resolve
from sepjax.models.tasnet.config import TasNetConfig
from sepjax.storage import atomic_folder, sha256
from sepjax.train.checkpoint import describe
from sepjax.train.load import load
from sepjax.weights import write_imported
from sepjax.weights.store import MODEL, in_half

TOLD = ("data_sha256", "device", "seed", "teacher", "versions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    music = commands.add_parser("music")
    music.add_argument("folder", type=Path)
    music.add_argument("--songs", type=int, default=100)
    music.set_defaults(run=lambda a: write_music(a.folder, a.songs))
    weights = commands.add_parser("weights")
    weights.add_argument("source", type=Path)
    weights.add_argument("folder", type=Path)
    weights.set_defaults(run=lambda a: write_weights(a.source, a.folder))
    arguments = parser.parse_args()
    arguments.run(arguments)


def write_music(folder: Path, count: int) -> None:
    """Write the first demo songs for training that have a voice."""
    config = Config(model=TasNetConfig())
    config.data.sources = (
        "vocals",
        "drums",
        "bass",
        "electric_guitar",
        "wind",
        "other",
    )
    songs = open_data(resolve(config)).tracks("train")
    sung = (song for song in songs if song.references[0].any())
    with atomic_folder(folder) as part:
        for song in itertools.islice(sung, count):
            path = part / f"{song.name}.flac"
            soundfile.write(path, song.mixture, song.sample_rate, "PCM_16")


def write_weights(run: Path, folder: Path) -> None:
    """Write the folder, and say how large it is and what its hash is."""
    _, variables, config = load(run)
    known = describe(run)
    trees = jax.tree.map(np.asarray, dict(variables))
    tree = trees.pop("params") | trees
    origin = {name: known["provenance"].get(name) for name in TOLD}
    levels = {"normalize": config.data.normalize, "rescale": config.eval.rescale}
    facts = {
        "family": config.name,
        "files": [],
        "licence": "MIT",
        "separate": levels,
        "trained": origin | {"steps": known["best"]["step"]},
    }
    write_imported(folder, config, in_half(tree), facts)
    path = folder / MODEL
    print(f"{path}: {path.stat().st_size:,} bytes, sha256 {sha256(path)}")


if __name__ == "__main__":
    main()
