"""The Open-Unmix models that the project has released."""

from sepjax.models.releases import RELEASES, Release

SOURCES = ("vocals", "drums", "bass", "other")
MIT = "MIT, as the project states; see the record"
SCORED = "MUSDB18 test, museval, by the project (its README, commit 01b6f6b)"
# Record, beginnings of SHA-256 and scores, in the order of the sources: records and
# files as open-unmix-pytorch 1.3 gives them in utils.py.
_FOUR = """
umx 3370486 c8df74a5 5a48008b 646024d3 f8e132cc 6.32 5.73 5.23 4.02
umxhq 3370489 b62c91ce 9619578f 8d85a5bd b52fbbf7 6.25 6.04 5.07 4.28
umxl 5069601 bccbd9aa 69e0ebd4 2ca1ce51 c8c5b3e6 7.21 7.15 6.02 4.89
"""
FACTS: dict[str, Release] = {}
for _name, _record, *_rest in map(str.split, _FOUR.strip().splitlines()):
    FACTS[_name] = Release(
        SOURCES,
        sample_rate=44100,
        download_bytes=142_457_472,  # of its arrays; the files are hardly larger
        licence=MIT,
        trained_on="MUSDB18" + "-HQ" * (_name == "umxhq"),
        latency_seconds=13.9,  # 600 frames at once, as its importer says
        place=f"https://zenodo.org/records/{_record}",
        files={f"{n}-{sha}.pth": sha for n, sha in zip(SOURCES, _rest)},
        scores=dict(zip(SOURCES, map(float, _rest[4:]))),
        scored=SCORED,
    )
FACTS["umxl"] = FACTS["umxl"]._replace(
    download_bytes=452_311_680,
    licence="CC BY-NC-SA 4.0",
    trained_on="songs that are not published",
)
FACTS["umxse"] = Release(
    ("speech", "noise"),
    sample_rate=16000,
    download_bytes=46_309_440,
    licence=MIT,
    trained_on="Voicebank+DEMAND",
    latency_seconds=19.2,
    place="https://zenodo.org/records/3786908",
    files={"speech_f5e0d9f9.pth": "f5e0d9f9", "noise_04a6fc2d.pth": "04a6fc2d"},
    model={"n_fft": 1024, "hop": 512, "audio_channels": 1},
)
SMALL = Release(
    ("vocals", "accompaniment"),
    sample_rate=44100,
    download_bytes=0,
    licence="MIT",
    trained_on="three songs, and Spleeter's stems of them",
    latency_seconds=0.046,
    sums=("accompaniment=drums+bass+other",),
    preferred=True,
    shipped=True,
)
for _name, _release in (FACTS | {"small": SMALL}).items():
    RELEASES.register(_name)(_release)
