"""What a run is worth in one paragraph, and where it comes from in small print."""

import re
from typing import Any

from sepjax.report.html.markup import Markup, element, join
from sepjax.report.html.numbers import decibels, hertz
from sepjax.report.pages.scores import spell
from sepjax.report.run_folder import (
    RunFolder,
    lookup,
    mean_score,
    number,
    score,
    scored,
    seen_tracks,
)

SPLITS = {"valid": "validation", "train": "training"}


def verdict(run: RunFolder) -> Markup:
    """One paragraph that says how good the run is, in plain words."""
    if not scored(run, "si_sdr"):
        steps = max((line["step"] for line in run.train + run.valid), default=0)
        state = f"trained for {steps:,} steps" if steps else "not trained yet"
        return element(
            "p", f"This run is {state} and has no scores yet.", class_="verdict"
        )
    sentences = [_improvement_sentence(run), _oracle_sentence(run)]
    sentences += [_classes_sentence(run)]
    return element("p", [[part, " "] for part in sentences if part], class_="verdict")


def _improvement_sentence(run: RunFolder) -> Markup:
    gain = mean_score(run, "improvement", "si_sdr")
    model, mixture = (mean_score(run, p, "si_sdr") for p in ("model", "mixture"))
    names = scored(run, "si_sdr")
    verb = "improves" if gain > 0 else "worsens"
    average = f" on average over {len(names)} classes" if len(names) > 1 else ""
    return join(
        [
            f"On {_songs(run)}, the model ",
            element("b", f"{verb} the mixture by {_level(abs(gain))} SI-SDR"),
            f"{average}, from {decibels(mixture)} to {_level(model)}.",
        ]
    )


def _songs(run: RunFolder) -> str:
    count, seen = len(run.results.get("tracks", [])), len(seen_tracks(run))
    split = lookup(run.results, "definition", "split")
    split = str(split or lookup(run.config, "eval", "split") or "scored")
    split = SPLITS.get(split, split)
    if not count:
        return f"the {split} songs"
    songs = f"{count:,} {split} song{'s' if count > 1 else ''}"
    if not seen:
        return f"{songs} it never saw in training"
    return f"{songs}, {'all' if seen == count else seen} of which it was trained on"


def _oracle_sentence(run: RunFolder) -> Markup | None:
    oracle = mean_score(run, "oracle", "si_sdr")
    if oracle is None:
        return None
    mixture, model = (mean_score(run, p, "si_sdr") for p in ("mixture", "model"))
    text = (
        "The ideal-ratio-mask oracle, which is told the answer, reaches "
        f"{_level(oracle)}"
    )
    if oracle > mixture and model > mixture:
        share = 100 * (model - mixture) / (oracle - mixture)
        text += f"; the model covers {share:.0f}\N{NO-BREAK SPACE}% of the way there"
    return join([text, "."])


def _classes_sentence(run: RunFolder) -> Markup | None:
    names = scored(run, "si_sdr")
    if len(names) < 2:
        return None
    gains = {name: score(run, "improvement", name, "si_sdr") for name in names}
    best, worst = max(gains, key=gains.get), min(gains, key=gains.get)
    text = (
        f"It gains most on {best} ({_level(gains[best], signed=True)}) and "
        f"least on {worst} ({_level(gains[worst], signed=True)})."
    )
    losers = [name for name in names if gains[name] < 0]
    if losers:
        text += f" Worse than leaving the mixture alone: {', '.join(losers)}."
    return join([text])


def _level(value: float, *, signed: bool = False) -> str:
    """A level that no line break can part from its unit."""
    return f"{decibels(value, signed=signed)}\N{NO-BREAK SPACE}dB"


def facts(run: RunFolder) -> Markup:
    """Where the run comes from, small."""
    known = {
        "Configuration": lookup(run.config, "name"),
        "Classes": ", ".join(run.sources) or None,
        "Sample rate": hertz(run.sample_rate) if run.sample_rate else None,
        "Steps": _steps(run),
        "Training time": _duration(run),
        "Parameters": _grouped(_provenance(run, "parameters")),
        "Seed": lookup(run.config, "seed"),
        "Data": _short(_provenance(run, "data_sha256", "data_digest")),
        "Commit": _short(_provenance(run, "commit")),
        "Device": _provenance(run, "device"),
        "Versions": _versions(run),
    }
    items = [
        element("div", element("dt", name), element("dd", value))
        for name, value in known.items()
        if value not in (None, "")
    ]
    return element("dl", items, class_="facts")


def _provenance(run: RunFolder, *keys: str) -> Any:
    """The first of the keys that any provenance knows."""
    for tree in (run.config.get("provenance"), run.results.get("provenance")):
        for key in keys:
            if lookup(tree, key) is not None:
                return lookup(tree, key)
    return None


def _steps(run: RunFolder) -> str | None:
    planned = number(lookup(run.config, "train", "steps"))
    done = max((line["step"] for line in run.train + run.valid), default=None)
    if done is None or planned is None or done >= planned:
        return _grouped(planned if done is None else done)
    return f"{done:,} of {planned:,.0f}"


def _duration(run: RunFolder) -> str | None:
    seconds = [number(line.get("seconds")) for line in run.train + run.valid]
    longest = max((s for s in seconds if s is not None), default=0.0)
    if not longest:
        return None
    units = {"h": 3600, "min": 60, "s": 1}
    unit = next(unit for unit, size in units.items() if longest > size or size == 1)
    return f"{longest / units[unit]:.3g} {unit}"


def _grouped(value: Any) -> str | None:
    return None if number(value) is None else f"{value:,.0f}"


def _short(digest: Any) -> str | None:
    """The first letters of every long hexadecimal number; a "-dirty" stays.

    Example:
        >>> _short("v0.1-3-gabc1234-dirty"), _short("5a" * 32)
        ('v0.1-3-gabc1234-dirty', '5a5a5a5a5a5a')
    """
    if digest is None:
        return None
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{8,}\b", r"\1", spell(digest))


def _versions(run: RunFolder) -> str | None:
    versions = _provenance(run, "versions")
    if not isinstance(versions, dict):
        return None if versions is None else str(versions)
    return ", ".join(f"{name} {version}" for name, version in versions.items())
