"""Tracks of valid and test that are trained on, whatever they are called.

A model that was trained on a song remembers it: its score there says nothing about
songs it has not heard. So training refuses such a set, and a score that is made of one
says SEEN.
"""

from pathlib import Path

from data_pipelines.doctor.same_audio import Pair, name_of, same_audio
from data_pipelines.manifest import DataError, Manifest


def trained_twins(
    manifest: Manifest, *, cache: str | Path | None = None
) -> dict[str, Pair]:
    """Find every track of valid and test that is in train as well, and where.

    Args:
        manifest: the set, as distributed, with the training tracks that are used.
        cache: as of :func:`~data_pipelines.doctor.same_audio.same_audio`.

    Returns:
        By the track's name, its pair with the training track that is most alike.

    Raises:
        DataError: files that cannot be read.
    """
    held_out = [track for track in manifest.tracks if track.split != "train"]
    trained = [track for track in manifest.tracks if track.split == "train"]
    twins: dict[str, Pair] = {}
    for pair in same_audio(manifest, held_out, trained, cache=cache):
        if pair.same:
            twins.setdefault(pair.first.name, pair)
    return twins


def reason(pair: Pair) -> str:
    """Explain why the first track of a pair counts as seen.

    Example:
        >>> from data_pipelines.manifest import Track
        >>> songs = [Track(name, "train", "", 8, {}) for name in ("a", "b")]
        >>> reason(Pair(*songs, 1.0, "audio"))
        'same audio as train/b'
    """
    return f"same audio as {name_of(pair.second)}"


def refuse(manifest: Manifest, twins: dict[str, Pair]) -> None:
    """Raise a DataError that names all twins, with what to do, if there are any."""
    if twins:
        count = f"{len(twins)} track" + "s" * (len(twins) != 1)
        raise DataError(
            "\n  ".join(
                [
                    f"dataset '{manifest.name}' ({manifest.root}): {count} of valid or"
                    " test would be trained on",
                    *map(str, twins.values()),
                    "remove them from one of the two splits; or train with"
                    " --config.data.allow_overlap=True, and their scores will say SEEN",
                ]
            )
        )
