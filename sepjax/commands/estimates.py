"""Options of ``sepjax separate`` about what is made of the models' estimates."""

import argparse
from typing import Any


def add_estimate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about models together, hearings and stems."""
    group = parser.add_argument_group("estimates")
    text = "of several models: 1,2, or for one stem vocals=1,2; may come again"
    group.add_argument("--weights", action="append", default=[], help=text)
    group.add_argument(
        "--shifts",
        type=int,
        default=1,
        metavar="N",
        help="hear the track N times, each up to half a second later (%(default)s)",
    )
    text = "hear it again with polarity inverted, with stereo channels swapped"
    group.add_argument("--tta", default="", metavar="polarity,swap", help=text)
    group = parser.add_argument_group("stems")
    text = "write these only: names of stems, of sums, or residual"
    group.add_argument("--stems", default="", metavar="A,B", help=text)
    text = "write this stem and what is not in it"
    group.add_argument("--two-stems", default="", metavar="STEM", help=text)
    group.add_argument(
        "--other-method",
        choices=("add", "minus", "none"),
        default="add",
        help="what is not in it: no_STEM, the sum of the other stems; minus_STEM, the "
        "mixture without the stem; or none (%(default)s)",
    )
    text = "write a sum instead of its parts; may come again"
    form = "SUM=A,B"
    group.add_argument(
        "--aggregate", action="append", default=[], metavar=form, help=text
    )
    text = "write what all stems leave of the mixture, too"
    group.add_argument("--residual", action="store_true", help=text)
    group.add_argument(
        "--sum",
        choices=("model", "exact"),
        default="model",
        help="exact: stems sum to the mixture, to the last bit of integers",
    )


def estimate_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of :func:`sepjax.inference.ensemble.make_ensemble`.

    Raises:
        ValueError: a list is not as its help says.
    """
    sums: dict[str, list[str]] = {}
    for text in arguments.aggregate:
        name, equals, parts = text.partition("=")
        if not equals or not name or name in sums:
            raise ValueError(f"--aggregate {text}: write SUM=A,B, each sum once")
        sums[name] = _names(parts)
    return {
        "weights": _weights(arguments.weights),
        "stems": _names(arguments.stems),
        "two_stems": arguments.two_stems,
        "other_method": arguments.other_method,
        "aggregate": sums,
        "residual": arguments.residual,
        "total": arguments.sum,
    }


def hearing_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return fields of :class:`sepjax.inference.chunks.Chunking`: None, as the run."""
    asked = {"chunk": arguments.chunk, "overlap": arguments.overlap}
    return asked | {"shifts": arguments.shifts, "augment": (*_names(arguments.tta),)}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _weights(texts: list[str]) -> Any:
    """Numbers for all stems, or a list for each stem that is named."""
    made: dict[str, list[float]] = {}
    for text in texts:
        stem, _, numbers = text.rpartition("=")
        try:
            made[stem] = [float(number) for number in _names(numbers)]
        except ValueError as error:
            raise ValueError(f"--weights {text}: write 1,2 or STEM=1,2") from error
    if made.keys() - {""} and "" in made:
        raise ValueError("--weights: give them for all stems, or stem by stem")
    return made.get("", made or [])
