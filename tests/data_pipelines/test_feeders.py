"""All feeders must give the batches of the plain reader, bit for bit."""

import importlib
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from data_pipelines.feeding import host, resident, streaming
from data_pipelines.feeding.schedule import take, track_table, train_plans
from data_pipelines.manifest import DataError, Manifest
from sepjax.config import DataConfig

FEEDERS = ("resident", "streaming", "tf_data")


def plans(manifest: Manifest, chunk: int, rows: slice = slice(None)):
    table = track_table(manifest, manifest.split("train"))
    config = DataConfig(chunk_seconds=chunk / 8000)
    for start, stop in [(0, 9), (9, 14)]:
        plan = train_plans(table, config, 3, 8, start, stop)
        yield take(plan, (slice(None), rows))


def feed(kind: str, manifest: Manifest, chunk: int, rows: slice = slice(None)):
    todo = plans(manifest, chunk, rows)
    if kind in ("streaming", "tf_data"):
        module = importlib.import_module(f"data_pipelines.feeding.{kind}")
        return module.feed(manifest, todo, chunk)
    if kind == "host":
        return host.feed(manifest, todo, chunk)
    store = resident.build_store(manifest, manifest.split("train"), chunk)
    return resident.feed(store, todo, chunk)


# Shorter than, equal to and longer than a block, than the tracks and than the loops.
@pytest.mark.parametrize("chunk", [1, 400, 4096, 24001])
@pytest.mark.parametrize("kind", FEEDERS)
def test_feeders_agree_bit_for_bit(odd_manifest, kind, chunk):
    steps = 0
    for plain, batch in zip(
        feed("host", odd_manifest, chunk), feed(kind, odd_manifest, chunk), strict=True
    ):
        assert plain.keys() == batch.keys()
        for name, array in plain.items():
            assert batch[name].dtype == array.dtype
            np.testing.assert_array_equal(batch[name], array, strict=True)
        steps += 1
    assert steps == 14


@pytest.mark.parametrize("kind", FEEDERS)
def test_mono_files_give_one_channel(odd_manifest, kind):
    mono = Manifest(
        **vars(odd_manifest)
        | {
            "files": odd_manifest.files[:1],
            "tracks": odd_manifest.tracks[:1],
        }
    )
    plain, batch = next(feed("host", mono, 400)), next(feed(kind, mono, 400))
    assert batch["chunks"].shape == (8, 2, 400, 1)
    assert batch["gains"].shape == (8, 2, 2)  # the pan of the track
    np.testing.assert_array_equal(batch["chunks"], plain["chunks"])
    assert np.abs(plain["chunks"][:, 0]).max(axis=1).all()


@pytest.mark.parametrize("kind", FEEDERS)
@pytest.mark.parametrize("count", [2, 8])
def test_processes_concatenate_to_the_whole_batch(odd_manifest, kind, count):
    whole = [batch["chunks"] for batch in feed("host", odd_manifest, 500)]
    rows = [slice(i * 8 // count, (i + 1) * 8 // count) for i in range(count)]
    parts = [feed(kind, odd_manifest, 500, part) for part in rows]
    for batch, *pieces in zip(whole[:3], *parts):
        together = np.concatenate([piece["chunks"] for piece in pieces])
        np.testing.assert_array_equal(together, batch)


def test_the_plain_reader_cuts_what_the_plan_says(odd_manifest):
    # Each expected sample is written out from the definition of a plan.
    (plan, *_) = plans(odd_manifest, 700)
    plan = take(plan, 0)
    chunks = host.read_chunks(odd_manifest, plan, 700)["chunks"]
    for row, source in np.ndindex(plan.file.shape):
        file, start, stop, loop = (field[row, source] for field in plan[:4])
        for t in range(0, 700, 23):
            p = start + t
            if file < 0 or p >= stop:
                expected = [0, 0]
            else:
                samples = host.map_file(odd_manifest, file)
                expected = samples[p % len(samples) if loop else p]
            assert (chunks[row, source, t] == expected).all()


def test_sharded_batches_are_the_same(odd_manifest):
    devices = jax.devices()[: 4 if jax.device_count() >= 4 else 1]
    sharding = NamedSharding(Mesh(devices, ("data",)), PartitionSpec("data"))
    tracks = odd_manifest.split("train")
    store = resident.build_store(odd_manifest, tracks, 500, sharding)
    batches = resident.feed(store, plans(odd_manifest, 500), 500, sharding)
    for plain, batch in zip(feed("host", odd_manifest, 500), batches):
        assert batch["chunks"].sharding.is_equivalent_to(sharding, 4)
        np.testing.assert_array_equal(batch["chunks"], plain["chunks"])


def test_the_estimate_is_the_size_of_the_store(odd_manifest):
    tracks = odd_manifest.split("train")
    store = resident.build_store(odd_manifest, tracks, 500)
    assert resident.store_bytes(odd_manifest, tracks, 500) == store.blocks.nbytes


def test_tf_data_without_tensorflow_says_what_to_install(odd_manifest, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(DataError, match=r"pip install 'sepjax\[data\]'.*streaming"):
        next(feed("tf_data", odd_manifest, 100))


def test_a_file_that_shrank_is_named(odd_manifest):
    path = odd_manifest.files[1].path
    with open(path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match=f"{path}: shorter than when it was indexed"):
        next(feed("streaming", odd_manifest, 100))


def test_a_file_that_shrinks_while_it_is_read_is_named(odd_manifest):
    batches = feed("streaming", odd_manifest, 100)
    next(batches)
    for file in odd_manifest.files:
        Path(file.path).write_bytes(b"")
    with pytest.raises(DataError, match="wav: shorter than when it was indexed"):
        list(batches)


def test_closed_batches_leave_no_thread_and_are_not_read_on(odd_manifest, monkeypatch):
    begun = []
    monkeypatch.setattr(
        streaming,
        "read_chunks",
        lambda *args: begun.append(1) or host.read_chunks(*args),
    )
    batches = feed("streaming", odd_manifest, 4096)
    next(batches), next(batches)
    batches.close()
    assert len(begun) <= 2 + streaming.PREFETCH
    assert not [t for t in threading.enumerate() if t.name.startswith("streaming")]


def test_a_batch_is_not_written_to_again_and_needs_no_copy(odd_manifest):
    # On a CPU, jax may keep the array itself if it is aligned to 64 bytes.
    batches = feed("streaming", odd_manifest, 400)
    arrays = [batch["chunks"] for batch in batches]
    assert {array.ctypes.data % 64 for array in arrays} == {0}
    assert not any(np.shares_memory(a, b) for a, b in itertools.pairwise(arrays))


EXIT = """
import importlib, sys
from data_pipelines.feeding import schedule
from data_pipelines.manifest import Manifest
from sepjax.config import DataConfig
manifest = Manifest.from_json(sys.stdin.read())
table = schedule.track_table(manifest, manifest.split("train"))
plan = schedule.train_plans(table, DataConfig(chunk_seconds=0.1), 0, 4, 0, 900)
feeder = importlib.import_module("data_pipelines.feeding." + sys.argv[1])
batches = feeder.feed(manifest, iter([plan]), 800)
print(next(batches)["chunks"].shape)
"""


@pytest.mark.parametrize("kind", ["streaming", "tf_data"])
def test_a_process_exits_with_its_batches_unread(odd_manifest, kind):
    result = subprocess.run(
        [sys.executable, "-c", EXIT, kind],
        input=odd_manifest.to_json(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (0, "(4, 2, 800, 2)\n"), result.stderr
