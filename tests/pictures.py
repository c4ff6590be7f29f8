"""Text in pictures: what would be cut off at their edges."""

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def cut_texts(figure: Figure, shown: Bbox | None = None) -> list[str]:
    """Texts that extend beyond the shown part of a figure [inches], by default all of it; half a pixel is rounding.

    Texts wider than the figure do not count.
    """
    width, height = figure.get_size_inches()
    shown = Bbox.from_extents(0, 0, width, height) if shown is None else shown
    low, high = shown.p0 * figure.dpi - 0.5, shown.p1 * figure.dpi + 0.5
    hidden = _labels_beyond_limits(figure)
    found = list[str]()
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            extent = text.get_window_extent()
            if extent.width < width * figure.dpi and ((extent.p0 < low).any() or (extent.p1 > high).any()):
                found.append(text.get_text())
    return found


def _labels_beyond_limits(figure: Figure) -> set[Text]:
    """Labels of ticks outside of their axes' limits, which matplotlib makes but does not draw."""
    labels = set[Text]()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_transform().transform(axis.get_view_interval()))
        near = 1e-6 * (high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low - near <= axis.get_transform().transform(tick.get_loc()) <= high + near:
                labels |= {tick.label1, tick.label2}
    return labels
