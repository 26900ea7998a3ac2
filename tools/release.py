"""Build a release and try it as people will: what is in it, and what it does alone.

    python tools/release.py                       # on the Pythons that are found
    python tools/release.py python3.11 python3.13 --output dist
    python tools/release.py --steps 0 --constraints constraints.txt

The last commit is built: a source archive, and the wheel from it. The wheel is
compared with one that is built from the tree, and holds every file of the packages,
each once. Then it is installed in an empty environment for every Python, and commands
run in an empty folder, with an empty home. ``--steps`` are those of the demo, 0 its
own. What a person does after that is printed.

Needs git, and a package index to install from.
"""

import argparse
import hashlib
import math
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import wave
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("python3.11", "python3.12", "python3.13")
JUNK = ("__pycache__", ".pyc", "/runs/", "/tests/", ".DS_Store", ".part", "/dist/")
BY_HAND = """
By hand, for version {version}:
  1. CHANGELOG.md: a date in place of "unreleased"; commit; run this once more.
  2. pyproject.toml: [project.urls], once the address of the repository is known.
  3. make test on a machine with an accelerator, and pytest -m gpu there.
  4. git tag -s v{version} && git push origin v{version}
  5. twine upload {files}
  6. docker build -t sepjax:{version} .    (docs/install.md has its variants)
  7. sepjax/__init__.py: the next __version__; CHANGELOG.md: a heading for it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "pythons", nargs="*", default=list(filter(shutil.which, PYTHONS))
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--steps", type=int, default=20, help="of the demo; 0: all")
    parser.add_argument("--constraints", type=Path, help="versions to install")
    arguments = parser.parse_args()
    missing = [name for name in arguments.pythons if not shutil.which(name)]
    if missing or not arguments.pythons:
        parser.error(f"no such Python: {', '.join(missing or PYTHONS)}")
    if git("status", "--porcelain"):
        print("note: changes that are not committed are left out", flush=True)
    os.environ.pop("PYTHONPATH", None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # setuptools warns of it
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        tree = checkout(scratch / "sepjax")
        files = build(tree, scratch, arguments.output)
        wheel = next(file for file in files if file.suffix == ".whl")
        packages = [wheel]
        if arguments.constraints:
            packages += ["-c", arguments.constraints.resolve()]
        for python in arguments.pythons:
            try_wheel(python, packages, scratch, arguments.steps)
        try_beside_clone(arguments.pythons[0], tree)
    version = wheel.name.split("-")[1]
    print(BY_HAND.format(version=version, files=" ".join(map(str, files))))


def git(*arguments: str) -> str:
    """The output of git here."""
    line = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(
        line, check=True, capture_output=True, text=True
    ).stdout.strip()


def checkout(folder: Path) -> Path:
    """Write the files of the last commit to a folder."""
    archive = folder.with_suffix(".tar")
    git("archive", "-o", str(archive), "HEAD")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def call(line: Iterable[object], **options: object) -> str:
    """The output of a command; ends this program, with that output, if it fails."""
    words = [str(word) for word in line]
    kind = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    done = subprocess.run(words, check=False, **kind, **options)
    if done.returncode:
        sys.exit(f"{done.stdout}\nerror: {' '.join(words)}: status {done.returncode}")
    return done.stdout


def environment(python: str, folder: Path, packages: Iterable[object]) -> Path:
    """Make a virtual environment with packages; returns its folder of programs."""
    call([python, "-m", "venv", folder])
    call([folder / "bin" / "python", "-m", "pip", "install", "-q", *packages])
    return folder / "bin"


def build(tree: Path, scratch: Path, output: Path) -> list[Path]:
    """Build both archives, check what they hold and copy them to ``output``."""
    programs = environment(sys.executable, scratch / "builder", ["build", "twine"])
    variables = os.environ | {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct")}
    line = [programs / "python", "-m", "build", tree]
    text = call([*line, "-o", scratch / "dist"], env=variables)
    text += call([*line, "--wheel", "-o", scratch / "direct"], env=variables)
    problems = [line for line in text.splitlines() if "warning" in line.lower()]
    files = sorted((scratch / "dist").iterdir())
    (wheel,) = (scratch / "dist").glob("*.whl")
    (direct,) = (scratch / "direct").glob("*.whl")
    if digests(wheel) != digests(direct):
        problems.append("the wheel of the source archive is not that of the tree")
    problems += [problem for file in files for problem in junk(file)]
    problems += missing_files(wheel)
    if problems:
        sys.exit("error: " + "\nerror: ".join(problems))
    call([programs / "twine", "check", "--strict", *files])
    output.mkdir(parents=True, exist_ok=True)
    for file in files:
        print(f"{file.name}  {file.stat().st_size / 1e6:.1f} MB", flush=True)
    return [Path(shutil.copy(file, output)) for file in files]


def digests(archive: Path) -> dict[str, str]:
    """The SHA-256 of every file in a wheel or a source archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            contents = {name: file.read(name) for name in file.namelist()}
    else:
        with tarfile.open(archive) as file:
            members = filter(tarfile.TarInfo.isfile, file.getmembers())
            contents = {one.name: file.extractfile(one).read() for one in members}
    return {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}


def junk(archive: Path) -> list[str]:
    """What an archive should not hold, or holds twice."""
    sums = digests(archive)
    problems = [
        f"{name} in {archive.name}" for name in sums if any(map(name.count, JUNK))
    ]
    takes = [value for name, value in sums.items() if name.endswith(".flac")]
    if len(takes) != len(set(takes)):
        problems.append(f"a take is twice in {archive.name}")
    return problems


def missing_files(wheel: Path) -> list[str]:
    """Files of the packages that a wheel lacks."""
    files = git("ls-files", "sepjax", "data_pipelines", "configs").splitlines()
    inside = {
        f"sepjax/{name}" if name.startswith("configs/") else name for name in files
    }
    lacks = sorted(inside - {"sepjax/configs"} - set(digests(wheel)))
    return [f"{name} is not in {wheel.name}" for name in lacks]


def try_wheel(python: str, packages: list[object], scratch: Path, steps: int) -> None:
    """Install a wheel in an empty environment; run the commands; print their times."""
    folder = scratch / python.strip("/").replace("/", "_")
    programs = environment(python, folder, packages)
    size = sum(f.stat().st_size for f in folder.rglob("*") if not f.is_symlink())
    print(f"\n{python}: {size / 1e6:.0f} MB", flush=True)
    place = scratch / f"empty-{folder.name}"
    (place / "home").mkdir(parents=True)
    (place / "work").mkdir()
    write_song(place / "song.wav")
    few = [f"--config.train.{name}={steps}" for name in ("steps", "eval_every")]
    few = few if steps else []
    lines = [
        ["--help"],
        ["train", "--help"],
        ["train", "--mode=list"],
        ["separate", "../song.wav"],
        ["demo", *few],
        ["train", "--config=demo:causal", "--workdir=runs/x", *few],
        ["evaluate", "runs/demo"],
        ["separate", "../song.wav", "-n", "runs/demo", "-o", "stems"],
        ["reproduce", "figure-5.3"],
        ["reproduce", "figure-5.10"],
    ]
    variables = {"HOME": str(place / "home"), "PATH": f"{programs}:/usr/bin:/bin"}
    for line in lines:
        began = time.monotonic()
        call([programs / "sepjax", *line], cwd=place / "work", env=variables)
        print(f"{time.monotonic() - began:8.1f} s  sepjax {' '.join(line)}", flush=True)
    shutil.rmtree(folder)


def write_song(path: Path, seconds: int = 10, rate: int = 44100) -> None:
    """Write a chord as a stereo WAV file."""
    tones = [
        sum(math.sin(f * t / rate) for f in (1382, 2073, 2764)) for t in range(rate)
    ]
    samples = [round(8000 * tone) for tone in tones for _ in range(2)]
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples) * seconds)


def try_beside_clone(python: str, tree: Path) -> None:
    """Install a clone called sepjax as editable; import it from the folder around."""
    bin_folder = environment(python, tree.parent / "clone", ["--no-deps", "-e", tree])
    code = "import sepjax, sepjax.configs; print(sepjax.__version__)"
    call([bin_folder / "python", "-c", code], cwd=tree.parent)
    print("\nbeside a clone called sepjax, the package is found", flush=True)


if __name__ == "__main__":
    main()
