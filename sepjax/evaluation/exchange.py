"""Scores of songs that were dealt out over the processes of a distributed run."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sepjax.evaluation.excerpts import Collector, Excerpt
from sepjax.storage import atomic_file

SCRATCH_FOLDER = "scores.part"  # in the run folder
PATIENCE = 7 * 24 * 3600 * 1000  # ms; some processes have longer songs than others

Rows = dict[int, dict[str, Any]]  # place of a song in its split -> what is known of it


def bring_together(rows: Rows, collector: Collector, run: Path, part: slice) -> bool:
    """Send all processes' rows and excerpts to the first, by files in the run folder.

    Args:
        rows: ready for JSON, but for NaN and infinities; those of others are added.
        collector: is offered the excerpts of the others.
        run: the run folder, the same one for all processes.
        part: the songs of this process p of P, ``slice(p, None, P)``.

    Returns:
        Whether this is the first process, which then has everything.

    Raises:
        OSError: a file cannot be written, or that of another process is not there.
    """
    process, processes = part.start, part.step
    if processes == 1:
        return True
    from orbax.checkpoint import multihost

    scratch = run / SCRATCH_FOLDER
    if process:
        facts = [list(rows.items()), [excerpt[:-1] for excerpt in collector.kept]]
        waves = [excerpt.waves for excerpt in collector.kept]
        with atomic_file(scratch / f"{process}.npz") as file:
            np.savez(file, *waves, facts=json.dumps(facts))
    # By way of the coordinator: a collective of devices would not wait for hours.
    multihost.get_barrier_sync_fn()(key=f"scores of {run}", timeout_ms=PATIENCE)
    if process:
        return False
    for other in range(1, processes):
        with np.load(scratch / f"{other}.npz") as file:
            more, facts = json.loads(str(file["facts"]))
            rows.update(more)
            for index, fact in enumerate(facts):
                collector.keep(Excerpt(*fact, file[f"arr_{index}"]))
    shutil.rmtree(scratch)
    return True
