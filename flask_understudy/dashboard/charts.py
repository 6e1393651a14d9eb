"""Charts drawn by the server, as SVG without a line of style in it: light and dark are the style sheet's matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 120


@dataclass(frozen=True, slots=True)
class Series:
    """One line of figures.

    Attributes:
        name: What they count; also the class of its shape.
        values: One for each place, the oldest first; None = unknown.
    """

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in units of the view box."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars over time, with the table that says the same.

    Attributes:
        title: What it shows.
        labels: One for each place.
        series: What is stacked, the lowest first.
        unit: Of the figures.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: str = ""

    @property
    def top(self) -> float:
        """The figure at the upper edge: the highest stack, at least 1."""
        stacks = [sum(s.values[n] or 0 for s in self.series) for n in range(len(self.labels))]
        return max([1.0, *stacks])

    @property
    def bars(self) -> list[Bar]:
        """The rectangles to draw."""
        bars, top = [], self.top
        step = WIDTH / max(1, len(self.labels))
        for n in range(len(self.labels)):
            base = 0.0
            for series in self.series:
                value = series.values[n] or 0
                if value > 0:
                    height = HEIGHT * value / top
                    y = HEIGHT - base - height
                    bars.append(
                        Bar(series.name, round(n * step, 2), round(y, 2), round(step * 0.8, 2), round(height, 2))
                    )
                    base += height
        return bars

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see."""
        return not any(value for series in self.series for value in series.values)
