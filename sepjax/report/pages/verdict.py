"""What a run is worth in one paragraph, and where it comes from in small print."""

from typing import Any

from sepjax.report.html.markup import Markup, element
from sepjax.report.html.numbers import count, decibels, duration, hertz
from sepjax.report.html.parts import definitions
from sepjax.report.run_folder import RunFolder, lookup, number

SPLITS = {"valid": "validation", "train": "training"}


def verdict(run: RunFolder) -> Markup:
    """One paragraph that says how good the run is, in plain words."""
    if not run.scored("si_sdr"):
        steps = max((line["step"] for line in run.train + run.valid), default=0)
        state = f"trained for {steps:,} steps" if steps else "not trained yet"
        text = f"This run is {state} and has no scores yet."
        return element("p", text, class_="verdict")
    sentences = [_improvement(run), _way_to_oracle(run), _best_and_worst(run)]
    sentences.append(_unheard(run))
    return element("p", [[part, " "] for part in sentences if part], class_="verdict")


def _improvement(run: RunFolder) -> list[Any]:
    parts = ("improvement", "model", "mixture")
    gain, model, mixture = (run.mean_score(part, "si_sdr") for part in parts)
    names = run.scored("si_sdr")
    verb = "improves" if gain > 0 else "worsens"
    average = f" on average over {len(names)} classes" if len(names) > 1 else ""
    text = element("b", f"{verb} the mixture by {_level(abs(gain))} SI-SDR")
    levels = f"from {decibels(mixture)} to {_level(model)}"
    return [f"On {_songs(run)}, the model ", text, f"{average}, {levels}."]


def _songs(run: RunFolder) -> str:
    total, seen = len(run.results.get("tracks", [])), len(run.seen_tracks)
    split = lookup(run.results, "definition", "split")
    split = str(split or lookup(run.config, "eval", "split") or "scored")
    split = SPLITS.get(split, split)
    if not total:
        return f"the {split} songs"
    songs = count(total, f"{split} song")
    if not seen:
        return f"{songs} it never saw in training"
    return f"{songs}, {'all' if seen == total else seen} of which it was trained on"


def _unheard(run: RunFolder) -> str:
    """What the recordings hold beyond the band of the model, which is in no score."""
    recorded, rate = _provenance(run, "recorded_rate"), run.sample_rate
    if not number(recorded) or not rate or recorded <= rate:
        return ""
    return (
        f"The recordings have {hertz(recorded)}; what they hold above "
        f"{hertz(rate / 2)} the model cannot hear, and no score counts."
    )


def _way_to_oracle(run: RunFolder) -> str:
    parts = ("oracle", "mixture", "model")
    oracle, mixture, model = (run.mean_score(part, "si_sdr") for part in parts)
    if oracle is None:
        return ""
    text = "The ideal-ratio-mask oracle, which is told the answer, reaches "
    text += _level(oracle)
    if oracle > mixture and model > mixture:
        share = 100 * (model - mixture) / (oracle - mixture)
        text += f"; the model covers {share:.0f}\N{NO-BREAK SPACE}% of the way there"
    return text + "."


def _best_and_worst(run: RunFolder) -> str:
    names = run.scored("si_sdr")
    if len(names) < 2:
        return ""
    gains = {name: run.score("improvement", name, "si_sdr") for name in names}
    best, worst = max(gains, key=gains.get), min(gains, key=gains.get)
    most, least = (_level(gains[name], signed=True) for name in (best, worst))
    text = f"It gains most on {best} ({most}) and least on {worst} ({least})."
    if losers := [name for name in names if gains[name] < 0]:
        text += f" Worse than leaving the mixture alone: {', '.join(losers)}."
    return text


def _level(value: float, *, signed: bool = False) -> str:
    """A level that no line break can part from its unit."""
    return f"{decibels(value, signed=signed)}\N{NO-BREAK SPACE}dB"


def facts(run: RunFolder) -> Markup:
    """Where the run comes from, small."""
    lines = run.train + run.valid
    seconds = max((number(line.get("seconds")) or 0.0 for line in lines), default=0.0)
    digest = _provenance(run, "data_sha256") or _provenance(run, "data_digest")
    versions = _provenance(run, "versions")
    if isinstance(versions, dict):
        versions = ", ".join(f"{name} {version}" for name, version in versions.items())
    known = {
        "Configuration": lookup(run.config, "name"),
        "Classes": ", ".join(run.sources),
        "Sample rate": hertz(run.sample_rate) if run.sample_rate else None,
        "Steps": _steps(run),
        "Training time": duration(seconds) if seconds else None,
        "Parameters": _grouped(_provenance(run, "parameters")),
        "Teacher": lookup(run.config, "provenance", "teacher", "name"),
        "Seed": lookup(run.config, "seed"),
        "Data": digest,
        "Commit": _provenance(run, "commit"),
        "Device": _provenance(run, "device"),
        "Versions": versions,
    }
    return definitions(known, class_="facts")


def _provenance(run: RunFolder, key: str) -> Any:
    """What the run's configuration or its results know."""
    value = lookup(run.config, "provenance", key)
    return lookup(run.results, "provenance", key) if value is None else value


def _steps(run: RunFolder) -> str | None:
    planned = number(lookup(run.config, "train", "steps"))
    done = max((line["step"] for line in run.train + run.valid), default=None)
    if done is None or planned is None or done >= planned:
        return _grouped(planned if done is None else done)
    return f"{done:,} of {planned:,.0f}"


def _grouped(value: Any) -> str | None:
    return None if number(value) is None else f"{value:,.0f}"
