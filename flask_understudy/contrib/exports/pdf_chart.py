"""A chart of a report as a drawing that is readable in print: dark and light colours, dashes, marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.charts.linecharts import HorizontalLineChart
from reportlab.graphics.shapes import Drawing
from reportlab.graphics.widgets.markers import makeMarker
from reportlab.lib.colors import Color, HexColor

from .pdf_text import REGULAR, grouped
from .report import Chart

COLOURS: tuple[Color, ...] = tuple(
    map(HexColor, ("#1f4e79", "#e69f00", "#4c9a77", "#8c2d52", "#7db7dd", "#5c5c5c", "#b8a13a", "#b39ddb"))
)

HEIGHT = 190.0

_DASHES: tuple[list[int] | None, ...] = (None, [6, 2], [2, 2], [8, 2, 2, 2])
_MARKS = ("FilledCircle", "FilledSquare", "FilledDiamond", "FilledTriangle")
_MOST_MARKS = 40
_SIZE = 7.0
_SLANT = 40
_LONGEST_LABEL = 92.0
_RULE = HexColor("#d5d9de")
_INK = HexColor("#3c4550")


def colour(number: int) -> Color:
    """Return the colour of a series."""
    return COLOURS[number % len(COLOURS)]


def drawing(chart: Chart, width: float) -> Drawing:
    """Return the axes and what is between them, `width` by `HEIGHT` points."""
    scale = _scale(chart)
    numbers = [
        [number / scale if math.isfinite(number) else None for number in series] for series in chart.series.values()
    ]
    low, high, step = _axis([number for series in numbers for number in series if number is not None])
    figure: Any = VerticalBarChart() if chart.kind == "bar" else HorizontalLineChart()
    _style_series(figure, chart.kind, len(numbers), has_marks=len(chart.labels) <= _MOST_MARKS)
    figure.data = numbers
    axis = figure.valueAxis
    axis.valueMin, axis.valueMax, axis.valueStep = low, high, step
    axis.labelTextFormat = lambda number: grouped(round(number, 9) * scale)
    axis.labels.fontName, axis.labels.fontSize, axis.labels.fillColor = REGULAR.name, _SIZE, _INK
    axis.visibleGrid, axis.gridStrokeColor, axis.gridStrokeWidth = True, _RULE, 0.5
    axis.strokeColor, axis.tickLeft = None, 0
    widest = max(REGULAR.width(grouped(round(tick, 9) * scale), _SIZE) for tick in (low, high, low + step))
    figure.x = widest + 10
    figure.width = width - figure.x - 4
    sunk = _label(figure.categoryAxis, chart.labels, figure.width)
    figure.y, figure.height = sunk, HEIGHT - sunk - 6
    found = Drawing(width, HEIGHT)
    found.add(figure)
    return found


def _style_series(figure: Any, kind: str, count: int, *, has_marks: bool) -> None:
    for number in range(count):
        if kind == "bar":
            figure.bars[number].fillColor = colour(number)
            figure.bars[number].strokeColor = None
        else:
            figure.lines[number].strokeColor = colour(number)
            figure.lines[number].strokeWidth = 1.6
            figure.lines[number].strokeDashArray = _DASHES[number % len(_DASHES)]
            if has_marks:
                figure.lines[number].symbol = makeMarker(_MARKS[number % len(_MARKS)], size=4)
    if kind == "bar":
        figure.groupSpacing, figure.barSpacing = 6, 0.5


def _label(axis: Any, labels: Sequence[str], width: float) -> float:
    """Write the labels below the axis, on a slant where they are wide; return the points they take."""
    slot = width / max(1, len(labels))
    texts = [REGULAR.line(label) for label in labels]
    axis.labels.fontName, axis.labels.fontSize, axis.labels.fillColor = REGULAR.name, _SIZE, _INK
    axis.strokeColor, axis.tickDown, axis.labelAxisMode = _INK, 0, "low"
    every = math.ceil((_SIZE + 3) / slot)
    is_slanted = any(REGULAR.width(text, _SIZE) > slot - 4 for text in texts)
    texts = [REGULAR.cut(text, _LONGEST_LABEL, _SIZE) if n % every == 0 else "" for n, text in enumerate(texts)]
    axis.categoryNames = texts
    if not is_slanted:
        return 18.0
    axis.labels.angle, axis.labels.boxAnchor, axis.labels.dy = _SLANT, "ne", -2
    return max(REGULAR.width(text, _SIZE) for text in texts) * math.sin(math.radians(_SLANT)) + 16


def _scale(chart: Chart) -> float:
    """Return a power of ten by which all numbers are divided, so that none is out of reach of the arithmetic."""
    largest = max((abs(n) for series in chart.series.values() for n in series if math.isfinite(n)), default=0)
    return 10.0 ** max(-300, math.floor(math.log10(largest))) if largest else 1.0


def _axis(numbers: list[float]) -> tuple[float, float, float]:
    """Return where the axis begins and ends, and its steps: 1, 2 or 5 of a power of ten, and zero among them."""
    low, high = min([0.0, *numbers]), max([0.0, *numbers])
    if high == low:
        return 0.0, 1.0, 0.5
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step
