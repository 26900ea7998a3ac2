"""What --mode=check tells of every configuration, and whether training fits."""

import importlib
import os
import re
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest
import soundfile

from data_pipelines.pipeline import open_data
from sepjax.config import resolve
from sepjax.experiment.check import check_run, describe
from sepjax.train import checkpoint, loop
from sepjax.train.program import make_program
from tests.support.toy import ToyData, one_device, run, shared_program, toy_config
from tests.tiny_run import finish, start

FILES = {
    name: importlib.import_module(f"sepjax.configs.{name}")
    for name in ("base", "demo", "chapter4", "chapter6", "appendix_a", "networks")
}
CONFIGS = [(file, name) for file, module in FILES.items() for name in module.NAMES]


def one_of_each_kind():
    """Configurations, all but one of a kind slow.

    ``tests/configs/test_appendix_a.py`` traces every row of the appendix as a model,
    and ``tests/models/test_networks.py`` the largest network.
    """
    fields = ("encoding", "fb_type", "decoder", "who_is_pinv", "ideal_mask")
    kinds = set()
    for file, name in CONFIGS:
        config = FILES[file].get_config(name)
        model, train = config.model, config.train
        kind = (type(model), *(getattr(model, field, None) for field in fields))
        kind += (bool(train.pretrained_from), bool(train.freeze), bool(train.fit))
        seen = kind in kinds or (file, name) == ("networks", "mm_dense_lstm")
        if (file, name) != ("networks", "mm_dense_lstm"):
            kinds.add(kind)
        yield pytest.param(file, name, marks=pytest.mark.slow if seen else ())


@pytest.mark.parametrize(("file", "name"), one_of_each_kind())
def test_every_configuration_is_described(file, name):
    config = resolve(FILES[file].get_config(name))
    lines = dict(describe(config, make_program(config, one_device())))
    parts = [value for what, value in lines.items() if what.startswith("  ")]
    counts = [int(value.split()[0].replace(",", "")) for value in parts]
    assert sum(counts) == int(lines["parameters"].replace(",", "")) > 0
    assert any(c and "frozen" not in part for c, part in zip(counts, parts))


# One of each family, small; the last two are live, and start from runs that are absent.
KINDS = {
    "tasnet": ("base", "explore", dict(N=16, B=8, H=8, layers=1, stack=1)),
    "oracle": ("appendix_a", "irm_simple", dict(N=16)),
    "demucs": ("appendix_a", "demucs_8k", dict(channels=4, depth=2)),
    "meta_tasnet": ("chapter6", "demo_meta", dict(N=16, B=8, layers=1, stack=1)),
    "open_unmix": ("chapter6", "demo_tl", dict(hidden=8, layers=1)),
    "lstm": ("networks", "demo_blstm_tasnet", dict(N=16, lstm_hidden=8)),
    "wave_u_net": ("networks", "demo_wave_u_net", dict(levels=2, filters=4)),
    "wavenet": ("networks", "demo_wavenet", dict(layers=3, channels=8, hidden=8)),
    "mm_dense_lstm": ("networks", "demo_mm_dense_lstm", dict(first=4)),
}


QUICK = ("open_unmix", "oracle", "tasnet")  # to compile


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_every_family_takes_a_step(kind):
    file, name, small = KINDS[kind]
    config = FILES[file].get_config(name)
    config.train.batch_size, config.data.chunk_seconds = 2, 0.5
    for field, value in small.items():
        setattr(config.model, field, value)
    config = resolve(config)
    lines = dict(check_run(config, open_data(config), one_device()))
    # Squared errors of spectra have no unit, and are no less than nothing.
    sdr = re.search(r"SI-SDR -?[\d.]+ dB", lines["loss of the first batch"])
    assert (sdr is None) == (kind in ("open_unmix", "mm_dense_lstm"))
    assert float(lines["time of a step"].split()[0]) > 0
    pattern = r"step [1-9]\d* MiB \+ resident audio [1-9]\d* MiB of \d{4,} MiB"
    assert re.fullmatch(pattern, lines["memory per device"])


UNMIX = [
    (file, name)
    for file, name in CONFIGS
    if FILES[file].get_config(name).model.name == "open_unmix"
]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "name"), UNMIX)
def test_every_open_unmix_is_checked_by_the_command(file, name, tmp_path):
    rng = np.random.default_rng(0)
    config = FILES[file].get_config(name)
    for song in "abc":
        (tmp_path / song).mkdir()
        for stem in config.data.sources:
            wave = 0.1 * rng.normal(size=(3 * 44100, 2))
            soundfile.write(tmp_path / song / f"{stem}.wav", wave, 44100)
    small = {"model.hidden": 16, "model.layers": 1, "train.batch_size": 2}
    small["data.chunk_seconds"] = 1.0
    if config.data.dataset == "folder":
        small["data.root"] = tmp_path
    fields = (f"--config.{field}={value}" for field, value in small.items())
    line = f"--config=configs/{file}.py:{name}", "--mode=check", *fields
    (text,) = finish(start(*line))
    assert "time of a step" in text
    assert "loss of the first batch" in text


def bare(**fields):
    """A model of ideal masks, without separator: it compiles quickest."""
    return toy_config(model__ideal_mask=True, **fields)


def never(step):
    raise AssertionError("a batch was asked for")


def machine():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_step_and_audio_that_do_not_fit_together_are_refused(tmp_path):
    data = ToyData(bare(), before=lambda step: step and never(step))
    # All of a device's share of this machine: audio alone would fit.
    data.resident_bytes = machine() // jax.local_device_count()
    with pytest.raises(ValueError, match="does not fit") as caught:
        run(tmp_path, data.config, data=data)
    told = str(caught.value)
    assert re.search(r"step \d+ MiB \+ resident audio (\d+) MiB of \1 MiB", told)
    for remedy in ("feeder=streaming", "train.accumulate", "train.batch_size"):
        assert remedy in told


class OnlyLowered(NamedTuple):
    """A step that may be compiled, but not called, which would compile it again."""

    step: Callable

    def lower(self, *shapes):
        return self.step.lower(*shapes)


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_step_that_was_measured_is_not_compiled_again(tmp_path, seeds):
    mesh = one_device()
    for steps in (3, 5):  # and then from a checkpoint
        data = ToyData(bare(train__seeds=seeds, train__steps=steps))
        data.resident_bytes = 1
        program = shared_program(data.config, mesh)
        program = program._replace(train_step=OnlyLowered(program.train_step))
        assert loop.train(
            data.config, tmp_path, data, mesh, provenance={}, program=program
        )
    folder = tmp_path if seeds == 1 else tmp_path / "seed_2"
    assert checkpoint.describe(folder)["step"] == 5
