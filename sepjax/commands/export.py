"""``sepjax export RUN -o DIR``: a model as files for other runtimes, and as a page."""

import argparse
from pathlib import Path

# Heavy imports wait inside the functions: the options are wanted for every --help.

ALL = "stablehlo,onnx,step"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``sepjax export``."""
    add = parser.add_argument
    text = "run folder, imported weights, or a name of `sepjax models`"
    add("run", metavar="RUN", help=text)
    text = "folder of the files; an earlier export makes way"
    add("-o", "--output", type=Path, required=True, metavar="DIR", help=text)
    text = "some of stablehlo, onnx, step and web, the page; step is the stream's step "
    text += f"in both forms ({ALL}, as far as they can be had)"
    add("--formats", metavar="LIST", help=text)
    text = "add the page that separates in a browser, to the formats"
    add("--web", action="store_true", help=text)
    text = "of a chunk (the model's own)"
    add("--seconds", type=float, metavar="S", help=text)
    text = "ms of a stream's block, rounded to whole blocks of the model (%(default)s)"
    add("--block", type=float, default=20.0, metavar="MS", help=text)
    text = "onnxruntime-web for the page, as npm packs it or unpacked; else npm gets it"
    add("--runtime", type=Path, metavar="PATH", help=text)


def export(arguments: argparse.Namespace) -> int:
    """Write the files; print a line of each."""
    import jax

    from sepjax.commands.separate import say
    from sepjax.export.bundle import check_target, export_model

    formats = [*filter(None, (arguments.formats or ALL).split(","))]
    formats += ["web"] if arguments.web and "web" not in formats else []
    chosen = arguments.formats is not None or arguments.web
    check_target(arguments.output, formats, chosen)
    if not 1 <= arguments.block <= 60_000:
        raise ValueError(f"--block {arguments.block} must be 1 to 60000 ms")
    if arguments.runtime and not arguments.runtime.exists():
        raise FileNotFoundError(f"--runtime {arguments.runtime}: there is none")
    jax.config.update("jax_platforms", "cpu")  # where the files are measured
    from sepjax.inference.separator import load_ensemble

    how = {} if arguments.seconds is None else dict(chunk=arguments.seconds)
    member, *others = load_ensemble([arguments.run], say=say, **how).members
    if others:
        raise ValueError(f"{arguments.run} has several seeds: give the folder of one")
    manifest = export_model(
        member,
        arguments.output,
        formats=formats,
        step_seconds=arguments.block / 1000,
        runtime=arguments.runtime,
        say=say,
    )
    for one in manifest["artefacts"]:
        null = one["null_db"]
        null = f"{null:.1f} dB from JAX" if null is not None else "not measured"
        path = arguments.output / one["file"]
        print(f"{path}  {one['bytes'] / 1e6:.1f} MB  {null} in {one['runtime']}")
    return 0
