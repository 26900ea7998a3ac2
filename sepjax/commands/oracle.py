"""``sepjax oracle DATA``: what a set of songs promises, before anything is trained."""

import argparse
from pathlib import Path

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax oracle``."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="folder of songs, <song>/<class>.wav or <song>/<class>/<track>.wav, "
        "perhaps below train, valid and test; a collection of recordings (.yaml, "
        ".jsonl); or 'demo' for the embedded music",
    )
    text = "classes to mix, and sums of some (all that exist)"
    parser.add_argument("--sources", default="", metavar="A,SUM=B+C", help=text)
    text = "a run, imported weights or a name of `sepjax models`: mix its classes, as "
    text += "sums where songs have them in parts"
    parser.add_argument("-n", "--name", default="", metavar="MODEL", help=text)
    splits = ("train", "valid", "test")
    parser.add_argument("--split", choices=splits, help="(all songs; of the demo test)")
    text = "songs at a time; 5 minutes of six stereo classes at 44.1 kHz take 4.5 GB"
    parser.add_argument("--jobs", type=int, default=1, help=f"{text} (%(default)s)")
    numbers = {
        "power": (2.0, "exponent of the ratio mask, of overlaps too"),
        "songs-per-class": (0, "songs to draw for each class that have it; 0: all"),
        "seed": (42, "of these draws"),
        "window": (6.0, "seconds of a window of SDR"),
        "mark": (6.0, "dB of SI-SDR that classes should reach"),
    }
    for name, (value, text) in numbers.items():
        told = f"{text} (%(default)g)"
        parser.add_argument(f"--{name}", type=type(value), default=value, help=told)
    masks = ("ratio", "binary", "wiener")
    parser.add_argument("--mask", choices=masks, default=masks[0], help="(%(default)s)")
    parser.add_argument(
        "--beta",
        choices=("when_needed", "always"),
        default="when_needed",
        help="scaling and adaptive: turn classes down when they overflow, or always "
        "bring them to full scale (%(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("feasibility"),
        help="folder of oracle.json and oracle.html (%(default)s)",
    )


def oracle(arguments: argparse.Namespace) -> int:
    """Measure, print, write JSON and a page; return 1 if a song could not be read."""
    _check(arguments)
    from sepjax.evaluation.feasibility.measure import Settings
    from sepjax.experiment.oracle import measure_oracle
    from sepjax.report.pages.feasibility_table import format_report

    arguments.output.mkdir(parents=True, exist_ok=True)
    sources = [name for name in arguments.sources.split(",") if name]
    known, page = vars(arguments), arguments.output / "oracle.html"
    settings = Settings(**{name: known[name] for name in Settings._fields})
    files = arguments.output / "oracle.json", page
    results = measure_oracle(settings, sources, files, arguments.name)
    print(format_report(results))
    print(f"report: {page}")
    return 1 if results["failed"] else 0


def _check(arguments: argparse.Namespace) -> None:
    for name in ("jobs", "power", "window"):
        if not getattr(arguments, name) > 0:
            raise ValueError(f"--{name} must be above zero")
    if arguments.name and arguments.sources:
        raise ValueError("-n and --sources both say which classes: give one")
    if arguments.songs_per_class < 0:
        raise ValueError("--songs-per-class must be 0 or more")
