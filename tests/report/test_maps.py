"""Maps of numbers: places, colours and the ink of the numbers."""

import math

from matplotlib.colors import LogNorm, Normalize, to_rgba

from holdfast.report.maps import HIGH_IS_DARK, draw_map
from holdfast.report.palette import INK, new_figure, style


def drawn(values, levels, norm, colours):
    with style():
        axes = new_figure(3.0, 3.0).add_axes((0.1, 0.1, 0.8, 0.8))
        draw_map(axes, values, levels, norm=norm, colours=colours, shown=lambda value: f"{value:g}")
    texts = {text.get_text(): (text.get_position(), text.get_color()) for text in axes.texts}
    return axes, texts, {patch.get_xy(): patch.get_facecolor() for patch in axes.patches}


def test_cells_are_where_their_levels_are_and_numbers_can_be_read():
    """The first colour is #eef3f6 and the last #1b2a57: dark text on the one, white on the other."""
    values = {(1.0, 10.0): 0.0, (4.0, 10.0): 1.0, (4.0, 20.0): 0.5}
    axes, texts, cells = drawn(values, ((1.0, 4.0), (10.0, 20.0)), Normalize(0.0, 1.0), HIGH_IS_DARK)
    assert texts["0"] == ((0, 0), INK)
    assert texts["1"] == ((1, 0), "white")
    assert texts["0.5"][0] == (1, 1)
    assert cells[-0.5, -0.5] == to_rgba("#eef3f6")
    assert cells[0.5, -0.5] == to_rgba("#1b2a57")
    assert len(cells) == 3
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 1.5), (-0.5, 1.5))


def test_low_can_be_dark_and_a_number_that_is_not_finite_is_legible():
    _, texts, cells = drawn(
        {(1.0, 1.0): 0.01, (2.0, 1.0): 100.0, (3.0, 1.0): math.nan},
        ((1.0, 2.0, 3.0), (1.0,)),
        LogNorm(0.01, 100.0),
        HIGH_IS_DARK.reversed(),
    )
    assert (texts["0.01"][1], texts["100"][1], texts["nan"][1]) == ("white", INK, INK)
    assert cells[-0.5, -0.5] == to_rgba("#1b2a57")
