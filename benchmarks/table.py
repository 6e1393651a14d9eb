"""The table that a run prints."""

from __future__ import annotations

from benchmarks.harness import Row

NAME, UNIT, FIGURE, PEER, RATIO, TARGET = 44, 8, 10, 22, 7, 13


def heading() -> str:
    """Return the table's first line."""
    return (
        f"{'what':{NAME}} {'unit':{UNIT}} {'ours':>{FIGURE}} {'peer':{PEER}} {'its value':>{FIGURE}} "
        f"{'ratio':>{RATIO}} {'target':{TARGET}} met"
    )


def line(row: Row) -> str:
    """Return a row as a line."""
    met = {True: "yes", False: "NO", None: ""}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (
        f"{row.name:{NAME}} {row.unit:{UNIT}} {_figure(row.ours):>{FIGURE}} {row.peer:{PEER}} "
        f"{_figure(row.peer_value):>{FIGURE}} {ratio:>{RATIO}} {row.target:{TARGET}} {met:3} {row.note}"
    )


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
