"""``sepjax import-weights FAMILY [FILE...] -o DIR``: others' checkpoints as models."""

import argparse
import sys
import warnings
from pathlib import Path

# Heavy imports wait inside the functions: every --help needs the options.


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument(
        "family",
        metavar="FAMILY",
        help="whose code wrote the file, or a released model, as kaituoxu or umxhq: "
        "docs/weights.md tells more, and a wrong name lists all; MODULE:NAME is one of "
        "your own, in a module that registers it",
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="checkpoint of PyTorch or TensorFlow, also in an archive; its code is "
        "never run. Where a model has several, their folder; without, a released model "
        "is downloaded",
    )
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch what the folder lacks of the files of a released model",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for model.safetensors and weights.json: the -n of separate",
    )
    parser.add_argument(
        "--sources", metavar="A,B,...", help="names of the classes, in their order"
    )
    parser.add_argument("--sample-rate", metavar="HZ", help="of the model")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what the file does not tell, as layers=8; docs/weights.md lists them",
    )
    parser.add_argument(
        "--licence",
        metavar="TEXT",
        help="of the weights, if you know it; what restricts use is told at every use",
    )


def import_weights(arguments: argparse.Namespace) -> int:
    """Import, check and write a model, and print a description of it."""
    options = _options(arguments)
    files = _files(arguments, options)
    from sepjax.models.build import model_of
    from sepjax.models.importers import importer_name, notice
    from sepjax.models.parameters import count_parameters
    from sepjax.weights import IMPORTERS, as_variables, run_importer, write_imported

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            config, params, facts = run_importer(arguments.family, files, options)
        except (LookupError, ValueError) as error:
            # A KeyError's text is the repr of its message.
            text = str(error.args[0] if error.args else error)
            known = importer_name(arguments.family) in IMPORTERS
            if known and str(files[0]) not in text:
                text = f"{', '.join(map(str, files))}: {text}"
            raise ValueError(text) from error
    for warning in caught:
        print(f"sepjax: warning: {warning.message}", file=sys.stderr)
    if arguments.licence:
        facts["licence"] = arguments.licence
        facts["licence_notice"] = notice(arguments.licence)
    write_imported(arguments.output, config, params, facts)
    model = model_of(config)
    count = count_parameters(as_variables(params)["params"], model.constants)
    print(
        f"{arguments.output}: {facts['family']}, {count:,} parameters, "
        f"{model.sample_rate} Hz, sources {', '.join(model.sources)}"
    )
    if facts["licence_notice"]:
        print(f"sepjax: {facts['licence_notice']}", file=sys.stderr)
    return 0


def _files(arguments: argparse.Namespace, options: dict[str, str]) -> list[Path]:
    """What to import; a download without a place goes beside the output."""
    if arguments.files and not arguments.download:
        return arguments.files
    from sepjax.models.importers import IMPORTERS, importer_name
    from sepjax.models.releases import RELEASES

    family = importer_name(arguments.family)
    if family in IMPORTERS and family not in RELEASES:
        names = ", ".join(sorted({*RELEASES} & {*IMPORTERS}))
        raise ValueError(
            f"{family}: give the checkpoint file; only {names} can be downloaded"
        )
    options["download"] = "true"
    output = arguments.output
    return arguments.files or [output.with_name(f"{output.name}.download")]


def _options(arguments: argparse.Namespace) -> dict[str, str]:
    options = {}
    for text in arguments.option:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--option {text}: write it as KEY=VALUE")
        options[name.strip().replace("-", "_")] = value.strip()
    fields = {"sources": arguments.sources, "sample_rate": arguments.sample_rate}
    return options | {name: text for name, text in fields.items() if text is not None}
