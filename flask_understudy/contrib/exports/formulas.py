"""Cells that a spreadsheet would run are made into text: the guard against CSV injection.

Excel, LibreOffice and Google Sheets take a cell that starts with `=`, `+`, `-` or `@` (or the
full-width forms of these) as a formula, some of them after blanks, a byte order mark or a quote,
and split cells at tabs and line ends. Such a text gets an apostrophe in front (OWASP, "CSV
Injection"). Only texts are concerned: a column of numbers keeps its minus signs.

The rule exists twice, here and as SQL in `cells.py`, so that the database applies it while it
writes the rows; a property test holds the two against each other.
"""

from __future__ import annotations

#: What a formula starts with: control characters, `+ - = @`, their small and full-width forms.
TRIGGERS = "\t\n\v\f\r+-=@\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20"

#: What may stand before it and be passed over: blanks, a quote, zero-width space, byte order mark.
LEADERS = ' "\u00a0\u2003\u3000\u200b\ufeff'

PREFIX = "'"


def is_formula(text: str) -> bool:
    """Return whether a spreadsheet might take `text` as a formula."""
    rest = text.lstrip(LEADERS)
    return bool(rest) and rest[0] in TRIGGERS


def disarmed(text: str) -> str:
    """Return `text` as a cell that is never run: with an apostrophe in front where needed."""
    return PREFIX + text if is_formula(text) else text
