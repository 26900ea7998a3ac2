"""What the section `live` may say, and what is said where it may not."""

import math

import pytest

from sepjax.config import Config, LiveConfig, from_dict, to_dict, validate
from sepjax.functional.live import LiveSettings
from sepjax.models.tasnet.config import TasNetConfig


def problems(**fields):
    config = Config(model=TasNetConfig())
    for name, value in fields.items():
        setattr(config.live, name, value)
    try:
        validate(config)
    except ValueError as error:
        return str(error)
    return ""


def test_defaults_and_everything_left_out_are_sound():
    assert not problems(train=True, eval=True)
    off = {"bleed": -math.inf, "reverb": 0.0, "direct": math.inf, "crowd": math.inf}
    bounds = {f"{n}_{end}": v for n, v in off.items() for end in ("low", "high")}
    assert not problems(train=True, **bounds)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": "dry"}, "live.targets='dry'"),
        ({"bleed_low": -3.0}, "live.bleed_low=-3.0 must not exceed"),
        ({"bleed_high": 3.0}, "live.bleed_high=3.0 must be 0 or less"),
        ({"bleed_low": -math.inf}, "must be finite, or both -inf"),
        ({"bleed_low": math.nan}, "live.bleed_low=nan must not exceed"),
        ({"reverb_low": 0.0}, "live.reverb_low=0.0 must be positive, or both"),
        ({"reverb_low": -1.0, "reverb_high": 0.0}, "live.reverb_low=-1.0 must be"),
        ({"reverb_high": math.inf}, "live.reverb_high=inf must be finite"),
        ({"crowd_high": math.inf}, "must be finite, or both inf"),
        ({"crowd_recordings": "x"}, "are for live.train=True or live.eval=True"),
        (
            {"train": True, "impulse_responses": "x", "reverb_low": 0.0}
            | {"reverb_high": 0.0},
            "names halls, live.reverb_high=0 wants none",
        ),
        (
            {"train": True, "crowd_recordings": "x", "crowd_low": math.inf}
            | {"crowd_high": math.inf},
            "names audiences, live.crowd_low=inf wants none",
        ),
    ],
)
def test_problems_are_named(fields, message):
    assert message in problems(**fields)


def test_configurations_from_before_the_section_remain_readable():
    tree = to_dict(Config(model=TasNetConfig()))
    del tree["live"]
    assert from_dict(tree) == Config(model=TasNetConfig())


def test_the_functions_have_the_same_defaults():
    assert LiveSettings.of(LiveConfig(), 8000) == LiveSettings()
