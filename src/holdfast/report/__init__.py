"""Results as JSON, pictures and one self-contained page.

values ──► result.json        for programs
    └────► PNG, GIF ──► page  for people
"""

from .animation import animate_flights
from .chart import Chart, Rule, Series, draw_chart
from .error_curves import draw_errors
from .flight_panels import Panel
from .flight_paths import draw_flights
from .page import Cell, Facts, Picture, Section, Table, Text, write_page
from .palette import new_figure, save, style
from .picture_rows import draw_picture_rows
from .result import write_result

__all__ = [
    "Cell",
    "Chart",
    "Facts",
    "Panel",
    "Picture",
    "Rule",
    "Section",
    "Series",
    "Table",
    "Text",
    "animate_flights",
    "draw_chart",
    "draw_errors",
    "draw_flights",
    "draw_picture_rows",
    "new_figure",
    "save",
    "style",
    "write_page",
    "write_result",
]
