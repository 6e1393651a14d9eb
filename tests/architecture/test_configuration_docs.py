"""docs/configuration.md lists every setting with the default that the code has, and no other."""

from __future__ import annotations

import ast
import dataclasses
import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from app.config import SETTINGS
from flask_understudy.config import Config
from flask_understudy.policy import QueuePolicy

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def table_of(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without its two head lines."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = next(i for i, row in enumerate(rows) if set("".join(row)) <= set("-"))
    return rows[head + 1 :]


def documented(heading: str, default_column: int) -> dict[str, Any]:
    """Return the names in a table's first column with the defaults beside them."""
    return {row[0].strip("`"): value_of(row[default_column].strip("`")) for row in table_of(heading)}


def value_of(text: str) -> Any:
    days = re.fullmatch(r"timedelta\(days=(\d+)\)", text)
    return dt.timedelta(days=int(days[1])) if days else ast.literal_eval(text)


def default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@pytest.mark.requirement("H16", "H17")
def test_every_key_of_the_library_is_documented_with_its_default() -> None:
    expected = {field.metadata["key"]: default_of(field) for field in dataclasses.fields(Config)}

    shown = documented("The library", default_column=2)

    assert shown == expected


@pytest.mark.requirement("H15", "C09")
def test_every_queue_policy_is_documented_with_its_default() -> None:
    expected = {field.name: default_of(field) for field in dataclasses.fields(QueuePolicy)}

    shown = documented("Queue policies", default_column=2)

    assert shown == expected


def test_every_setting_of_the_service_is_documented_with_its_default() -> None:
    expected = {setting.name: setting.default for setting in SETTINGS}

    shown = documented("The service in `app/`", default_column=1)

    assert shown == expected


@pytest.mark.requirement("H09", "H12")
@pytest.mark.parametrize("name", ["REDIS_URL", "QUEUE_REDIS_HOST", "QUEUE_REDIS_PORT", "QUEUE_REDIS_PASSWORD"])
def test_every_variable_that_names_the_broker_is_documented(name: str) -> None:
    cells = " ".join(row[0] for row in table_of("Where the broker is"))

    assert f"`{name}`" in cells
