"""Values become pictures, JSON and one self-contained page.

values ──► result.json        what other programs read
    └────► PNG, GIF ──► page  what people read
"""

from .chart import Chart, Rule, Series, draw_chart
from .drift import draw_errors
from .families import draw_families
from .fig5 import draw_fig5
from .fig6 import draw_fig6
from .film import film_flights
from .page import Cell, Facts, Picture, Section, Table, Text, write_page
from .palette import Colours, colours, new_figure, save, style
from .quadrotor import draw_flights
from .result import write_result
from .stage import Panel
from .tokens import draw_tokens

__all__ = [
    "Cell",
    "Chart",
    "Colours",
    "Facts",
    "Panel",
    "Picture",
    "Rule",
    "Section",
    "Series",
    "Table",
    "Text",
    "colours",
    "draw_chart",
    "draw_errors",
    "draw_families",
    "draw_fig5",
    "draw_fig6",
    "draw_flights",
    "draw_tokens",
    "film_flights",
    "new_figure",
    "save",
    "style",
    "write_page",
    "write_result",
]
