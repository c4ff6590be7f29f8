"""Values become pictures, JSON and one self-contained page.

values ──► result.json        what other programs read
    └────► PNG, GIF ──► page  what people read
"""

from .animation import film_flights
from .animation_panels import Panel
from .chart import Chart, Rule, Series, draw_chart
from .error_curves import draw_errors
from .page import Cell, Facts, Picture, Section, Table, Text, write_page
from .palette import Colours, colours, new_figure, save, style
from .quadrotor_flights import draw_flights
from .result import write_result

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
    "draw_flights",
    "film_flights",
    "new_figure",
    "save",
    "style",
    "write_page",
    "write_result",
]
