"""``sepjax report RUN...``: the page, a figure or a table of runs."""

import argparse
from pathlib import Path

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax report``."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="run folder, or a folder of runs, which gets an index of them",
    )
    parser.add_argument(
        "--figure",
        metavar="ID",
        help="draw a figure of the thesis' chapter 5 from runs instead: 5.2, 5.6 … "
        "5.15; 4.1 or 4.2 from a collection or a prepared folder; 'comparison' of "
        "whatever runs are given, 'scores' of their bars, 'surface' of a run with "
        "train.vary",
    )
    parser.add_argument(
        "--table",
        nargs="?",
        const="",
        metavar="ID",
        help="print the scores of the runs beside each other, as Markdown; with 4.4, "
        "5.1 or 6 as that table of the thesis, beside what it prints",
    )
    parser.add_argument(
        "--metric",
        default="si_sdr",
        help="of --table: sdr, usdr or another that all were scored by (%(default)s)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="the figure's file: .html, .png or .svg, all three without a suffix "
        "(figure_ID in this folder); of --table ID the files without their suffix "
        "(table_ID)",
    )
    parser.add_argument(
        "--by-data",
        action="store_true",
        help="panels of their own for runs that were validated on other data",
    )


def report(arguments: argparse.Namespace) -> int:
    """``sepjax report RUN...``, ``--figure ID RUN...`` or ``--table [ID] RUN...``."""
    if arguments.figure:
        from sepjax.experiment.figures import draw

        files, caption = draw(
            arguments.figure, arguments.runs, arguments.output, arguments.by_data
        )
        print(caption, *files, sep="\n")
        return 0
    tabular, runs = arguments.table is not None, arguments.runs
    if tabular and Path(arguments.table).is_dir() and arguments.table:
        runs = [Path(arguments.table), *runs]  # the first run, not a number
        arguments.table = ""
    if not runs:
        raise ValueError("name a run folder: sepjax report RUN")
    if arguments.table:
        from sepjax.experiment.reproduce import write_table

        files, text = write_table(arguments.table, runs, arguments.output)
        print(text, *files, sep="\n")
        return 0
    if tabular:
        from sepjax.report.score_table import score_table

        print(score_table(runs, arguments.metric))
        return 0
    from sepjax.report.pages.index import write_pages

    for run in runs:
        print(write_pages(run))
    return 0
