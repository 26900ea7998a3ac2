"""The Hybrid Demucs models that Meta has released, and what their files do not tell."""

from sepjax.models.releases import RELEASES, Release

# Of demucs 4.1: signatures, and after them how the SHA-256 of the files begin. Bytes of
# htdemucs: as published; of others by the number of their arrays.
_FOUR = Release(
    ("drums", "bass", "other", "vocals"),
    sample_rate=44100,
    download_bytes=84_141_911,
    licence="MIT, as the project states of all that it has released",
    trained_on="MUSDB18-HQ and 800 songs that are not published",
    latency_seconds=7.8,
    place="https://dl.fbaipublicfiles.com/demucs/hybrid_transformer",
    files={"955717e8-8726e21a.th": "8726e21a"},
)
_FINE = (
    "f7e0c4bc-ba3fe64a.th",
    "d12395a8-e57c48e6.th",
    "92cfc3b6-ef3bcb9c.th",
    "04573f0d-f3cf25b2.th",
)
FACTS = {
    "htdemucs": _FOUR,
    # Each network was trained further for one source, and separates that one.
    "htdemucs_ft": _FOUR._replace(
        download_bytes=4 * _FOUR.download_bytes,
        files={name: name[9:17] for name in _FINE},
        model={"weights": tuple(float(n % 5 == 0) for n in range(16))},
    ),
    "htdemucs_6s": _FOUR._replace(
        sources=("drums", "bass", "other", "vocals", "guitar", "piano"),
        download_bytes=55_000_000,
        files={"5c90dfd2-34c22ccb.th": "34c22ccb"},
    ),
    "hdemucs_mmi": _FOUR._replace(
        download_bytes=167_000_000,
        latency_seconds=44.0,
        model={"segment": 44.0},
        files={"75fc33f5-1941ce65.th": "1941ce65"},
    ),
}
for _name, _release in FACTS.items():
    RELEASES.register(_name)(_release)
