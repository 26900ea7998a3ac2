"""Separation block by block: the stems of the whole, and memory that does not grow."""

import os
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.audio.resample import resample_blocks
from sepjax.inference.chunks import Chunking, chunks_of
from sepjax.inference.level_and_scale import Level
from sepjax.inference.separate import separate
from sepjax.inference.stream import SeparationStream
from sepjax.models.contract import Separation, SeparationModel, Tiling

RATE = 8000


class Filters(SeparationModel):
    """Differs from chunk to chunk: a mean over the chunk, as a global norm has."""

    sources: tuple[str, ...] = ("one", "two")
    sample_rate: int = RATE
    audio_channels: int = 1

    def __call__(self, mixture):
        blurred = (mixture + jnp.roll(mixture, 1, axis=-1)) / 2
        level = jnp.sqrt(jnp.mean(mixture**2, axis=-1, keepdims=True))
        estimates = jnp.stack([blurred, jnp.sign(mixture) * level], axis=1)
        return Separation(estimates)


class Short(Filters):
    def __call__(self, mixture):
        return Separation(super().__call__(mixture).estimates[..., :-9])


class Tiles(Filters):
    tiling = Tiling(2000, 2000, 0)


class Batches(Filters):
    cpu_batch_seconds = 0.75


def noise(time, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    wave = rng.normal(0, 0.1, (time, channels)) * np.linspace(0.1, 1, time)[:, None]
    return wave.astype(np.float32)


def streamed(model, wave, size, sample_rate=RATE, **options):
    def blocks():
        yield from (wave[at : at + size] for at in range(0, len(wave), size))

    chunking = Chunking(**options)
    stream = SeparationStream(
        model, {}, blocks, sample_rate=sample_rate, chunking=chunking
    )
    found = np.concatenate(list(stream))
    return [*np.moveaxis(stream.stems(found), 1, 0)]


def assert_same(model, wave, size, **options):
    options = {"sample_rate": RATE, "chunk": 0.25} | options
    stems = separate(model, {}, wave, **options)
    for stem, found in zip(stems.values(), streamed(model, wave, size, **options)):
        assert found.shape == stem.shape
        # Sums over the track in another order: level and fit differ by roundings.
        np.testing.assert_allclose(found, stem, rtol=1e-5, atol=1e-6)


def test_estimates_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"estimates are \(1, 2, 1991\) of a mixture"):
        separate(Short(), {}, noise(9999), sample_rate=RATE, chunk=0.25)


@pytest.mark.parametrize("tiles", [1, 2, 7, 45])
def test_several_tiles_are_the_steps_of_one_program(tiles):
    wave = noise(2000 * tiles, 1)[:, 0]
    options = dict(sample_rate=RATE, normalize=False, rescale=False)
    stems = separate(Tiles(), {}, wave, **options)
    parts = [
        separate(Filters(), {}, part, chunk=0.25, overlap=0.0, **options)
        for part in np.split(wave, tiles)
    ]
    for name in stems:
        whole = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(stems[name], whole, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("time", [1, 1999, 2000, 2001, 3500, 3501, 9999])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.7])
def test_blocks_give_the_stems_of_the_whole(time, overlap):
    for size in (777, 5000):
        assert_same(Filters(), noise(time), size, overlap=overlap)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_levels_and_channels(channels, normalize, rescale):
    options = dict(normalize=normalize, rescale=rescale)
    wave = noise(7001, channels)
    wave[1000:5500, 0] = 0  # chunks of silence in one channel
    assert_same(Filters(), wave, 1234, **options)
    assert_same(Filters(audio_channels=2), wave, 1234, **options)


@pytest.mark.parametrize("rate", [7350, 11025, 44100])
@pytest.mark.parametrize("time", [1, 5, 30011])
def test_other_rates(rate, time):
    assert_same(Filters(), noise(time), 4001, sample_rate=rate)


def test_the_size_of_a_batch_changes_nothing():
    wave = noise(16001)
    wave[4000:9000] = 0
    one, three = (
        separate(m, {}, wave, sample_rate=RATE, chunk=0.25)
        for m in (Filters(), Batches())
    )
    for name in one:
        np.testing.assert_allclose(three[name], one[name], atol=1e-6)


def test_chunks_begin_at_every_hop_and_cover_the_track():
    wave = np.arange(50.0).reshape(50, 1, 1)
    for time in range(1, 50):
        for hop in (1, 5, 8):
            blocks = [wave[:time][at : at + 7] for at in range(0, time, 7)]
            chunks = list(chunks_of(blocks, 8, hop))
            assert len(chunks) == max(-(-(time - 8) // hop), 0) + 1
            assert chunks[-1].start + chunks[-1].size == time
            for chunk in chunks:
                expected = np.pad(wave[:time], ((0, 8), (0, 0), (0, 0)))
                expected = expected[chunk.start : chunk.start + 8]
                np.testing.assert_array_equal(chunk.wave, expected)


def test_a_level_is_that_of_the_whole():
    wave = noise(5000, 4) + np.float32([3, 0, 0, 0])
    level = Level()
    for at in range(0, 5000, 999):
        level.add(wave[at : at + 999], 2)
    expected = [wave[:, :2].std(dtype=np.float64), wave[:, 2:].std(dtype=np.float64)]
    np.testing.assert_allclose(level.scale(2)[::2], expected, rtol=1e-6)


def test_resampled_block_by_block_is_resampled_at_once():
    import soxr

    wave = noise(40001)
    for target in (8000, 48000):
        once = soxr.resample(wave, 44100, target, quality="VHQ")
        blocks = [wave[at : at + 6007] for at in range(0, len(wave), 6007)]
        found = np.concatenate(list(resample_blocks(blocks, 44100, target)))
        assert found.shape == once.shape
        # The same filter; sums may be taken in another order.
        np.testing.assert_allclose(found, once, atol=1e-6)


def test_what_is_no_audio_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        streamed(Filters(), np.zeros((0, 2)), 10)
    with pytest.raises(ValueError, match=r"not finite"):
        streamed(Filters(), np.full((5, 2), np.nan), 10)


PEAK = """
    import sys
    from pathlib import Path
    import numpy as np
    from sepjax.models import Separation, SeparationModel
    from sepjax.inference.chunks import Chunking
    from sepjax.inference.ensemble import EnsembleStream, Member, make_ensemble
    from sepjax.inference.places import Place
    from sepjax.inference.stems import StemFiles

    class Halves(SeparationModel):
        sources: tuple = ("one", "two")
        sample_rate: int = 8000

        def __call__(self, mixture):
            return Separation(mixture[:, None].repeat(2, 1) / 2)

    def blocks():
        rng = np.random.default_rng(0)
        for _ in range(60 * int(sys.argv[1])):
            yield rng.uniform(-0.1, 0.1, (44100, 2)).astype(np.float32)

    members = [Member(Halves(), {}), Member(Halves(), {}, Chunking(4.0, shifts=2))]
    ensemble = make_ensemble(members, total="exact", two_stems="one")
    stream = EnsembleStream(ensemble, blocks, sample_rate=44100)
    with StemFiles(Place.of(Path(sys.argv[2])), ensemble.names, 44100, raw=5) as files:
        for block in stream:
            files.append(block)
        files.write(stream.stems)
    assert stream.spread()["seconds"].keys() == {"one", "no_one"}
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for minutes in (2, 20):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PEAK), str(minutes), tmp_path / "o"],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(float(done.stdout))
    # Twenty minutes of one stem are 423 MB in float32; allocators keep a little.
    assert peaks[1] - peaks[0] < 50, peaks
