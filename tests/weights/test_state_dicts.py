"""What a state dict must have, what is said when it has not, and one that is wider."""

import numpy as np
import pytest
from vectors import assert_near, load, quick

from sepjax.models.build import model_of
from sepjax.weights import from_state_dict


@pytest.fixture
def naplab(shared_data):
    return load(shared_data, "naplab_noncausal")[1]


def test_prefix_of_data_parallel_is_dropped(naplab):
    wrapped = {f"module.{name}": array for name, array in naplab.items()}
    config, params = from_state_dict(naplab, family="naplab", layers=3)
    again, same = from_state_dict(wrapped, family="naplab", layers=3)
    assert again == config
    found = same["separator"]["tcn"]["output"]["kernel"]
    np.testing.assert_array_equal(found, params["separator"]["tcn"]["output"]["kernel"])


def test_a_missing_array_is_named(naplab):
    del naplab["TCN.TCN.3.reg1.weight"]
    with pytest.raises(KeyError, match=r"has no 'TCN\.TCN\.3\.reg1\.weight'"):
        from_state_dict(naplab, family="naplab", layers=3)


def test_a_wrong_shape_is_named(naplab):
    naplab["TCN.TCN.2.res_out.weight"] = np.zeros((12, 7, 1), np.float32)
    message = (
        r"'TCN.TCN.2.res_out.weight' has shape \(12, 7, 1\), expected \(12, 48, 1\)"
    )
    with pytest.raises(ValueError, match=message):
        from_state_dict(naplab, family="naplab", layers=3)


def test_an_unknown_array_is_warned_of(naplab):
    naplab["epoch_counter"] = np.zeros(1)
    with pytest.warns(UserWarning, match="1 arrays .* left out: epoch_counter"):
        from_state_dict(naplab, family="naplab", layers=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(family="naplap", layers=3), "did you mean 'naplab'"),
        (dict(family="naplab", layers=4), "the 6 blocks do not divide into stacks"),
        (dict(family="naplab", layers=3, sources=("a",)), "are 1, the model has 2"),
    ],
)
def test_options_that_do_not_fit(naplab, options, message):
    with pytest.raises(ValueError, match=message):
        from_state_dict(naplab, **options)


def test_choices_are_checked(shared_data):
    state = load(shared_data, "kaituoxu_cln_causal")[1]
    with pytest.raises(ValueError, match="mask_act='relus': did you mean 'relu'"):
        from_state_dict(state, family="kaituoxu", norm="frame", mask_act="relus")


def test_another_family_is_recognized_by_its_missing_arrays(naplab):
    with pytest.raises(KeyError, match=r"no 'masker\.TCN\.0\.': is it of"):
        from_state_dict(naplab, family="asteroid", layers=3)
    with pytest.raises(KeyError, match=r"no 'encoder\.0\.0\.weight'"):
        from_state_dict(naplab, family="demucs")


def test_names_of_the_sources(naplab):
    config, _ = from_state_dict(naplab, family="naplab", layers=3)
    assert config.data.sources == ("source_1", "source_2")
    names = ("vocals", "rest")
    config, _ = from_state_dict(naplab, family="naplab", layers=3, sources=names)
    assert config.data.sources == names


def test_a_skip_path_wider_than_the_bottleneck(shared_data):
    """Skip channels that are copies with half of the mask's weights change nothing."""
    arrays, state, _ = load(shared_data, "asteroid_gln_sigmoid")
    for name in list(state):
        if ".skip_conv." in name:
            state[name] = np.concatenate([state[name]] * 2)
    halved = state["masker.mask_net.1.weight"] / 2
    state["masker.mask_net.1.weight"] = np.concatenate([halved] * 2, axis=1)
    config, params = from_state_dict(state, family="asteroid", layers=3)
    assert config.model.B == 20
    found = quick(model_of(config).apply)({"params": params}, arrays["in/x"][:, 0])
    assert_near(found.estimates, arrays["out/y"], 1e-5)
