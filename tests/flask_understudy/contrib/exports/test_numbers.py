"""Numbers and JSON: SQLite's side against what PostgreSQL prints."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_understudy.contrib.exports.numbers import decimal_text, float_text, json_text

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=6)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def printed(postgres: sa.Connection, expression: str, value: Any) -> Any:
    return postgres.scalar(sa.text(f"SELECT ({expression})::text"), {"value": value})


@settings(deadline=None)
@given(number=st.floats())
@example(number=1e15)
@example(number=1e14)
@example(number=1234567890123456.0)
@example(number=1000000000000000.5)
@example(number=4503599627370497.5)
@example(number=2.0**305)
@example(number=1.7976931348623157e308)
@example(number=1e-4)
@example(number=1e-5)
@example(number=-0.0)
@example(number=5e-324)
def test_float_is_printed_as_postgresql_prints_it(postgres: sa.Connection, number: float) -> None:
    assert float_text(number) == printed(postgres, "CAST(:value AS float8)", number)


@given(number=st.floats(allow_nan=False))
def test_float_reads_back_as_itself(number: float) -> None:
    text = float_text(number)
    assert text is not None and float(text) == number


@settings(deadline=None)
@given(number=st.decimals(min_value=-(10**9), max_value=10**9, places=4), scale=st.integers(0, 4))
def test_decimal_is_rounded_as_postgresql_rounds_it(postgres: sa.Connection, number: Decimal, scale: int) -> None:
    expected = printed(postgres, f"round(CAST(:value AS numeric), {scale})", number)

    assert decimal_text(float(number), scale) == expected


@settings(deadline=None)
@given(number=st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_decimal_without_a_scale_has_no_idle_zeros(postgres: sa.Connection, number: Decimal) -> None:
    expected = printed(postgres, "trim_scale(CAST(:value AS numeric))", number)

    assert decimal_text(float(number), None) == expected


def test_nothing_stays_nothing() -> None:
    assert float_text(None) is decimal_text(None, 2) is json_text(None) is None


def test_infinite_decimal_is_named() -> None:
    assert decimal_text(math.inf, 2) == "Infinity"


@settings(deadline=None)
@given(document=documents)
@example(document={"bb": 1, "a": [1.50, True, None], "é": '\x01\t"\\/\x7f'})
def test_json_is_printed_as_postgresql_prints_jsonb(postgres: sa.Connection, document: Any) -> None:
    text = json.dumps(document)

    assert json_text(text) == printed(postgres, "CAST(:value AS jsonb)", text)


@pytest.mark.parametrize("text", ['{"a": 1e2, "b": 1.50, "c": -0.0}', '{"a": 1, "a": 2}', " [ 1 , 2 ] "])
def test_json_written_otherwise_is_printed_alike(postgres: sa.Connection, text: str) -> None:
    assert json_text(text) == printed(postgres, "CAST(:value AS jsonb)", text)
