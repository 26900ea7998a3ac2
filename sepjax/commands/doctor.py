"""``sepjax prepare --check``: the stem doctor on a set of songs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.


def run(
    data: str, dataset: str, sources: Sequence[str], output: Path | None, jobs: int
) -> int:
    """Examine a set, print the findings and write ``doctor.json``.

    Args:
        data: its folder; of the demo nothing, or "demo".
        dataset: a name of ``data_pipelines.registry.DATASETS``.
        sources: classes to look at; all that are there by default.
        output: folder of ``doctor.json``; nothing is written by default.
        jobs: songs at a time.

    Returns:
        1 if there is a serious problem, else 0.

    Raises:
        DataError: it is no set of songs; everything that is wrong is listed.
    """
    from data_pipelines.doctor import diagnose, format_diagnosis
    from sepjax.storage import write_json

    diagnosis = diagnose(_manifest(data, dataset, sources), jobs=jobs)
    print(format_diagnosis(diagnosis))
    if output is not None:
        path = write_json(output / "doctor.json", diagnosis.to_tree())
        print(f"all numbers: {path}")
    return 1 if diagnosis.serious else 0


def _manifest(data: str, dataset: str, sources: Sequence[str]) -> Any:
    from data_pipelines.registry import build_manifest

    if dataset == "demo":
        from data_pipelines.collections.multitrack import DEMO_SONGS
        from data_pipelines.songs import demo

        # Training has thousands of songs, all made of the same takes.
        songs = {name: min(n, DEMO_SONGS) for name, n in demo.SONGS.items()}
        return demo.build_manifest("", tuple(sources or demo.CLASSES), songs=songs)
    return build_manifest(dataset, data, tuple(sources or _classes(data, dataset)))


def _classes(data: str, dataset: str) -> Sequence[str]:
    """All classes of a set."""
    if dataset == "prepared":
        from data_pipelines.songs.prepared import read_prepared

        return read_prepared(data)[0]["classes"]
    from data_pipelines.songs.layouts import MIXTURES, find_songs

    songs = find_songs(Path(data))
    return sorted({name for files in songs.values() for name in files} - {*MIXTURES})
