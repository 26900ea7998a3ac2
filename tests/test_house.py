"""What the acceptance table of the house must not count; tools/house.py prints it."""

import ast

import pytest

from tools import house

MODULES = house.sources(house.ROOT)


def test_there_is_no_circle_between_files():
    assert not house.circle(MODULES)


def test_the_root_has_few_modules():
    files = {path.stem for path in (house.ROOT / "sepjax").glob("*.py")}
    rooms = {"registry", "storage", "progress", "download"}
    assert files == {"__init__", "__main__", *rooms}


def test_generic_rooms_ask_no_model_by_attribute():
    assert not house.asked_models(house.ROOT)


def test_generic_rooms_name_no_family():
    assert not house.named_families(house.ROOT)


def test_long_files_say_why():
    """Above 400 lines the first paragraph does; no file is there now."""
    assert not house.long_files(house.ROOT)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('"""Of demucs."""\nx = 1  # demucs', []),
        ("from sepjax.models.demucs import model", ["demucs"]),
        ("isinstance(model, Demucs)", ["Demucs"]),
        ('name = "demucs"', ["demucs"]),
        ("umx = demucs_like", []),
    ],
)
def test_families_count_in_code_alone(tmp_path, code, names):
    assert [name for name in house.families_in(ast.parse(code))] == names
