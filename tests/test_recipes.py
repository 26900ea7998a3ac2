"""What is written of estimates: sums, residuals, and sums that are exact."""

import numpy as np
import pytest

from sepjax.inference.recipes import check_whole, make_recipe, sum_exactly

FOUR = ("drums", "bass", "other", "vocals")


def applied(recipe, seed=0):
    """Stems of random estimates and a random mixture, as a dictionary, and those."""
    rng = np.random.default_rng(seed)
    estimates, mixture = rng.normal(size=(4, 50)), rng.normal(size=50)
    stems = recipe.matrix @ np.concatenate([estimates, mixture[None]])
    return dict(zip(recipe.names, stems)), dict(zip(FOUR, estimates)), mixture


def test_every_source_is_a_stem_by_default():
    stems, estimates, _ = applied(make_recipe(FOUR))
    assert tuple(stems) == FOUR
    for name in FOUR:
        np.testing.assert_array_equal(stems[name], estimates[name])


@pytest.mark.parametrize("method", ["add", "minus", "none"])
def test_two_stems(method):
    recipe = make_recipe(FOUR, two_stems="bass", other_method=method)
    stems, estimates, mixture = applied(recipe)
    rest = {
        "add": {
            "no_bass": estimates["drums"] + estimates["other"] + estimates["vocals"]
        },
        "minus": {"minus_bass": mixture - estimates["bass"]},
        "none": {},
    }[method]
    assert stems.keys() == {"bass", *rest}
    for name, wave in (rest | {"bass": estimates["bass"]}).items():
        np.testing.assert_allclose(stems[name], wave, atol=1e-12)


def test_sums_take_the_place_of_their_parts():
    sums = {"rhythm": ["drums", "bass"], "backing": ["rhythm", "other"]}
    stems, estimates, _ = applied(make_recipe(FOUR, aggregate=sums))
    assert tuple(stems) == ("vocals", "backing")
    backing = sum(estimates[name] for name in FOUR[:3])
    np.testing.assert_allclose(stems["backing"], backing, atol=1e-12)
    names = ["vocals", "rhythm", "drums"]
    stems, estimates, _ = applied(make_recipe(FOUR, aggregate=sums, stems=names))
    assert list(stems) == names
    rhythm = estimates["drums"] + estimates["bass"]
    np.testing.assert_allclose(stems["rhythm"], rhythm, atol=1e-12)


def test_the_residual_is_what_all_sources_leave():
    for options in ({}, {"stems": ["bass"]}, {"two_stems": "bass"}):
        recipe = make_recipe(FOUR, residual=True, **options)
        stems, estimates, mixture = applied(recipe)
        expected = mixture - sum(estimates.values())
        np.testing.assert_allclose(stems["residual"], expected, atol=1e-12)
        assert recipe.names[-1] == "residual"
    assert make_recipe(FOUR, stems=["residual", "bass"]).names == ("residual", "bass")


def test_a_source_with_the_name_of_a_sum_is_the_sum():
    sums = {"accompaniment": ["drums", "bass", "other"]}
    two = ("vocals", "accompaniment")
    assert make_recipe(two, aggregate=sums).names == two
    assert make_recipe(FOUR, aggregate=sums).names == two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stems": ["vocal"]}, "unknown stem 'vocal': did you mean 'vocals'"),
        ({"two_stems": "Drums"}, "unknown stem 'Drums': did you mean 'drums'"),
        ({"two_stems": "bass", "other_method": "sub"}, "unknown other_method 'sub'"),
        ({"two_stems": "bass", "stems": ["vocals"]}, "two_stems chooses stems"),
        ({"aggregate": {"x": ["base"]}}, "unknown stem 'base': did you mean 'bass'"),
        ({"aggregate": {"x": []}}, "the sum 'x' needs parts"),
        (
            {"aggregate": {"x": ["bass", "drums"], "y": ["x", "bass"]}},
            "'y' needs parts",
        ),
        ({"aggregate": {"../x": ["bass"]}}, "'../x' is no name"),
        ({"aggregate": {"bass": ["bass", "drums"]}}, "a stem 'bass' already"),
        ({"aggregate": {"BASS": ["drums"]}}, "names two of them"),
        ({"aggregate": {"residual": ["bass"]}, "residual": True}, "a stem 'residual'"),
    ],
)
def test_what_is_no_stem_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        make_recipe(FOUR, **options)


def test_an_exact_sum_needs_the_whole_once():
    sums = {"rhythm": ["drums", "bass"]}
    for whole in (
        {},
        {"residual": True},
        {"two_stems": "bass"},
        {"two_stems": "bass", "other_method": "minus"},
        {"aggregate": sums},
    ):
        check_whole(make_recipe(FOUR, **whole))
    for part in (
        {"stems": ["bass"]},
        {"two_stems": "bass", "other_method": "none"},
        {"aggregate": sums, "stems": ["rhythm", "drums", "other", "vocals"]},
    ):
        with pytest.raises(ValueError, match="not the whole mixture"):
            check_whole(make_recipe(FOUR, **part))


def random_stems(seed=0, time=4000):
    """True sources of different levels, estimates of them, and their mixture."""
    rng = np.random.default_rng(seed)
    levels = np.array([0.2, 0.05, 0.01])[:, None]
    sources = (levels * rng.normal(size=(time, 3, 2))).astype(np.float32)
    errors = 0.3 * levels * rng.normal(size=(time, 3, 2))
    return sources, (sources + errors).astype(np.float32)


def test_an_exact_sum_brings_stems_nearer_to_the_sources():
    sources, estimates = random_stems()
    mixture = sources.sum(1, dtype=np.float64)
    power = np.square(estimates, dtype=np.float64).sum(0)
    stems = sum_exactly(estimates, mixture, power / power.sum(0))

    def distance(waves):
        return (np.square(np.float64(waves) - sources).sum(0) / power).sum()

    # The projection: by Pythagoras, what is gained is exactly what was moved.
    moved = (np.square(np.float64(stems) - estimates).sum(0) / power).sum()
    assert distance(stems) < distance(estimates)
    np.testing.assert_allclose(distance(estimates), distance(stems) + moved, rtol=1e-4)
    null = np.square(mixture - stems.sum(1, dtype=np.float64)).sum()
    assert 10 * np.log10(np.square(mixture).sum() / null) > 140


@pytest.mark.parametrize("depth", [16, 24])
def test_integers_sum_to_the_last_bit(depth):
    sources, estimates = random_stems(1)
    full = 2.0 ** (depth - 1)
    mixture = np.rint(sources.sum(1, dtype=np.float64) * full) / full
    shares = np.full((3, 2), 1 / 3)
    stems = sum_exactly(estimates, mixture.astype(np.float32), shares, depth)
    integers = np.float64(stems) * full
    np.testing.assert_array_equal(integers, np.rint(integers))
    np.testing.assert_array_equal(integers.sum(1), mixture * full)
    # No stem but one is further from its floats than half a step.
    floats = sum_exactly(estimates, mixture.astype(np.float32), shares)
    apart = np.abs(np.float64(floats) * full - integers).max((0, 2))
    assert np.sort(apart)[1] < 0.51
    assert apart.max() < 2
