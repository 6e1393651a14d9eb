"""S18: what a spreadsheet would run is made into text."""

from __future__ import annotations

import csv
import io
import string
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_understudy.contrib.exports import RowStream
from flask_understudy.contrib.exports.formulas import LEADERS, TRIGGERS, disarmed, is_formula

DANGEROUS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "\t=1",
    "\r=1",
    "\n=1",
    "\x0b=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20SUM(1)",
    "\ufe661",
    " =1+1",
    "\u00a0=1+1",
    "\u3000=1+1",
    "\ufeff=1+1",
    "\u200b=1+1",
    '"=1+1',
    ' \ufeff "=1+1',
    "-",
]
HARMLESS = ["", "a=1", "1-2", "2026-01-31", "'=1", "#1", "a\n=1", "  a", '""', "\ufeff", "é=", "/=1"]

# NUL cannot be stored in PostgreSQL; half a surrogate pair is no text.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
tricky = st.text(sorted(TRIGGERS + LEADERS + "a1'é\u20ac,|"), max_size=5)


@pytest.mark.parametrize("text", DANGEROUS)
def test_dangerous_text_gets_an_apostrophe(text: str) -> None:
    assert disarmed(text) == "'" + text


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert disarmed(text) == text


@given(texts | tricky)
def test_no_disarmed_text_is_a_formula(text: str) -> None:
    assert not is_formula(disarmed(text))


@given(texts | tricky)
def test_nothing_but_an_apostrophe_is_added(text: str) -> None:
    assert disarmed(text).removeprefix("'") == text.removeprefix("'")


def exported(connection: sa.Connection, some: list[str]) -> list[str]:
    rows = (sa.select(sa.literal(n).label("n"), sa.literal(t).label("t")) for n, t in enumerate(some))
    query = sa.union_all(*rows).order_by("n")
    file = b"".join(RowStream(connection, query, "csv")).decode()
    cells = list(csv.reader(io.StringIO(file, newline="")))
    assert cells[0] == ["n", "t"]
    return [text for _, text in cells[1:]]


@settings(deadline=None, max_examples=60)
@given(some=st.lists(texts | tricky, min_size=1, max_size=40))
@example(some=DANGEROUS + HARMLESS)
@example(some=list(string.printable))
def test_database_applies_the_same_rule(connection: sa.Connection, some: list[str]) -> None:
    assert exported(connection, some) == [disarmed(text) for text in some]


def test_every_text_is_quoted(connection: sa.Connection) -> None:
    query = sa.select(sa.literal("plain").label("text"), sa.literal(7).label("number"))

    assert b"".join(RowStream(connection, query)) == b'"text","number"\n"plain",7\n'


def test_numbers_keep_their_minus_sign(connection: sa.Connection) -> None:
    query = sa.select(
        sa.literal(-7).label("i"),
        sa.type_coerce(sa.literal_column("-7.5"), sa.Numeric(5, 2)).label("d"),
        sa.cast(sa.literal_column("-0.25"), sa.Double).label("f"),
    )

    assert b"".join(RowStream(connection, query)).splitlines()[1] == b"-7,-7.50,-0.25"


def test_column_names_are_disarmed_too(connection: sa.Connection) -> None:
    query = sa.select(sa.literal(1).label("=cmd"), sa.literal(2).label('sa"y'))

    assert b"".join(RowStream(connection, query)).startswith(b'"\'=cmd","sa""y"\n')


def test_json_has_the_text_as_it_is(connection: sa.Connection) -> None:
    query: Any = sa.select(sa.literal("=1+1").label("text"))

    assert b"".join(RowStream(connection, query, "jsonl")) == b'{"text":"=1+1"}\n'
