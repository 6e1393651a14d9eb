"""JSON Schemas in words, and samples of them."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import AwareDatetime, BaseModel, Field

from flask_understudy.dashboard.schemas import fields_of, sample


class Line(BaseModel):
    sku: str
    n: int = 1


class Order(BaseModel):
    id: int = Field(description="Its number.")
    kind: Literal["letter", "parcel"]
    at: AwareDatetime
    lines: list[Line]
    first: Line
    note: str | None = None
    price: float | str


class Endless(BaseModel):
    inner: Endless


def test_fields_are_described_in_words() -> None:
    found = {field.name: field for field in fields_of(Order.model_json_schema())}
    assert [(name, field.kind, field.is_needed) for name, field in found.items()] == [
        ("id", "integer", True),
        ("kind", "'letter' or 'parcel'", True),
        ("at", "string, date-time", True),
        ("lines", "list of Line", True),
        ("first", "Line", True),
        ("note", "string or null", False),
        ("price", "number or string", True),
    ]
    assert (found["id"].description, found["note"].default) == ("Its number.", None)


def test_a_sample_has_defaults_first_choices_and_empty_values() -> None:
    assert sample(Order.model_json_schema()) == {
        "id": 0,
        "kind": "letter",
        "at": "",
        "lines": [],
        "first": {"sku": "", "n": 1},
        "note": None,
        "price": 0,
    }


def test_a_sample_of_what_holds_itself_has_an_end() -> None:
    assert "inner" in sample(Endless.model_json_schema())


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"properties": {"x": {}}}])
def test_what_says_little_is_no_error(schema: dict[str, object]) -> None:
    assert [field.kind for field in fields_of(schema)] in ([], ["anything"])
    sample(schema)
