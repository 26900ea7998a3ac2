"""The 74 experiments of the thesis' Appendix A, by their printed names.

    python run_experiment.py --mode=list
    python run_experiment.py --config=configs/appendix_a.py:large_hybrid_pmpgtf \
        --workdir=runs/large_hybrid_pmpgtf \
        --config.data.dataset=folder --config.data.root=/path/to/musdb18hq

Without ``data.root`` a row trains on the embedded demo music. A row takes hours on a
GPU for the ideal masks (``irm_…``), about a day for ``large_…``. What to expect is an
order, not a number (section 5.3): hybrid STFT above gammatones above sinc above
convolutions; a pseudo-inverse decoder at or above a free one; trained jointly above
pretrained and frozen. No row is ``causal``; setting that also asks for ``model.norm``
and ``model.input_norm`` ``cumulative``.

``NAME@thesis`` is the row under the recipe that the thesis is likely to have used.
"""

import dataclasses
from typing import Any

from sepjax.config import MODEL_CONFIGS, Config
from sepjax.configs.appendix_a_rows import (
    DEFAULTS,
    EXTRA,
    FIGURES,
    NOT_REPRODUCIBLE,
    NOTES,
    SECTIONS,
    UNLISTED,
)
from sepjax.registry import close_names, nearest

ROWS = {name: cells for part in SECTIONS.values() for name, cells in part.rows.items()}
SECTION_OF = {
    **{name: key for key, part in SECTIONS.items() for name in part.rows},
    **{name: section for name, (section, _) in UNLISTED.items()},
}
NAMES = {name: SECTIONS[SECTION_OF[name]].title for name in (*ROWS, *UNLISTED)}

TRACKS = 86  # training songs of MUSDB18: track_samples counts chunks of each per epoch
EPOCHS = 100  # the thesis gives no number
PATIENCE = 10  # epochs without improvement that end a run

_OF_MODEL = (
    *("B", "H", "L", "N", "W", "causal", "decoder", "encoding", "fb_post_conv"),
    *("fb_ratio", "fb_type", "filters", "gammatone_init", "ideal_mask"),
    *("init_type", "kernel", "large_tcn", "layers", "stack", "who_is_pinv"),
)
_OF_OPTIM = ("lr", "lr_decay_gamma", "lr_decay_patience", "weight_decay")
# Name in the appendix -> field; ``threads`` has none: batches are read another way.
PATHS = {
    **{name: f"model.{name}" for name in _OF_MODEL},
    **{name: f"optim.{name}" for name in _OF_OPTIM},
    "bs": "train.batch_size",
    "freeze": "train.freeze",
    "model": "model.name",
    "pretrained_from": "train.pretrained_from",
    "sample_rate": "data.sample_rate",
    "seed": "seed",
    "sources": "data.sources",
    "stack_layers": "model.deep_types",
    "time_length": "data.chunk_seconds",
}
# How a cell is written in the configuration, where that is not as printed.
VALUES = {
    "freeze": tuple,
    "sample_rate": lambda kilohertz: round(1000 * kilohertz),
    "sources": tuple,
    "stack_layers": tuple,
    "time_length": float,
    "who_is_pinv": lambda side: side or "none",
}
# Other ways to train a row, ``NAME@recipe``: what it is, and the fields that it sets.
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "thesis": (
        "likely the thesis' own: torch's Adam, whose L2 decay is of all parameters, "
        "no clipping, filters learned in Hz",
        {
            **{"optim.weight_decay_kind": "l2", "optim.decay": "all"},
            **{"optim.clip": 0.0, "model.fb_parameters": "hz"},
        },
    )
}


def overrides(name: str) -> dict[str, Any]:
    """What a row changes of Table A.1's defaults, in the names of that table.

    Example:
        >>> overrides("irm_hybrid_pmpgtf")
        {'ideal_mask': True, 'sample_rate': 8, 'bs': 12}
    """
    if name not in NAMES:
        close = close_names(name, NAMES)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(
            f"configs/appendix_a.py has no {name!r}: {hint}--mode=list prints all "
            f"{len(NAMES)} names"
        )
    if name in UNLISTED:
        cells = UNLISTED[name][1]
    else:
        cells = SECTIONS[SECTION_OF[name]].common | ROWS[name]
    return {key: value for key, value in cells.items() if value != DEFAULTS[key]}


def get_config(name: str = "") -> Config:
    """The configuration of a row: Table A.1's defaults <- section <- row <- prose.

    After an ``@`` comes the name of a recipe. A row that starts from another row's
    parameters starts from those of the same recipe.

    Raises:
        ValueError: there is no such row or recipe; the nearest names are suggested.
    """
    whole, (name, at, recipe) = name, name.partition("@")
    if at and recipe not in RECIPES:
        raise ValueError(f"{whole}: {recipe!r}: {nearest(recipe, RECIPES)}")
    cells = DEFAULTS | overrides(name) | EXTRA.get(name, {})
    if "stack_layers" in cells:
        cells |= dict(encoding="deep", filters=len(cells["stack_layers"]))
    family = MODEL_CONFIGS.find(cells.get("model", "tasnet"))
    config = Config(name=whole, model=family())
    # A row of another family has the letters of the table's defaults all the same.
    known = {f"model.{field.name}" for field in dataclasses.fields(family)}
    for key, path in PATHS.items():
        *section, field = path.split(".")
        if key in cells and (path in known or section != ["model"]):
            node = getattr(config, section[0]) if section else config
            setattr(node, field, VALUES.get(key, lambda cell: cell)(cells[key]))
    epoch = TRACKS * cells["track_samples"] // cells["bs"]
    config.train.eval_every = config.train.checkpoint_every = epoch
    config.train.steps, config.train.early_stop = EPOCHS * epoch, PATIENCE
    if config.train.pretrained_from:
        config.train.pretrained_from += at + recipe
    for path, value in RECIPES[recipe][1].items() if at else ():
        section, field = path.split(".")
        if section != "model" or path in known:
            setattr(getattr(config, section), field, value)
    return config


def figures(name: str) -> dict[str, str]:
    """The figures of chapter 5 that show a row, and how certain that is.

    Example:
        >>> figures("irm_fb_sinc_pseudodec")
        {'5.6': 'likely', '5.7': 'likely'}
    """
    return {figure: rows[name] for figure, rows in FIGURES.items() if name in rows}


def table() -> list[tuple[str, list[tuple[str, str, str, str, str]]]]:
    """Sections for ``--mode=list``, each a title and its rows.

    A row is (name, cells as printed, figures, reproducible, note); after a ``+`` the
    cells are those of the prose.
    """
    marks = {"certain": "", "likely": "~", "alternative": "?"}
    sections: dict[str, list] = {key: [] for key in SECTIONS}
    for name, section in SECTION_OF.items():
        common = SECTIONS[section].common
        cells = ROWS.get(name) or overrides(name).items() - common.items()
        words = _cells(cells)
        if name in EXTRA:
            words = f"{words} + {_cells(EXTRA[name])}".strip()
        seen = " ".join(f"{key}{marks[kind]}" for key, kind in figures(name).items())
        again = "no row" if name in UNLISTED else "yes"
        again = "no" if name in NOT_REPRODUCIBLE else again
        sections[section].append((name, words, seen, again, NOTES.get(name, "")))
    return [
        (f"{key} {part.title}: {_cells(part.common) or 'defaults'}", sections[key])
        for key, part in SECTIONS.items()
    ]


def _cells(cells: Any) -> str:
    return " ".join(
        f"{key}={','.join(value) if isinstance(value, list) else value}"
        for key, value in sorted(dict(cells).items(), key=lambda cell: cell[0].lower())
    )
