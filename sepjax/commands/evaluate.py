"""``sepjax evaluate``: score a run again, or anyone's folders of stems."""

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

from sepjax.registry import import_extensions

# Heavy imports wait inside the functions: the options are wanted for every --help.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for a run, and those for two folders."""
    parser.usage = (
        "sepjax evaluate RUN [--split SPLIT] [--root DIR] [options]\n"
        "       sepjax evaluate --references DIR --estimates DIR [-o DIR] [options]"
    )
    run = parser.add_argument_group(
        "a run: its best checkpoint on its own data",
        "Or what needs no training: a name of `sepjax models`, or imported weights. "
        "They are scored on songs in --root DIR, or on the demo music, and need -o.",
    )
    text = "run folder, folder of imported weights, or a name"
    run.add_argument("run", type=Path, nargs="?", metavar="RUN", help=text)
    text = "a field of such a system, say data.sample_rate=8000; may come again"
    run.add_argument("--set", action="append", default=[], help=text)
    run.add_argument(
        "--split", choices=("train", "valid", "test"), help="as the run by default"
    )
    run.add_argument("--root", help="folder of the dataset, where it has moved")
    text = "write the songs that are scored, as simulated concerts: DIR/SPLIT/SONG"
    run.add_argument("--write-songs", type=Path, metavar="DIR", help=text)
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
    _score_options(parser.add_argument_group("what is measured"))


def _score_options(two: Any) -> None:
    two.add_argument(
        "--preset",
        choices=("museval", "thesis", "mdx"),
        help="museval: SDR, ISR, SIR, SAR in 1 s windows, median of windows, then of "
        "tracks; thesis: 6 s windows, and the median over tracks of SI-SDR; mdx: uSDR, "
        "mean over tracks, quick (museval; a run as it was configured)",
    )
    two.add_argument(
        "--metrics",
        type=_names,
        help="only these of sdr,isr,sir,sar,si_sdr,usdr,log_wmse,bleedless,fullness,"
        "multi_mel_snr; without isr, sir and sar it takes a tenth of the time",
    )
    two.add_argument(
        "--extensions",
        type=_names,
        default=(),
        metavar="A,B",
        help="modules to import first, such as my_parts: they register metrics of "
        "your own for --metrics (a run imports those of its configuration)",
    )
    two.add_argument(
        "--channels",
        choices=("flatten", "mean"),
        help="SI-SDR: one scale for all channels, or the mean over channels (flatten)",
    )
    two.add_argument(
        "--zero-mean",
        action="store_true",
        default=None,
        help="SI-SDR: remove the means first",
    )
    two.add_argument(
        "--silence",
        choices=("drop", "source", "museval"),
        help="drop: as museval, but a class that is silent in a whole track is left "
        "out; source: each class by itself; museval: exactly so (drop)",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def evaluate(arguments: argparse.Namespace) -> int:
    """Score a run or two folders (``sepjax evaluate``); return 1 if a track failed."""
    if arguments.references or arguments.estimates:
        _check_command(arguments)
        return _evaluate_folders(arguments)
    if arguments.run is None:
        raise ValueError(
            "name a run folder, `sepjax evaluate RUN`, or two folders of stems, "
            "`sepjax evaluate --references DIR --estimates DIR`"
        )
    _start_quickly(arguments)
    from data_pipelines.pipeline import open_data
    from data_pipelines.songs.layouts import find_songs
    from sepjax.config import from_dict
    from sepjax.evaluation.run import run_protocol
    from sepjax.experiment.score import score
    from sepjax.train.checkpoint import describe
    from sepjax.train.load import is_run, load

    run = arguments.run
    ready = None
    if arguments.set or not is_run(run):
        ready = load(run, changes=arguments.set)
    config = ready[2] if ready else from_dict(describe(run)["config"])
    config.eval.split = arguments.split or config.eval.split
    config.data.root = arguments.root or config.data.root
    if ready:
        run = arguments.output
        _prepare_output(run)
        if config.data.root and config.data.dataset == "demo":
            config.data.dataset = "folder"
        asked = any(change.startswith("data.sums=") for change in arguments.set)
        if config.data.root and not asked:
            with contextlib.suppress(OSError, ValueError):  # to be told in full below
                songs = find_songs(Path(config.data.root)).values()
                config.data.sums = config.data.sums_of(set().union(*songs))
    protocol = run_protocol(config, arguments.preset or "", **_changes(arguments))
    data = open_data(config)
    if arguments.write_songs:
        from data_pipelines.songs.written import write_songs

        split = config.eval.split
        print("songs:", write_songs(data.tracks(split), arguments.write_songs / split))
    return 0 if score(run, config, data, protocol, ready and ready[:2]) else 1


def _evaluate_folders(arguments: argparse.Namespace) -> int:
    _start_quickly(arguments)
    from sepjax.evaluation.folders.evaluate import evaluate_folders
    from sepjax.evaluation.protocol import make_protocol
    from sepjax.evaluation.score_files import write_scores
    from sepjax.evaluation.tables import summary
    from sepjax.report.figures.boxes import write_plots
    from sepjax.report.pages.folders import write_score_page
    from sepjax.train.provenance import provenance

    record = provenance("", 0)
    _prepare_output(arguments.output)  # rather now than in the end
    results = evaluate_folders(
        arguments.references,
        arguments.estimates,
        make_protocol(arguments.preset or "museval", **_changes(arguments)),
        classes=arguments.classes,
        jobs=arguments.jobs,
        progress=True,
        provenance={key: record[key] for key in ("commit", "versions")},
    )
    files = write_scores(arguments.output, results)
    files += write_plots(arguments.output / "plots", results)
    files.append(write_score_page(arguments.output, results))
    print(summary(results))
    print("written:", *files)
    return 1 if results["failed"] else 0


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    names = ("metrics", "channels", "zero_mean", "silence")
    options = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in options.items() if value is not None}


def _start_quickly(arguments: argparse.Namespace) -> None:
    """Import extensions, keep compiled programs for the next call, tame LAPACK."""
    # Its threads wait for one another longer than they compute; read on loading NumPy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from sepjax.download import cache_folder
    from sepjax.inference.process import keep_programs

    keep_programs(cache_folder("programs"))
    import_extensions(arguments.extensions)


def _prepare_output(folder: Path) -> None:
    """Create the folder for scores.

    Raises:
        FileExistsError: it is a run folder, whose own results are not to be replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "checkpoints").exists() or (folder / "config.json").exists():
        raise FileExistsError(
            f"{folder} is a run folder: its results.json and report.html would be "
            "replaced; give another folder with -o"
        )


def _check_command(arguments: argparse.Namespace) -> None:
    names = ("run", "split", "root", "write_songs", "set")
    if any(getattr(arguments, name) for name in names):
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
