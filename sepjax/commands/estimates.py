"""Options of ``sepjax separate`` about what is made of the models' estimates."""

import argparse
from typing import Any


def add_estimate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about models together, hearings and stems."""
    add = parser.add_argument_group("estimates").add_argument
    text = "how much each of several models counts: 1,2, or in a stem vocals=1,2; "
    text += "may come again"
    add("--weights", action="append", default=[], metavar="A,B", help=text)
    text = "seconds separated at once (as the model was made for)"
    add("--chunk", "--segment", type=float, metavar="SECONDS", help=text)
    text = "share of a chunk that is cross-faded with the next (likewise)"
    add("--overlap", type=float, metavar="SHARE", help=text)
    text = "hear the track N times, each up to half a second later (%(default)s)"
    add("--shifts", type=int, default=1, metavar="N", help=text)
    text = "hear it again with polarity inverted, with stereo channels swapped"
    add("--tta", default="", metavar="polarity,swap", help=text)
    add = parser.add_argument_group("stems").add_argument
    text = "write these only: names of stems, of sums, or residual"
    add("--stems", default="", metavar="A,B", help=text)
    text = "write this stem and what is not in it"
    add("--two-stems", default="", metavar="STEM", help=text)
    methods = "add", "minus", "none"
    text = "what is not in it: no_STEM, the sum of the other stems; minus_STEM, the "
    text += "mixture without the stem; or none (%(default)s)"
    add("--other-method", choices=methods, default="add", help=text)
    text = "write a sum instead of its parts; may come again"
    add("--aggregate", action="append", default=[], metavar="SUM=A,B", help=text)
    text = "write what all stems leave of the mixture, too"
    add("--residual", action="store_true", help=text)
    text = "exact: stems sum to the mixture, to the last bit of integers (%(default)s)"
    add("--sum", choices=("model", "exact"), default="model", help=text)


def estimate_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of :func:`sepjax.inference.separator.load_ensemble`.

    Raises:
        ValueError: a list is not as its help says.
    """
    sums: dict[str, list[str]] = {}
    for text in arguments.aggregate:
        name, equals, parts = text.partition("=")
        if not equals or not name or name in sums:
            raise ValueError(f"--aggregate {text}: write SUM=A,B, each sum once")
        sums[name] = _names(parts)
    same = "chunk overlap shifts two_stems other_method residual".split()
    return {name: getattr(arguments, name) for name in same} | {
        "augment": (*_names(arguments.tta),),
        "weights": _weights(arguments.weights),
        "stems": _names(arguments.stems),
        "aggregate": sums,
        "total": arguments.sum,
    }


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
