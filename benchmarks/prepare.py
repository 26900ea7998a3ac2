"""Prepare many short songs: real time, memory, and a kill in the middle.

    python benchmarks/prepare.py --songs 1500 --jobs 2

Every song has eight tracks of 10 s at 44.1 kHz, mono and stereo, 16-bit PCM and FLAC,
of six classes. They are prepared once undisturbed, while the memory of all processes is
watched, and once with SIGKILL to the whole group when a third and two thirds are done;
then all bytes of both are compared. The floor beside it: reading and writing the same
bytes without any other work.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from data_pipelines.collections.collection import (
    Collection,
    Part,
    Recording,
    SplitRules,
)
from data_pipelines.collections.file import write_collection

CLASSES = ("vocals", "drums", "bass", "electric_guitar", "wind", "other")
TRACKS = (*CLASSES, "drums", "other")
SECONDS, RATE, VARIANTS = 10, 44100, 12


def make_music(folder: Path, songs: int) -> Path:
    """A few files of noise, of which every song has its own copy by hard links."""
    folder.mkdir()
    for variant in range(VARIANTS):
        generator = np.random.default_rng(variant)
        shape = SECONDS * RATE - 97 * variant, 1 + variant % 2
        samples = generator.integers(-9000, 9000, shape).astype(np.int16)
        suffix = "flac" if variant % 4 == 3 else "wav"
        soundfile.write(folder / f"{variant}.{suffix}", samples, RATE)
    files = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    recordings = []
    for index in range(songs):
        parts = []
        for number, name in enumerate(TRACKS):
            file = files[(3 * index + 5 * number) % VARIANTS]
            own = folder / f"{index}-{number}{file.suffix}"
            os.link(file, own)
            parts.append(Part(own.name, name, gain_db=-(index % 7)))
        recordings.append(Recording(f"song {index:04d}", tuple(parts)))
    counts = {"train": 88, "valid": 16, "test": 52}
    rules = SplitRules(counts=counts)
    collection = Collection(CLASSES, tuple(recordings), root=str(folder), splits=rules)
    return write_collection(collection, folder / "collection.jsonl")


def start(collection: Path, output: Path, jobs: int) -> subprocess.Popen:
    """The command in a process group of its own."""
    command = [sys.executable, "-m", "sepjax.commands.cli", "prepare", str(collection)]
    command += ["-o", str(output), "-j", str(jobs)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )


def done(output: Path) -> int:
    """Recordings that are finished."""
    return len(list((output / ".prepare" / "records").glob("*.json")))


def memory(group: int) -> float:
    """Resident MiB of all processes of a group."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == group:
                total += int((folder / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def watch(process: subprocess.Popen, output: Path, songs: int) -> dict[str, float]:
    """Memory when a tenth is done, and the most of it before and after the half."""
    found = {"first half": 0.0, "second half": 0.0}
    while process.poll() is None:
        half = "first half" if done(output) < songs / 2 else "second half"
        found[half] = max(found[half], memory(process.pid))
        time.sleep(0.2)
    return found


def kill_at(collection: Path, output: Path, jobs: int, count: int) -> int:
    """Begin, and kill everything when so many are done; how many are."""
    process = start(collection, output, jobs)
    while done(output) < count and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return done(output)


def digest(output: Path) -> str:
    """Of every visible file's name and bytes."""
    total = hashlib.sha256()
    for path in sorted(output.rglob("*")):
        if path.is_file() and ".prepare" not in path.parts:
            total.update(str(path.relative_to(output)).encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def floor(folder: Path, output: Path, scratch: Path) -> float:
    """Seconds to read all sources and to write and hash as many bytes as the songs."""
    begin = time.perf_counter()
    for path in folder.glob("*-*"):
        path.read_bytes()
    for path in output.rglob("*.wav"):
        content = path.read_bytes()
        hashlib.sha256(content).hexdigest()
        scratch.write_bytes(content)
    return time.perf_counter() - begin


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=1500)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        collection = make_music(base / "raw", options.songs)
        begin = time.perf_counter()
        process = start(collection, base / "whole", options.jobs)
        most = watch(process, base / "whole", options.songs)
        seconds = time.perf_counter() - begin
        assert process.returncode == 0
        audio = options.songs * SECONDS
        print(f"{options.songs} songs of {len(TRACKS)} tracks in {seconds:.1f} s")
        print(f"{audio / seconds:.0f} x real time, {options.jobs} processes")
        for half, mebibytes in most.items():
            print(f"peak memory of all processes, {half}: {mebibytes:.0f} MiB")
        bound = floor(base / "raw", base / "whole", base / "scratch")
        print(
            f"reading, hashing and writing the same bytes, one process: {bound:.1f} s"
        )
        expected = digest(base / "whole")
        shutil.rmtree(base / "whole")
        for third in (1, 2):
            at = third * options.songs // 3
            count = kill_at(collection, base / "killed", options.jobs, at)
            print(f"killed when {count} of {options.songs} recordings were done")
        start(collection, base / "killed", options.jobs).wait()
        same = digest(base / "killed") == expected
        print(f"same bytes as without kills: {same}")
        sys.exit(not same)


if __name__ == "__main__":
    main()
