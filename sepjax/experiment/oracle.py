"""What ideal masks reach on songs: measured, written as JSON and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.collections.multitrack import open_recordings, summed
from sepjax.config import Config, DataConfig
from sepjax.config.rules import sum_problems
from sepjax.evaluation.feasibility.measure import Settings, report
from sepjax.report.pages.feasibility import write_page
from sepjax.storage import finite, write_json
from sepjax.train.load import model_data
from sepjax.train.provenance import commit


def measure_oracle(
    settings: Settings,
    sources: Sequence[str],
    files: tuple[Path, Path],
    model: str = "",
) -> dict[str, Any]:
    """Measure the songs of ``settings.data``; write JSON and page, in that order.

    Args:
        settings: what is measured.
        sources: the classes, ``vocals`` or ``accompaniment=drums+bass``; or all.
        files: to write.
        model: whose classes are meant instead.

    Raises:
        ValueError: there are no such songs or classes, or none could be measured.
    """
    names = tuple(entry.partition("=")[0] for entry in sources)
    sums = tuple(entry for entry in sources if "=" in entry)
    data = DataConfig(sources=names, sums=sums)
    split = settings.split or ""
    if model:
        data = model_data(model)
        data.sums = data.sums_of(open_recordings(settings.data, (), split)[0])
    if problems := list(sum_problems(Config(data=data))):
        raise ValueError("; ".join(problems))
    classes, songs = open_recordings(settings.data, data.recorded, split)
    if data.sums:
        classes = data.sources
        songs = [summed(song, data.members) for song in songs]
    results = finite(report(classes, songs, settings))
    if data.sums:
        results["definition"]["sums"] = list(data.sums)
    results["provenance"]["commit"] = commit()
    write_json(files[0], results)
    write_page(results, files[1])
    return results
