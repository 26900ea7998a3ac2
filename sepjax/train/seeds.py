"""Several seeds of one configuration, trained side by side in one program.

Every seed has a run folder of its own, ``seed_<seed>``, in which nothing shows that
others ran beside it: configuration, log, checkpoints and scores are those of a run of
one seed, which can be continued alone.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from sepjax.config import Config
from sepjax.train.mesh import replicated


def seed_configs(config: Config) -> tuple[Config, ...]:
    """One configuration per seed, each of a run of one seed.

    Example:
        >>> config = Config(seed=7)
        >>> config.train.seeds = 3
        >>> [one.seed for one in seed_configs(config)]
        [7, 8, 9]
    """
    found = []
    for offset in range(config.train.seeds):
        one = copy.deepcopy(config)
        one.seed, one.train.seeds = config.seed + offset, 1
        found.append(one)
    return tuple(found)


def seed_folders(config: Config, workdir: Path) -> tuple[Path, ...]:
    """Where each seed's run lies: in the run folder itself if there is but one.

    Example:
        >>> config = Config(seed=7)
        >>> config.train.seeds = 2
        >>> [str(folder) for folder in seed_folders(config, Path("runs"))]
        ['runs/seed_7', 'runs/seed_8']
    """
    if config.train.seeds == 1:
        return (workdir,)
    return tuple(workdir / f"seed_{one.seed}" for one in seed_configs(config))


def join(states: Sequence[Any], mesh: Mesh) -> Any:
    """One tree with a leading axis over seeds; a single state stays as it is."""
    if len(states) == 1:
        return states[0]

    def stacked(*trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    return jax.jit(stacked, out_shardings=replicated(mesh))(*states)


def part(tree: Any, index: int, count: int) -> Any:
    """What belongs to seed ``index`` of ``count`` in a joined tree."""
    return tree if count == 1 else jax.tree.map(lambda leaf: leaf[index], tree)
