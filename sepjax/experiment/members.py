"""The runs of a sweep: which ones, their configurations, what they wait for."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from absl import flags
from ml_collections import config_flags

from sepjax.config import (
    Config,
    differences,
    from_dict,
    member_configs,
    member_folders,
    resolve,
)
from sepjax.config.tree import epochs_in_steps
from sepjax.experiment.named import config_file
from sepjax.experiment.names import configuration_of, name_problems, require_fields
from sepjax.registry import nearest
from sepjax.report.run_folder import read_config
from sepjax.storage import read_json


class Member(Protocol):
    """A run of a sweep; ``sepjax.configs.sweeps.Member`` is one."""

    config: str  # "name:variant" or "file.py:variant"
    overrides: Mapping[str, Any]  # dotted field -> value


def select(
    sweeps: Mapping[str, Mapping[str, Member]], name: str, shard: str
) -> dict[str, Member]:
    """Select the members of a shard "k/n": each n-th from the k-th on, from 1.

    Raises:
        ValueError: there is no such sweep, or the shard is not one.

    Example:
        >>> sweeps = {"letters": dict.fromkeys("abcde")}
        >>> list(select(sweeps, "letters", "2/3"))
        ['b', 'e']
    """
    if name not in sweeps:
        raise ValueError(f"unknown sweep {name!r}: {nearest(name, sweeps)}")
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ValueError(f"--shard={shard} must be k/n with 1 <= k <= n, such as 2/8")
    return dict(list(sweeps[name].items())[index - 1 :: count])


def missing_sources(
    configs: Mapping[str, Config], workdir: Path
) -> list[tuple[str, str]]:
    """Return (run, its start) where the start is no member, and is not there yet."""
    starts = [(name, config.train.pretrained_from) for name, config in configs.items()]
    starts = [s for s in starts if s[1] not in {"", *configs}]
    return [
        s for s in starts if not any((p / s[1]).is_dir() for p in (Path(), workdir))
    ]


def configuration(member: Member, overrides: Sequence[str] = ()) -> Config:
    """Resolve the configuration of a member, whose fields lose to the user's.

    Those are ``--config.section.field=value``.
    """
    fields = [f"--config.{path}={value}" for path, value in member.overrides.items()]
    argv = ["sweep", f"--config={config_file(member.config)}", *fields, *overrides]
    require_fields(configuration_of(argv[1:2]), argv[1:])
    # The parser of the run itself: what it reads is what the run will be.
    values = flags.FlagValues()
    define = config_flags.DEFINE_config_file
    holder = define("config", flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, TypeError, ValueError) as error:
        line = str(error).strip().splitlines()[-1]
        raise ValueError(f"{member.config} {' '.join(overrides)}: {line}") from error
    return resolve(holder.value, name_problems)


def finished(folder: Path, config: Config, trained: bool = False) -> bool:
    """Return whether a run has its results, and whether this configuration made them.

    If it has several members, each has its own folder, the seeds of one variation a
    common ``band.json``, and all variations a ``surface.html``. ``trained``: it need
    not be scored.
    """
    ones, folders = member_configs(config), member_folders(config, folder)
    if folders == (folder,):
        proof = folder / ("filters.npz" if trained else "results.json")
        if not proof.exists():
            return False
        if not trained:
            read_json(proof, dict)  # half of a file is nothing finished
        # The configuration is stored resolved, and beside where it comes from.
        tree = read_config(folder)
        tree.pop("provenance", None)
        stored = from_dict(tree) if tree else Config()
        # What an epoch was, only the run knows that has seen the data.
        epoch = max(stored.train.eval_every // config.train.eval_every, 1)
        return bool(tree) and not differences(stored, epochs_in_steps(config, epoch))
    if trained:
        return all(finished(*one, trained) for one in zip(folders, ones))
    if config.train.vary and not (folder / "surface.html").exists():
        return False
    seeds = sorted({one.seed for one in ones})
    for home in {one.parent for one in folders} if len(seeds) > 1 else ():
        band = home / "band.json"
        if not band.exists() or read_json(band, dict).get("seeds") != seeds:
            return False
    return all(map(finished, folders, ones))
