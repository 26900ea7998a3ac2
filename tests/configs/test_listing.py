"""--mode=list: every name is there and the lines fit the terminal."""

import pytest

from sepjax.configs import appendix_a
from sepjax.configs.listing import lines


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_list_is_complete_and_fits(width):
    listed = list(lines(width))
    text = "\n".join(listed)
    for name in (*appendix_a.NAMES, "base:explore", "demo:music"):
        assert name in text
    assert "appendix_a:NAME@thesis  likely the" in text
    # A name with its figures is never broken: no terminal is narrower than that.
    assert max(map(len, listed)) <= max(width, 78)


def test_a_row_shows_cells_figures_and_what_is_wrong_with_it():
    listed = list(lines(160))
    (row,) = [line for line in listed if line.startswith("  large_simple_L20_W20 ")]
    assert row.split() == [
        *("large_simple_L20_W20", "bs=8", "encoding=simple", "H=640", "5.8?", "yes")
    ]
    (row,) = [line for line in listed if "irm_stacked2_fb_pmpgtf_conv" in line]
    assert row.split()[-1] == "no"
    assert "+ stack_layers=pmpgtf,conv" in row


def test_sections_come_in_order():
    titles = [line.split()[0] for line in lines(100) if line.startswith("A.")]
    assert titles == list(appendix_a.SECTIONS)
