"""``sepjax evaluate --references DIR --estimates DIR``: score anyone's folders."""

import argparse
import sys
from pathlib import Path
from typing import Any

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options for a run, and those for two folders."""
    parser.usage = (
        "sepjax evaluate RUN [--split SPLIT] [--root DIR]\n"
        "       sepjax evaluate --references DIR --estimates DIR [-o DIR] [options]"
    )
    run = parser.add_argument_group("a run: its best checkpoint on its own data")
    run.add_argument("run", type=Path, nargs="?", metavar="RUN", help="run folder")
    run.add_argument(
        "--split", choices=("train", "valid", "test"), help="as the run by default"
    )
    run.add_argument("--root", help="folder of the dataset, where it has moved")
    _folder_options(parser)


def _folder_options(parser: argparse.ArgumentParser) -> None:
    two = parser.add_argument_group(
        "two folders: estimates of any program against references, paired by name",
        "Layouts: <song>/<class>.wav, perhaps below train/ and test/; or "
        "<song>_<class>.wav; or a single song.",
    )
    two.add_argument("--references", type=Path, metavar="DIR", help="the true stems")
    two.add_argument("--estimates", type=Path, metavar="DIR", help="what to score")
    two.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("evaluation"),
        help="folder for results.json, scores.csv, museval/, plots/ and report.html "
        "(%(default)s)",
    )
    two.add_argument(
        "--classes",
        type=_names,
        default=(),
        metavar="A,B",
        help="score only these (all that are in both folders)",
    )
    two.add_argument(
        "--jobs",
        type=int,
        default=0,
        help="tracks at a time; each takes 2 to 3 GB for 5 minutes of four stereo "
        "stems (one per processor, at most 4)",
    )
    _score_options(parser.add_argument_group("what is measured on two folders"))


def _score_options(two: Any) -> None:
    two.add_argument(
        "--preset",
        choices=("museval", "thesis", "mdx"),
        default="museval",
        help="museval: SDR, ISR, SIR, SAR in 1 s windows, median of windows, then of "
        "tracks; thesis: 6 s windows; mdx: uSDR, mean over tracks, quick (%(default)s)",
    )
    two.add_argument(
        "--metrics",
        type=_names,
        help="only these of sdr,isr,sir,sar,si_sdr,usdr; without isr, sir and sar it "
        "takes a tenth of the time",
    )
    two.add_argument(
        "--channels",
        choices=("flatten", "mean"),
        default="flatten",
        help="SI-SDR: one scale for all channels, or the mean over channels "
        "(%(default)s)",
    )
    two.add_argument(
        "--zero-mean", action="store_true", help="SI-SDR: remove the means first"
    )
    two.add_argument(
        "--silence",
        choices=("drop", "source", "museval"),
        default="drop",
        help="drop: as museval, but a class that is silent in a whole track is left "
        "out; source: each class by itself; museval: exactly so (%(default)s)",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def evaluate(arguments: argparse.Namespace) -> int:
    """Score two folders; print, write and draw. 1 if a track failed."""
    _check_command(arguments)
    from sepjax.evaluation.folders.evaluate import evaluate_folders
    from sepjax.evaluation.folders.files import prepare_output, summary, write_scores
    from sepjax.evaluation.protocol import make_protocol
    from sepjax.report.figures.boxes import write_plots
    from sepjax.report.pages.folders import write_score_page
    from sepjax.train.provenance import provenance

    changes: dict[str, Any] = {
        key: getattr(arguments, key) for key in ("channels", "zero_mean", "silence")
    }
    if arguments.metrics is not None:
        changes["metrics"] = arguments.metrics
    record = provenance("", 0)
    prepare_output(arguments.output)  # rather now than in the end
    results = evaluate_folders(
        arguments.references,
        arguments.estimates,
        make_protocol(arguments.preset, **changes),
        classes=arguments.classes,
        jobs=arguments.jobs,
        progress=sys.stderr.isatty(),
        provenance={key: record[key] for key in ("commit", "versions")},
    )
    files = write_scores(arguments.output, results)
    files += write_plots(arguments.output / "plots", results)
    files.append(write_score_page(arguments.output, results))
    print(summary(results))
    print("written:", *files)
    return 1 if results["failed"] else 0


def _check_command(arguments: argparse.Namespace) -> None:
    if arguments.run or arguments.split or arguments.root:
        raise ValueError(
            "either a run, `sepjax evaluate RUN [--split SPLIT] [--root DIR]`, or two "
            "folders, `sepjax evaluate --references DIR --estimates DIR`; not both"
        )
    for name in ("references", "estimates"):
        if getattr(arguments, name) is None:
            raise ValueError(
                f"--{name} DIR is missing: `sepjax evaluate --references DIR "
                "--estimates DIR`"
            )
