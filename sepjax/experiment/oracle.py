"""What ideal masks reach on songs: measured, written as JSON and as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines.collections.multitrack import open_recordings
from sepjax.evaluation.feasibility.measure import Settings, report
from sepjax.report.pages.feasibility import write_page
from sepjax.storage import finite, write_json
from sepjax.train.provenance import commit


def measure_oracle(
    settings: Settings, sources: Sequence[str], files: tuple[Path, Path]
) -> dict[str, Any]:
    """Measure the songs of ``settings.data``; write JSON and page, in that order.

    Raises:
        ValueError: there are no such songs or classes, or none could be measured.
    """
    classes, songs = open_recordings(settings.data, sources, settings.split or "")
    results = finite(report(classes, songs, settings))
    results["provenance"]["commit"] = commit()
    write_json(files[0], results)
    write_page(results, files[1])
    return results
