"""Sets of runs: the thesis' comparisons, sections and figures, one command each.

    python run_experiment.py --sweep=encoders_irm --workdir=runs/sweep --shard=2/4 \
        --config.data.dataset=folder --config.data.root=/path/to/musdb18hq

`chapter4` and `chapter6` run on what `sepjax prepare` wrote (docs/experiments.md).
A row that starts from another row's parameters brings that row along, first. All sweeps
may share one workdir: a row is trained once.
"""

from typing import Any, NamedTuple

from sepjax.configs.appendix_a import EXTRA, FIGURES, ROWS, SECTIONS

FILE = "appendix_a"


class Member(NamedTuple):
    """A run of a sweep."""

    config: str  # "name:variant", as of --config
    overrides: dict[str, Any]  # dotted field -> value, before the user's own


def rows(*names: str) -> dict[str, Member]:
    """Rows of the appendix by name, each once, after the row it starts from.

    Example:
        >>> list(rows("large_hybrid_pmpgtf_pretrained_encoder"))
        ['irm_hybrid_pmpgtf', 'large_hybrid_pmpgtf_pretrained_encoder']
    """
    sources = (EXTRA.get(name, {}).get("pretrained_from") for name in names)
    order = dict.fromkeys([*filter(None, sources), *names])
    return {name: Member(f"{FILE}:{name}", {}) for name in order}


def figure(*figures: str) -> dict[str, Member]:
    """The rows of figures without those that the text names as one of several."""
    shown = {name: kind for key in figures for name, kind in FIGURES[key].items()}
    return rows(*(name for name, kind in shown.items() if kind != "alternative"))


def in_hertz(members: dict[str, Member]) -> dict[str, Member]:
    """The same runs with filters learned in Hz, as in the thesis."""
    fields = {"model.fb_parameters": "hz"}
    return {
        f"{name}_hz": Member(member.config, {"name": f"{name}_hz"} | fields)
        for name, member in members.items()
    }


def hybrids_fairly(all_sound: bool) -> dict[str, Member]:
    """Hybrid encoders with ideal masks at equal kernel, stride and batch.

    The appendix gives gammatones the shorter kernel, and here some classes are silent
    in most excerpts; ``all_sound`` keeps the others only.
    """
    kinds = {
        "conv": "conv",
        "sinc": "sinc",
        "sinc_uniform": "sinc",
        "pmpgtf": "pmpgtf",
        "pmpgtf_uniform": "pmpgtf",
        "stft": "stft",
        "stft_above_floor": "stft",
    }
    members = {}
    for kind, row in kinds.items():
        name = f"hybrid_{kind}" + "_all_sound" * all_sound
        fields = {"name": name, "data.all_sound": all_sound}
        fields |= {"model.L": 25, "model.W": 25}
        if kind.endswith("uniform"):
            fields["model.init_type"] = "uniform"
        if kind == "stft_above_floor":
            fields["model.fb_type"] = kind
        members[name] = Member(f"{FILE}:irm_hybrid_{row}", fields)
    return members


# The studio models first: the others start from them, by the names of their runs.
LIVE = ("studio", "studio_meta", "unmix", "meta", "tl", "retrain", "finetune")
# What `sepjax prepare` has written: folders of songs for the models of chapter 4, under
# the names of these songs, and for chapter 6 the folder that config.data.root names.
PREPARED = {"data.dataset": "prepared"}
SONGS = {name: name for name in ("all_data", "all_instruments")}
SONGS |= {"guitar": "all_instruments", "published": "musdb18"}
_SINC = ("irm_fb_sinc_free_uniform", "irm_fb_sinc_pseudodec_uniform")
_RATES = rows(*(name for name in ROWS if name.startswith(_SINC)))

SWEEPS: dict[str, dict[str, Member]] = {
    "learning_rate": _RATES,
    "learning_rate_hz": in_hertz(_RATES),
    "gammatone_ratio": figure("5.12"),
    "gammatone_ratio_large": rows(*(n for n in SECTIONS["A.4"].rows if "H640" in n)),
    "sinc_ratio": figure("5.13"),
    "hybrids_fairly": hybrids_fairly(True) | hybrids_fairly(False),
    "encoders_irm": figure("5.6", "5.7", "5.9"),
    "encoders_tasnet": figure("5.8", "5.10"),
    **{key: rows(*part.rows) for key, part in SECTIONS.items()},
    **{f"figure_{key}": figure(key) for key in FIGURES if key[0].isdigit()},
    "table_5.1": rows(*FIGURES["table_5.1"]),
    "live": {f"demo_{name}": Member(f"chapter6:demo_{name}", {}) for name in LIVE},
    "chapter4": {
        f"meta_{name}": Member(
            f"chapter4:{name}", PREPARED | {"data.root": f"prepared/{songs}"}
        )
        for name, songs in SONGS.items()
    },
    "chapter6": {name: Member(f"chapter6:{name}", PREPARED) for name in LIVE[2:]},
    "appendix_a": rows(*ROWS),
}
TITLES = {
    "learning_rate": "sinc banks, free and pseudo-inverse decoder, rates 0.001 to 0.05",
    "learning_rate_hz": "the same with filters learned in Hz, as in the thesis",
    "gammatone_ratio": "share of gammatones in a hybrid encoder, H 160 (A.4)",
    "gammatone_ratio_large": "share of gammatones in a hybrid encoder, H 640 (A.4)",
    "sinc_ratio": "share of sinc filters in a hybrid encoder, H 160 (A.5)",
    "hybrids_fairly": "hybrids of equal kernels where all classes sound, and anywhere",
    "encoders_irm": "encoders with ideal masks (figures 5.6, 5.7 and 5.9)",
    "encoders_tasnet": "encoders with a Conv-TasNet (figures 5.8 and 5.10)",
    **{key: part.title for key, part in SECTIONS.items()},
    **{f"figure_{key}": f"the rows of figure {key}" for key in FIGURES},
    "table_5.1": "both candidates for the model of table 5.1",
    "live": "the protocols of chapter 6 on the demo music made live",
    "chapter4": "Meta-TasNet and Open-Unmix on the folders prepared/all_data, ...",
    "chapter6": "the protocols on concerts (set config.data.root), with public weights",
    "appendix_a": "everything",
}
