"""Macros mean the same on both databases."""

from __future__ import annotations

import json
import random
import string
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from flask_understudy.ledger.statements import moment, render, run
from tests.flask_understudy.conftest import Site


def ask(site: Site, template: str, **parameters: Any) -> list[tuple]:
    with site.state.database.statement() as connection:
        return [tuple(row) for row in run(connection, template, **parameters)]


def test_now_and_after_are_the_database_s_clock(site: Site) -> None:
    [(now, later)] = ask(site, "SELECT <ms:a>, <ms:b> FROM (SELECT <now> AS a, <after::ms> AS b) AS t", ms=2500)
    assert abs(now - datetime.now(UTC).timestamp() * 1000) < 5000
    assert 2490 < later - now < 2520


@pytest.mark.parametrize("ms", [-1, 1, 999, 3_660 * 86_400_000])
def test_after_takes_any_number_of_milliseconds(site: Site, ms: int) -> None:
    [(now, later)] = ask(site, "SELECT <ms:a>, <ms:b> FROM (SELECT <now> AS a, <after::ms> AS b) AS t", ms=ms)
    assert abs(later - now - ms) <= 20


def test_a_moment_survives_the_way_there_and_back(site: Site) -> None:
    time = datetime(2030, 2, 3, 4, 5, 6, 123000, tzinfo=timezone(timedelta(hours=5)))
    [(ms,)] = ask(site, "SELECT <ms:t> FROM (SELECT <time::t> AS t) AS x", t=moment(time))
    assert ms == time.timestamp() * 1000


def test_rows_of_json_are_a_table(site: Site) -> None:
    rows = json.dumps([{"id": "a", "n": 1}, {"id": 'ü "q"', "n": None}])
    assert ask(site, "SELECT r.id, r.n FROM <rows:id text, n integer> ORDER BY r.id", rows=rows) == [
        ("a", 1),
        ('ü "q"', None),
    ]


def test_membership_in_a_list(site: Site) -> None:
    query = "SELECT r.id FROM <rows:id text> WHERE r.id <any:ids> ORDER BY r.id"
    rows = '[{"id": "a"}, {"id": "b"}, {"id": "c\'"}]'
    assert ask(site, query, rows=rows, ids=["a", "c'"]) == [("a",), ("c'",)]
    assert ask(site, query, rows=rows, ids=[]) == []


def test_words_that_look_like_parameters_are_left_alone() -> None:
    assert render("SELECT CAST(x AS text)::json, 'a:b', :name", "postgresql") == (
        "SELECT CAST(x AS text)::json, 'a:b', %(name)s"
    )


def test_texts_of_any_characters_are_values_and_never_sql(site: Site) -> None:
    alphabet = string.printable + "ü€𝄞\u2028'\"\\;%$:"
    for _ in range(20):
        text = "".join(random.choices(alphabet, k=30))
        query = "SELECT r.id FROM <rows:id text> WHERE r.id = :text"
        assert ask(site, query, rows=json.dumps([{"id": text}]), text=text) == [(text,)]
