"""The thesis' tables and figures: what each is made of, and what it prints.

    sepjax reproduce table-4.4 --scale smoke
    sepjax reproduce figure-5.10 --scale full data.dataset=folder data.root=musdb18hq

Printed values are those that were at hand when this was written; of the rest of a table
only its layout is known, and its cells show "?". Who has the thesis may fill them in.
Layouts of tables 4.3 and 6 and the subjects of figures 4.1, 4.2, 5.1 and 5.3 to 5.5
are inferred from the thesis' text.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from sepjax.configs import sweeps
from sepjax.configs.appendix_a import FIGURES
from sepjax.configs.sweeps import Member

MUSDB = ("vocals", "drums", "bass", "other")  # columns of the thesis' tables
SIX = ("vocals", "drums", "bass", "electric_guitar", "wind", "other")
BSS = ("sdr", "sir", "isr", "sar")
UMX = "Stöter et al. 2019, README of open-unmix-pytorch; SDR, 1 s windows, medians"
DEFOSSEZ = "Défossez et al. 2019 (v1); SDR, 1 s windows, medians"
SAMUEL = "Samuel, Ganeshan and Naradowsky 2020; SDR, 1 s windows, medians"

Cells = dict[str, dict[str, float]]  # metric -> class or "mean" -> dB


class Table(NamedTuple):
    """A table of scores of runs."""

    title: str
    rows: dict[str, str]  # member -> the thesis' name of the row
    classes: tuple[str, ...]
    metrics: tuple[str, ...]
    printed: dict[str, Cells]  # row -> what the thesis prints
    published: dict[str, tuple[str, Cells]]  # row -> source and values
    remarks: tuple[str, ...] = ()


class Oracle(NamedTuple):
    """A table of ideal masks; ``sepjax oracle`` measures it."""

    title: str
    options: dict[str, dict[str, Any]]  # scale ("" for all) -> options of the command


class Target(NamedTuple):
    """One table or figure: the runs that it needs, and what it is."""

    members: Mapping[str, Member]
    what: Table | Oracle | str  # a figure's title
    small: Mapping[str, Member] = MappingProxyType({})  # at other scales than full


def _scores(*values: float) -> Cells:
    return {"sdr": dict(zip((*MUSDB, "mean"), values))}


PUBLISHED = {
    "Open-Unmix": (UMX, _scores(6.32, 5.73, 5.23, 4.02, 5.325)),
    "Demucs": (DEFOSSEZ, _scores(6.29, 6.08, 5.83, 4.12, 5.58)),
    "Conv-TasNet": (DEFOSSEZ, _scores(6.81, 6.08, 5.66, 4.37, 5.73)),
    "Meta-TasNet": (SAMUEL, _scores(6.40, 5.91, 5.58, 4.19, 5.52)),
    "Wave-U-Net": (DEFOSSEZ, _scores(3.25, 4.22, 3.21, 2.25, 3.23)),
}
CHAPTER4, CHAPTER6 = "chapter4", "chapter6"
TABLES = {
    "table-4.4": Table(
        title="Meta-TasNet on six classes: all songs, and songs with all classes",
        rows={"meta_all_data": "all_data", "meta_all_instruments": "all_instruments"},
        classes=SIX,
        metrics=(*BSS, "si_sdr"),
        printed={
            "all_data": {
                "sdr": {"drums": 8.908},
                "isr": {"drums": 6.553},
                "sar": {"drums": 3.945},
            },
            "all_instruments": {"sdr": {"drums": 4.173}},
        },
        published={},
        remarks=(
            "The printed SDR of drums of all_data, 8.908, lies above its ISR and SAR "
            "and is taken for a misprint of 3.908.",
        ),
    ),
    "table-5.1": Table(
        title="Conv-TasNet with filterbanks beside published models",
        rows={
            "full_data_huge_hybrid_pmpgtf_L100_W100": "Conv-TasNet-filterbanks",
            "full_data_huge_hybrid_pmpgtf_L50_W50": "Conv-TasNet-filterbanks, L 50",
        },
        classes=MUSDB,
        metrics=("sdr", "si_sdr"),
        printed={
            "Conv-TasNet-filterbanks": {"sdr": {"mean": 4.03}},
            "Conv-TasNet": {"sdr": {"mean": 5.73}},
            "Open-Unmix": {"sdr": {"mean": 5.36}},
        },
        published=PUBLISHED,
        remarks=(
            "The thesis does not say which of its two large models is meant.",
            "Values of Défossez et al. by class are quoted from memory; they have the "
            "means that were published.",
            "It prints 5.36 as the mean of Open-Unmix, whose four numbers have the "
            "mean 5.325.",
        ),
    ),
    "table-6": Table(
        title="Protocols of live music",
        rows={name: name for name in ("meta", "unmix", "tl", "retrain", "finetune")},
        classes=MUSDB,
        metrics=("sdr", "sir", "isr", "sar", "si_sdr"),
        printed={
            "meta": {"sdr": {"mean": 3.81}},
            "retrain": {"sdr": {"vocals": 3.92}},
            "finetune": {"sdr": {"vocals": 3.92}},
        },
        published={},
        remarks=(
            "retrain and finetune print the same vocals, perhaps copied.",
            "Concerts without clean references are scored by SI-SDR alone; ours are "
            "made live from clean songs.",
        ),
    ),
}
_MEMBERS = {
    "table-4.4": {
        f"meta_{name}": Member(f"{CHAPTER4}:{name}", {})
        for name in ("all_data", "all_instruments")
    },
    "table-5.1": sweeps.SWEEPS["table_5.1"],
    "table-6": {
        name: Member(f"{CHAPTER6}:{name}", {})
        for name in ("meta", "unmix", "tl", "retrain", "finetune")
    },
}
_SMALL_MEMBERS = {"table-6": sweeps.SWEEPS["live"]}
ORACLES = {
    "table-4.1": Oracle(
        "Ideal masks of eleven classes under four mixing procedures",
        {"smoke": {"songs_per_class": 3}, "full": {"songs_per_class": 50}},
    ),
    "table-4.2": Oracle(
        "Ideal ratio masks of the four classes of MUSDB18",
        {"": {"sources": MUSDB}},
    ),
    "table-4.3": Oracle(
        "Ideal ratio masks of the six classes of chapter 4",
        {"": {"sources": SIX}},
    ),
}
DRAWINGS = {
    "figure-4.1": "Songs of each genre",
    "figure-4.2": "Songs of each year",
    "figure-5.1": "A TasNet: encoder, separator, decoder",
    "figure-5.2": "Filters of an encoder",
    "figure-5.3": "A filterbank and its pseudo-inverse",
    "figure-5.4": "A hybrid encoder",
    "figure-5.5": "A deep encoder",
}
CURVES = {
    f"figure-{key}": Target(
        sweeps.SWEEPS[f"figure_{key}"], f"Validation of {len(rows)} rows"
    )
    for key, rows in FIGURES.items()
    if key[0].isdigit()
}
TARGETS: dict[str, Target] = {
    **{name: Target({}, what) for name, what in ORACLES.items()},
    **{
        name: Target(_MEMBERS[name], what, _SMALL_MEMBERS.get(name, {}))
        for name, what in TABLES.items()
    },
    **{name: Target({}, what) for name, what in DRAWINGS.items()},
    **CURVES,
}

_BRIEF = {
    "train.epoch_samples": 0,
    "train.eval_every": 10,
    "train.checkpoint_every": 10,
    "train.steps": 20,
    "train.batch_size": 2,
    "train.statistics_excerpts": 8,
    "train.early_stop": 0,
    "data.chunk_seconds": 1.0,
    "eval.excerpts": 1,
}
_SMALL = {
    "train.epoch_samples": 0,
    "train.seeds": 3,
    "train.batch_size": 4,
    "train.steps": 800,
    "train.eval_every": 200,
    "train.checkpoint_every": 200,
    "train.statistics_excerpts": 200,
    "train.early_stop": 0,
    "data.chunk_seconds": 2.0,
    "data.valid_seconds": 8.0,
}
# Scale -> family ("" for all) -> fields.
SCALES: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {
        "": {"data.dataset": "demo", "data.sample_rate": 8000, **_BRIEF},
        "tasnet": dict(N=32, B=16, H=16, layers=3, stack=1),
        "meta_tasnet": dict(N=32, B=16, H=16, layers=3, stack=1, stages=1, mels=16),
        "open_unmix": dict(hidden=16, layers=1, n_fft=512, hop=128, audio_channels=1),
    },
    "reduced": {
        "": {"data.dataset": "demo", "data.sample_rate": 8000, **_SMALL},
        "tasnet": dict(N=128, B=48, H=96, layers=5, stack=2),
        "meta_tasnet": dict(N=128, L=40, W=40, B=48, H=64, layers=6, stack=2, stages=1),
        "open_unmix": dict(hidden=128, layers=2, n_fft=1024, hop=256, audio_channels=1),
    },
    "full": {"": {}},
}
