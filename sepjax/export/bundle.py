"""A folder of a model's files for other runtimes, each measured against JAX."""

import importlib
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sepjax import __version__
from sepjax.export.graph import plain
from sepjax.export.page import runtime_files, write_page
from sepjax.export.programs import (
    Program,
    chunk_program,
    estimates_of,
    example_calls,
    null_db,
    run_calls,
    step_program,
)
from sepjax.export.stablehlo import PLATFORMS, run_alone, to_stablehlo
from sepjax.inference.ensemble import Member
from sepjax.inference.steps import streamable
from sepjax.storage import (
    atomic_folder,
    read_json,
    sha256,
    write_atomically,
    write_json,
)
from sepjax.train.damage import params_sha256

FORMATS = ("stablehlo", "onnx", "step", "web")
MANIFEST = "manifest.json"
PAGE_STEP = 0.5  # seconds of a page's step: fewer calls than a stream's
NEEDS = "is not installed: pip install 'sepjax[onnx]'"


def check_target(folder: Path, formats: Collection[str], chosen: bool) -> None:
    """Check what would be lost or lacking, before anything is loaded.

    Raises:
        ValueError: a format is not known, or needs a package that is not there.
        FileExistsError: the folder holds something else than an earlier export.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ValueError(
            f"--formats {','.join(formats)}: give some of {','.join(FORMATS)}"
        )
    if not {"stablehlo", "onnx", "web"} & {*formats}:
        raise ValueError("--formats step: in which form? stablehlo,step or onnx,step")
    if chosen and {"onnx", "web"} & {*formats} and not version_of("onnx"):
        raise ValueError(f"onnx {NEEDS}")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: give another folder with -o")
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    if not os.access(folder.absolute().parent, os.W_OK):
        raise PermissionError(f"{folder} cannot be written: give another one with -o")
    earlier = folder / MANIFEST
    mine = earlier.is_file() and "artefacts" in read_json(earlier, dict)
    if folder.exists() and any(folder.iterdir()) and not mine:
        raise FileExistsError(
            f"{folder} holds something else than an export: give another folder with -o"
        )


def export_model(
    member: Member,
    folder: Path,
    *,
    formats: Collection[str],
    step_seconds: float = 0.02,
    runtime: Path | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> dict[str, Any]:
    """Write the files of a model and ``manifest.json``; return what stands there.

    Args:
        member: the model, its variables, and how it separates.
        folder: which appears complete, and takes the place of an earlier export.
        formats: some of :data:`FORMATS`.
        step_seconds: of a stream's block, rounded to the model's.
        runtime: onnxruntime-web for the page, a package or folder; fetched by default.
        say: told what is being done, and what is left out.

    Raises:
        ValueError: nothing of what was asked for can be made.
    """
    page = runtime_files(runtime, say) if "web" in formats else {}
    about, artefacts, left_out = facts_of(member), {}, []

    def leave_out(name: str, why: str) -> None:
        say(f"without {name}: {why}")
        left_out.append(dict(file=name, why=why))

    kinds = [kind for kind in ("stablehlo", "onnx") if kind in formats]
    jobs = [
        (program, [f"{program.name}.{kind}" for kind in kinds])
        for program in programs_of(member, formats, step_seconds, leave_out)
    ]
    jobs += [(_page_program(member), ["web/model.onnx"])] if page else []
    with atomic_folder(folder) as part:
        for program, names in jobs:
            calls = example_calls(program)
            truth = estimates_of(program, calls)
            for name in names:
                say(f"making {name}")
                write = _write_onnx if name.endswith("onnx") else _write_stablehlo
                try:
                    made = write(part / name, program, calls, truth)
                except (ValueError, ImportError) as error:
                    leave_out(name, str(error))
                else:
                    artefacts[name] = dict(file=name) | made
        if not artefacts:
            raise ValueError("; ".join(f"{e['file']}: {e['why']}" for e in left_out))
        if web := artefacts.get("web/model.onnx"):
            write_page(part / "web", about | web, page)
        manifest = dict(sepjax=__version__, **about, artefacts=[*artefacts.values()])
        manifest["left_out"] = left_out
        write_json(part / MANIFEST, manifest)
    return manifest


def facts_of(member: Member) -> dict[str, Any]:
    """Return what is to be known of a model by those who run its files."""
    model, chunking = member.model, member.chunking
    return dict(
        model=Path(member.name).name,
        licence=member.licence or "not stated",
        parameters_sha256=params_sha256(member.variables),
        sources=list(model.sources),
        sample_rate=model.sample_rate,
        audio_channels=model.audio_channels,
        normalize=chunking.normalize,
        rescale=chunking.rescale,
    )


def programs_of(
    member: Member,
    formats: Collection[str],
    seconds: float,
    leave_out: Callable[[str, str], object],
) -> list[Program]:
    """Return what is exported of a model in each form; tell what it cannot do."""
    model, variables = member.model, member.variables
    programs = []
    if {"stablehlo", "onnx"} & {*formats}:
        programs.append(chunk_program(model, variables, member.chunking))
    if "step" in formats:
        if (streamed := streamable(model)) is None:
            leave_out("step", model.offline)
        else:
            programs.append(step_program(streamed, variables, seconds))
    return programs


def _page_program(member: Member) -> Program:
    """A stream's step where there is one: no chunk has a border then."""
    if (streamed := streamable(member.model)) is not None:
        return step_program(streamed, member.variables, PAGE_STEP)
    return chunk_program(member.model, member.variables, member.chunking)


def _write_stablehlo(
    path: Path, program: Program, calls: list, truth: np.ndarray
) -> dict[str, Any]:
    made, sizes = to_stablehlo(program)
    write_atomically(path, made)
    about: dict[str, Any] = dict(runtime=f"jax {jax.__version__}", platforms=PLATFORMS)
    try:
        about["null_db"] = null_db(run_alone(path, program, calls), truth)
    except RuntimeError as error:
        about |= dict(null_db=None, not_measured=str(error))
    return _of_file(path) | about | _interface(program, sizes)


def _write_onnx(
    path: Path, program: Program, calls: list, truth: np.ndarray
) -> dict[str, Any]:
    if not version_of("onnx"):
        raise ImportError(f"onnx {NEEDS}")
    from sepjax.export.translate import to_onnx

    made = to_onnx(program.function, program.inputs, program.outputs)
    version = version_of("onnxruntime")
    about: dict[str, Any] = dict(runtime=f"onnxruntime {version}".strip())
    if version:
        try:
            about["null_db"] = null_db(_run_onnx(made, program, calls), truth)
        except Exception as error:  # the runtime has kinds of its own
            line = str(error).strip().splitlines()[0][:300]
            raise ValueError(f"ONNX Runtime refuses it: {line}") from error
    else:
        about |= dict(null_db=None, not_measured=f"onnxruntime {NEEDS}")
    write_atomically(path, made)
    return _of_file(path) | about | _interface(program, None)


def _run_onnx(made: bytes, program: Program, calls: list) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(made)
    heard = {each.name for each in session.get_inputs()}

    def call(*given: np.ndarray) -> list[np.ndarray]:
        arrays = zip(program.inputs, map(np.asarray, given))
        feed = {n: x.astype(plain(x.dtype)) for n, x in arrays if n in heard}
        return session.run(list(program.outputs), feed)

    return run_calls(program, call, calls)


def _of_file(path: Path) -> dict[str, Any]:
    return dict(bytes=path.stat().st_size, sha256=sha256(path))


def _interface(program: Program, sizes: list[list[Any]] | None) -> dict[str, Any]:
    """Inputs with what a first call is given, outputs in their order."""
    shown = np.dtype if sizes else plain
    inputs = []
    for place, (name, array) in enumerate(program.inputs.items()):
        shape = sizes[place] if sizes else list(array.shape)
        inputs.append(dict(name=name, type=str(shown(array.dtype)), shape=shape))
        if name in program.state:
            values = array.astype(np.float64).ravel().tolist()
            inputs[-1]["first"] = values if len({*values}) > 1 else [*values, 0.0][0]
    made = jax.eval_shape(program.function, *program.inputs.values())
    outputs = [
        dict(name=name, type=str(shown(each.dtype)), shape=each.shape)
        for name, each in zip(program.outputs, made)
    ]
    facts = dict(program=program.name, inputs=inputs, outputs=outputs)
    return facts | program.facts


def version_of(package: str) -> str:
    """Return the version of a package, empty where it is not installed."""
    try:
        return importlib.import_module(package).__version__
    except ImportError:
        return ""
