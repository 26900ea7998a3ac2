"""The Open-Unmix models that the project has released."""

from sepjax.models.releases import RELEASES, Release

FOUR = ("vocals", "drums", "bass", "other")
MIT = "MIT, as the project states; see the record"
SCORED = "MUSDB18 test, museval, by the project (README of open-unmix-pytorch 1.3)"


def _four(record: str, scores: tuple[float, ...], trained_on: str) -> Release:
    """Facts of a model of four sources; its files are about as large as its arrays."""
    return Release(
        sources=FOUR,
        sample_rate=44100,
        download_bytes=142_457_472,
        licence=MIT,
        trained_on=trained_on,
        latency_seconds=13.9,  # 600 frames at once, as its importer says
        place=f"zenodo.org/records/{record}",
        scores=dict(zip(FOUR, scores)),
        scored=SCORED,
    )


# Records as open-unmix-pytorch 1.3 gives them in utils.py.
_LARGE = _four("5069601", (7.21, 7.15, 6.02, 4.89), "songs that are not published")
_FACTS = {
    "umx": _four("3370486", (6.32, 5.73, 5.23, 4.02), "MUSDB18"),
    "umxhq": _four("3370489", (6.25, 6.04, 5.07, 4.28), "MUSDB18-HQ"),
    "umxl": _LARGE._replace(download_bytes=452_311_680, licence="CC BY-NC-SA 4.0"),
    "umxse": Release(
        sources=("speech", "noise"),
        sample_rate=16000,
        download_bytes=46_309_440,
        licence=MIT,
        trained_on="Voicebank+DEMAND",
        latency_seconds=19.2,
        place="zenodo.org/records/3786908",
    ),
}
for _name, _release in _FACTS.items():
    RELEASES.register(_name)(_release)
