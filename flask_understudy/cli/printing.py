"""Showing things to people, as tables and ages, and to programs, as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from pydantic import BaseModel

from ..operations.wording import age, counted, duration, printable

COLOURS = {
    "completed": "green",
    "ok": "green",
    "active": "cyan",
    "failed": "red",
    "error": "red",
    "warning": "yellow",
    "delayed": "yellow",
    "paused": "yellow",
    "cancelled": "bright_black",
    "note": "blue",
}
NARROWEST = 8

as_json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document instead of text for people."
)


def emit(data: Any) -> None:
    """Write one JSON document."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))


def emit_rows(rows: Iterable[BaseModel], has_more: Callable[[], bool]) -> None:
    """Write one JSON document of many rows while they come, one a line: `{"data": [...], "more": false}`.

    Args:
        rows: The rows.
        has_more: Whether there are more than these; asked at the end.
    """
    out = sys.stdout
    separator = '{"data": [\n'
    for row in rows:
        out.write(separator + row.model_dump_json(by_alias=True))
        separator = ",\n"
    out.write('{"data": [' if separator.startswith("{") else "\n")
    out.write(f'], "more": {json.dumps(has_more())}}}\n')
    out.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    return instant(value) if isinstance(value, datetime) else str(value)


def instant(moment: datetime) -> str:
    """Return a time as RFC 3339 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], nothing: str = "Nothing was found.") -> None:
    """Write an aligned table; on a terminal its last column is cut to what fits.

    Args:
        columns: The heads.
        rows: A cell for each column; None is shown as `-`.
        nothing: What to say when there is no row.
    """
    if not rows:
        click.echo(nothing)
        return
    cells = [[printable("-" if value is None else str(value)) for value in row] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    if sys.stdout.isatty():
        widths[-1] = max(
            NARROWEST, min(widths[-1], shutil.get_terminal_size().columns - sum(widths[:-1]) - 2 * (len(widths) - 1))
        )
    click.echo(_line([column.upper() for column in columns], widths, lambda text, _: click.style(text, bold=True)))
    for row in cells:
        click.echo(_line(row, widths, lambda text, word: click.style(text, fg=COLOURS.get(word))))


def _line(cells: Sequence[str], widths: Sequence[int], style: Callable[[str, str], str]) -> str:
    fitted = [
        cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True)
    ]
    padded = [text.ljust(width) for text, width in zip(fitted[:-1], widths[:-1], strict=True)]
    return "  ".join(style(text, text.strip()) for text in [*padded, fitted[-1]])


def paragraph(text: str, indent: str = "  ") -> str:
    """Return a text of several lines, indented, without what would steer the terminal."""
    return "\n".join(indent + printable(line.expandtabs(4)) for line in text.splitlines())


def tell(data: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Say what was done: to people in a sentence, to programs as JSON."""
    if as_json:
        emit(data)
    else:
        click.echo(sentence)


def styled(word: str, text: str | None = None) -> str:
    """Return a text in the colour of a state."""
    return click.style(word if text is None else text, fg=COLOURS.get(word))


__all__ = [
    "COLOURS",
    "age",
    "as_json_option",
    "counted",
    "duration",
    "emit",
    "emit_rows",
    "instant",
    "paragraph",
    "printable",
    "styled",
    "table",
    "tell",
]
