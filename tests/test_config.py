"""Configuration: every problem in one message, and a faithful round trip."""

import dataclasses
import json
import math

import pytest

from sepjax.config import (
    MODEL_CONFIGS,
    Config,
    differences,
    from_dict,
    resolve,
    to_dict,
)
from sepjax.config.rules import memory_problems, validate
from sepjax.models.tasnet.config import TasNetConfig


def thesis():
    return Config(model=TasNetConfig())


def test_defaults_are_valid():
    validate(thesis())
    assert resolve(thesis()) == thesis()


def test_every_problem_is_listed_at_once():
    config = thesis()
    config.data.feeder = "resdient"
    config.data.gain_low = 2.0
    config.model.N = 0
    config.model.kernel = 4
    config.model.mask_act = "tanh"
    config.train.batch_size = -1
    config.eval.overlap = 1.0
    with pytest.raises(ValueError, match="invalid configuration") as caught:
        validate(config)
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == 7
    message = "\n".join(lines)
    assert "data.feeder='resdient': did you mean 'resident'?" in message
    assert "model.mask_act='tanh': Known: linear, relu, sigmoid, softmax" in message
    for part in ("gain_low", "model.N=0 must be positive", "kernel=4", "batch_size=-1"):
        assert part in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(L=10, W=20), "samples are skipped"),
        (dict(fb_ratio=1.5), "fb_ratio"),
        (dict(encoding="filterbanks", fb_type="conv"), "param_sinc or pmpgtf"),
        (dict(encoding="simple", who_is_pinv="dec"), "needs a filterbank"),
        (dict(who_is_pinv="dec", decoder="conv"), "exclude each other"),
        (dict(who_is_pinv="enc", encoding="hybrid"), "encoding='filterbanks'"),
        (dict(encoding="simple", decoder="filterbank"), "needs encoding"),
        (dict(encoding="simple", decoder="hybrid"), "needs encoding hybrid"),
        (dict(fb_type="stft", decoder="hybrid"), "no filters to synthesize"),
        (dict(encoding="deep", fb_type="stft"), "encoding=.deep. needs"),
        (dict(encoding="deep", deep_strides=(4,) * 3), "one stride for each"),
        (dict(large_tcn=True, large_tcn_width="total", H=161), "multiple of the 4"),
        (
            dict(large_tcn=True, large_tcn_width="total", H=80, norm="group"),
            "multiple of 8",
        ),
        (dict(large_tcn=True, ideal_mask=True), "needs a TCN"),
        (dict(encoding="simple", fb_post_conv=True), "fb_post_conv is for"),
        (dict(deep_strides=(4,)), "are for encoding='deep'"),
        (dict(encoding="simple", filters=2), "counts the layers"),
        (dict(who_is_pinv="dec", L=100), "cannot invert"),
        (dict(N=3), "4 or more"),
        (dict(fb_type="param_sinc", init_type="multiphase"), "gammatones"),
        (dict(phase="even"), "model.phase is for sinc"),
        (dict(encoding="filterbanks", gain="band"), "model.gain is for sinc"),
        (dict(encoding="simple", fb_type="param_sinc", window="none"), "model.window"),
        (dict(fb_type="stft", force_odd=True), "model.force_odd is for sinc"),
        (dict(encoding="deep", gain="band"), "model.gain is for sinc"),
        (dict(audio_channels=2), "needs encoding='simple': hybrid encoders hear one"),
        (dict(audio_channels=3, encoding="simple"), "audio_channels=3"),
        (dict(causal=True), "model.causal needs"),
        (dict(causal=True, norm="cumulative"), "input_norm"),
    ],
)
def test_parts_that_do_not_fit_together(fields, message):
    config = Config(model=TasNetConfig(**fields))
    with pytest.raises(ValueError, match=message):
        validate(config)


@pytest.mark.parametrize(
    "fields",
    [
        dict(fb_type="param_sinc", fb_ratio=0.0),  # a row of a sweep over the ratio
        dict(encoding="filterbanks", fb_type="param_sinc"),
        dict(encoding="deep", filters=2, deep_types=("pmpgtf", "param_sinc")),
    ],
)
def test_sinc_filters_may_have_the_printed_form(fields):
    form = dict(phase="even", window="none", gain="band")
    validate(Config(model=TasNetConfig(**fields, **form)))


@pytest.mark.parametrize("sources", [(), ("bass", "bass")])
def test_classes_are_named_once(sources):
    config = thesis()
    config.data.sources = sources
    with pytest.raises(ValueError, match=r"names no class|names two of them"):
        resolve(config)


@pytest.mark.parametrize("name", MODEL_CONFIGS)
def test_defaults_of_every_family_are_valid(name):
    family = MODEL_CONFIGS[name]
    validate(family.ready() or Config(model=family()))


def test_a_family_knows_no_field_of_another():
    assert "n_fft" not in vars(thesis().model)
    with pytest.raises(ValueError, match=r"unknown field 'model.N': Known: audio_ch"):
        from_dict({"model": {"name": "demucs", "N": 3}})


def test_round_trip_through_json():
    config = Config(name="other", seed=7, model=TasNetConfig())
    config.data.sources = ("vocals", "rest")
    config.model.L, config.optim.lr, config.model.causal = 25, 0.1, False
    again = from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert isinstance(again.data.sources, tuple)


def test_missing_fields_take_their_defaults():
    assert from_dict({"model": {"name": "tasnet"}}) == thesis()
    assert from_dict({"train": {"steps": 3}}).train.steps == 3


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"modell": {}}, "unknown field 'modell': did you mean 'model'?"),
        (
            {"model": {"name": "tasnet", "layer": 3}},
            "unknown field 'model.layer': did you mean 'layers'",
        ),
        ({"model": {"name": "tasnet", "n": 3}}, "did you mean 'N'? Known: B, H"),
        (
            {"model": {"name": "tasnett"}},
            "unknown model 'tasnett': did you mean 'tasnet",
        ),
        ({"zzz": 1}, "unknown field 'zzz': Known: data, eval"),
    ],
)
def test_unknown_fields_suggest_the_nearest(tree, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        from_dict(tree)


def test_resolve_splits_names_that_flags_joined():
    config = thesis()
    config.data.sources = ("vocals, bass",)
    config.model.deep_types = ("conv,pmpgtf",)
    config.model.encoding, config.model.filters = "deep", 2
    done = resolve(config)
    assert done.data.sources == ("vocals", "bass")
    assert done.model.deep_types == ("conv", "pmpgtf")
    assert config.data.sources == ("vocals, bass",)  # the original is left alone


def test_differences_name_old_and_new():
    old, new = thesis(), thesis()
    new.model.L, new.data.sources = 25, ("vocals",)
    lines = differences(old, new)
    assert lines[1] == "model.L: 20 -> 25"
    assert lines[0].startswith("data.sources: ['drums'")
    assert differences(old, thesis()) == []


def test_no_field_is_none():
    # Flags cannot spell None; see the module's docstring.
    def values(node):
        for field in dataclasses.fields(node):
            value = getattr(node, field.name)
            yield from values(value) if dataclasses.is_dataclass(value) else [value]

    assert None not in list(values(thesis()))


def test_a_name_does_not_change_the_family():
    config = thesis()
    config.model.name = "demucs"
    with pytest.raises(ValueError, match=r"Config\(model=DemucsConfig\(\)\)"):
        resolve(config)


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"data": {"sources": 5}}, "data.sources=5 must be a list"),
        ({"data": {"sources": "vocals"}}, "data.sources='vocals' must be a list"),
        ({"data": {"sources": [5]}}, "'5' is no name"),
        ({"data": {"sample_rate": 0}}, "data.sample_rate=0 must be positive"),
        ({"data": {"sample_rate": 1e300 * 1e300}}, "must be int"),
        ({"data": None}, "'data' is a section"),
        ({"model": {"name": 7}}, "unknown model '7'"),
        ({"model": {"name": "tasnet", "L": True}}, "model.L=True must be int"),
        ({"extensions": 5}, "extensions=5 must be a list"),
        ({"extensions": [5]}, "5 is no module"),
        ({"model": {"name": "tasnet", "sources": 5, "umx_fft": 1}}, "sources=5"),
        ({5: 3}, "unknown field '5'"),
        (None, "has sections, this is None"),
        ([1], "has sections"),
    ],
)
def test_a_stored_configuration_is_checked_as_it_is_read(tree, text):
    with pytest.raises(ValueError, match=text):
        from_dict(tree)


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/abs/x",
        "a/b",
        "",
        ".",
        "..",
        "x" * 101,
        "a\0b",
        "a\n",
        " a",
        "人" * 90,
        "nul",
        "COM1.x",
    ],
)
def test_a_class_is_named_so_that_it_can_name_a_file(name):
    with pytest.raises(ValueError, match="is no name"):
        from_dict({"data": {"sources": ["vocals", name]}})
    config = Config()
    config.data.sources = ("vocals", name)
    with pytest.raises(ValueError, match="is no name"):
        validate(config)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train.batch_size", 10**9, "train.batch_size=1000000000 times .* GiB"),
        ("data.sample_rate", 10**12, "must be a number up to"),
        ("data.sample_rate", 10**9, "must be at most 1000000"),
        ("data.chunk_seconds", math.inf, "must be positive"),
        ("data.chunk_seconds", math.nan, "must be positive"),
        ("data.chunk_seconds", 1e9, "data.chunk_seconds=1000000000.0 needs .* GiB"),
        ("data.chunk_seconds", 1e-9, "less than a sample"),
        ("data.valid_seconds", 1e9, "data.valid_seconds=1000000000.0 needs .* GiB"),
        ("eval.chunk_seconds", 1e300, "eval.chunk_seconds=1e.300 needs .* GiB"),
        ("data.gain_high", math.inf, "data.gain_high=inf must be finite"),
        ("data.songs", -1, "data.songs=-1 must be finite, 0 or more"),
        ("train.seeds", 10**9, "train.seeds=1000000000 must be at most 1000"),
        ("train.early_stop", -1, "0 or more"),
        ("optim.lr_decay_gamma", math.nan, "must be a number"),
        ("optim.ema", 1.0, r"optim.ema=1.0 must be in \[0, 1\)"),
        ("eval.overlap", math.nan, r"eval.overlap=nan must be in \[0, 0.99\)"),
        ("eval.oracle_power", -2.0, "0 or more"),
        ("live.crowd_low", math.nan, "must be a number"),
        ("model.N", 10**9, "model.N=1000000000 must be at most"),
        ("model.fb_ratio", math.nan, "must be a number"),
        ("seed", 2**70, "must be a number up to"),
    ],
)
def test_numbers_that_no_machine_holds_are_told_before_they_are_tried(
    field, value, message
):
    config = thesis()
    section, _, name = field.rpartition(".")
    setattr(getattr(config, section) if section else config, name, value)
    with pytest.raises(ValueError, match=f"(?s)invalid configuration.*{message}"):
        validate(config)


def test_less_memory_is_seen(monkeypatch):
    config = thesis()
    assert not list(memory_problems(config))
    monkeypatch.setattr("sepjax.config.rules.memory_bytes", lambda: 2**20)
    first, *_ = memory_problems(config)
    assert "train.batch_size=" in first
    assert first.endswith("this machine has 0.0 GiB: choose less")


@pytest.mark.parametrize(
    "name", ["गायन", "เสียงร้อง", "lead-vocals", "2. Gitarre", "e\u0301"]
)
def test_classes_have_names_of_any_script(name):
    assert from_dict({"data": {"sources": [name]}}).data.sources == (name,)


def test_a_stored_run_keeps_what_it_was_trained_with():
    tree = {"seed": 3_000_000_000, "loss": {"similarity": -0.1}}
    assert from_dict(tree).seed == 3_000_000_000
