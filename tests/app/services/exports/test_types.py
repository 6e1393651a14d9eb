"""What each type selects, for whom, and with which filters."""

import csv
import datetime as dt
import io
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models.analytics_event import AnalyticsEvent
from app.models.export_job import ExportJob, ExportType
from app.models.tenant import Tenant
from app.models.user import User
from app.models.wiki_page import WikiPage
from app.services.exports.types import Owner, checked_filters, query_of, type_named
from flask_understudy.contrib.api import Problem
from flask_understudy.contrib.exports import RowStream

JANUARY, FEBRUARY, MARCH = (dt.datetime(2026, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3))


@pytest.fixture
def filled(app: Flask, user_a: User, other_user_a: User, user_b: User) -> Iterator[None]:
    """Pages and events of all three people; the secrets of their accounts must not show."""
    with app.app_context():
        for user in (user_a, other_user_a, user_b):
            db.session.get_one(User, user.id).password_hash = "scrypt:secret"
            for number, day in enumerate((JANUARY, FEBRUARY, MARCH)):
                common = {"tenant_id": user.tenant_id}
                db.session.add(
                    WikiPage(
                        **common,
                        author_id=user.id,
                        slug=f"{user.name}-{number}",
                        title=f"Page {number} of {user.name}",
                        body="=1+1",
                        created_at=day,
                        updated_at=day,
                    )
                )
                db.session.add(
                    AnalyticsEvent(
                        **common,
                        user_id=user.id,
                        name="signed_in" if number else "search",
                        properties={"q": "ü", "a": 1},
                        occurred_at=day,
                    )
                )
        db.session.add(ExportJob(tenant_id=user_a.tenant_id, user_id=user_a.id, type=ExportType.MEMBERS, format="csv"))
        db.session.commit()
        yield


def rows(type_: ExportType, user: User, format: str = "csv", **filters: Any) -> list[dict[str, str]]:
    stored = checked_filters(type_, filters)
    query = query_of(type_, Owner(user.tenant_id, user.id), stored)
    with db.engine.connect() as connection:
        file = b"".join(RowStream(connection, query, format)).decode()
    assert "scrypt" not in file
    return list(csv.DictReader(io.StringIO(file, newline="")))


@pytest.mark.requirement("A40", "V10")
def test_wiki_pages_are_those_of_the_organisation(filled: None, user_a: User) -> None:
    found = rows(ExportType.WIKI_PAGES, user_a)

    assert [row["slug"] for row in found] == ["Ada-0", "Ada-1", "Ada-2", "Alan-0", "Alan-1", "Alan-2"]
    assert {row["author_name"] for row in found} == {"Ada", "Alan"}
    assert found[0]["body"] == "'=1+1"
    assert found[0]["created_at"] == "2026-01-01T00:00:00Z"


@pytest.mark.requirement("A40", "V10")
def test_members_are_those_of_the_organisation_without_secrets(filled: None, user_b: User) -> None:
    [row] = rows(ExportType.MEMBERS, user_b)

    assert list(row) == ["id", "email", "name", "role", "email_verified_at", "created_at"]
    assert (row["email"], row["role"], row["email_verified_at"]) == ("bea@birch.example", "member", "")


@pytest.mark.requirement("A40", "V10")
def test_analytics_are_those_of_the_organisation(filled: None, user_a: User) -> None:
    found = rows(ExportType.ANALYTICS, user_a)

    assert len(found) == 6
    assert found[0]["properties"] == '{"a": 1, "q": "ü"}'
    assert [row["occurred_at"] for row in found] == sorted(row["occurred_at"] for row in found)


@pytest.mark.requirement("A40", "V10")
def test_user_data_is_all_about_the_person_and_nobody_else(filled: None, user_a: User, other_user_a: User) -> None:
    found = rows(ExportType.USER_DATA, user_a)

    records = [row["record"] for row in found]
    assert {name: records.count(name) for name in set(records)} == {
        "account": 1,
        "wiki_page": 3,
        "event": 3,
        "export": 1,
    }
    assert not any("Alan" in str(row) or other_user_a.id in str(row) for row in found)


@pytest.mark.requirement("A40")
@pytest.mark.parametrize(
    ("type_", "filters", "count"),
    [
        ("WIKI_PAGES", {"createdAfter": "2026-02-01T00:00:00Z"}, 4),
        ("WIKI_PAGES", {"createdBefore": "2026-02-01T00:00:00Z"}, 2),
        ("WIKI_PAGES", {"createdAfter": "2026-02-01T00:00:00Z", "createdBefore": "2026-03-01T00:00:00Z"}, 2),
        ("WIKI_PAGES", {"createdAfter": "2026-02-01T02:00:00+02:00"}, 4),
        ("WIKI_PAGES", {"updatedAfter": "2026-03-01T00:00:00Z"}, 2),
        ("WIKI_PAGES", {"updated_after": "2026-03-01T00:00:00Z"}, 2),
        ("MEMBERS", {"role": "member"}, 2),
        ("MEMBERS", {"role": "admin"}, 0),
        ("MEMBERS", {"isVerified": False}, 2),
        ("MEMBERS", {"isVerified": True}, 0),
        ("ANALYTICS", {"name": "search"}, 2),
        ("ANALYTICS", {"name": "signed_in", "createdAfter": "2026-03-01T00:00:00Z"}, 2),
        ("USER_DATA", {"createdBefore": "2026-01-02T00:00:00Z"}, 2),
    ],
)
def test_filters_choose(filled: None, user_a: User, type_: str, filters: dict[str, Any], count: int) -> None:
    assert len(rows(ExportType[type_], user_a, **filters)) == count


@pytest.mark.parametrize(("type_", "name"), [("WIKI_PAGES", "authorId"), ("ANALYTICS", "userId")])
def test_one_person_can_be_chosen_but_no_other_organisations(
    filled: None, user_a: User, other_user_a: User, user_b: User, type_: str, name: str
) -> None:
    assert len(rows(ExportType[type_], user_a, **{name: other_user_a.id})) == 3
    assert rows(ExportType[type_], user_a, **{name: user_b.id}) == []


def test_unknown_type_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(Problem) as caught:
        type_named("WIKI")

    assert caught.value.status == 422
    assert caught.value.errors == [
        {
            "pointer": "/type",
            "detail": "'WIKI' is no export; there are USER_DATA, WIKI_PAGES, MEMBERS, ANALYTICS",
        }
    ]


@pytest.mark.parametrize(
    ("type_", "filters", "pointer", "detail"),
    [
        ("MEMBERS", {"rol": "x"}, "/filters/rol", "'rol' is no filter of MEMBERS; there are createdAfter"),
        ("MEMBERS", {"role": "boss"}, "/filters/role", "Input should be 'viewer'"),
        ("WIKI_PAGES", {"createdAfter": "2026-01-01T00:00:00"}, "/filters/createdAfter", "time zone"),
        ("WIKI_PAGES", {"createdAfter": "yesterday"}, "/filters/createdAfter", "such as 2026-01-31T09:30:00Z"),
        ("ANALYTICS", {"name": ""}, "/filters/name", "at least 1"),
        ("ANALYTICS", {"name": ["a"]}, "/filters/name", "string"),
        ("USER_DATA", {"name": "x"}, "/filters/name", "'name' is no filter of USER_DATA; there are created"),
        ("USER_DATA", {"tenant_id": "x"}, "/filters/tenant_id", "no filter"),
    ],
)  # fmt: skip
def test_wrong_filter_is_named(type_: str, filters: dict[str, Any], pointer: str, detail: str) -> None:
    with pytest.raises(Problem) as caught:
        checked_filters(ExportType[type_], filters)

    [error] = caught.value.errors
    assert caught.value.status == 422
    assert error["pointer"] == pointer
    assert detail in error["detail"]


def test_filters_are_stored_under_their_names_without_the_absent() -> None:
    stored = checked_filters(ExportType.WIKI_PAGES, {"created_after": "2026-01-01T00:00:00+01:00", "authorId": None})

    assert stored == {"createdAfter": "2025-12-31T23:00:00Z"}


def test_same_address_in_two_organisations_stays_apart(filled: None, user_a: User) -> None:
    elsewhere = Tenant(slug="cedar", name="Cedar")
    db.session.add(elsewhere)
    db.session.flush()
    db.session.add(User(tenant_id=elsewhere.id, email=user_a.email, name="Ada elsewhere"))
    db.session.commit()

    assert {row["name"] for row in rows(ExportType.MEMBERS, user_a)} == {"Ada", "Alan"}


@pytest.mark.requirement("A40")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("9999-12-31T23:59:59-14:00", "after the year 9999 in UTC"),
        ("0001-01-01T00:00:00+14:00", "before the year 1"),
        (1_700_000_000, "such as 2026-01-31T09:30:00Z"),
        ("1700000000", "such as 2026-01-31T09:30:00Z"),
        ("2026-01-31", "such as 2026-01-31T09:30:00Z"),
        ("2026-01-31T09:30:00", "such as 2026-01-31T09:30:00Z"),
        (True, "such as 2026-01-31T09:30:00Z"),
    ],
)
@pytest.mark.parametrize("name", ["createdAfter", "createdBefore", "updatedAfter"])
def test_time_that_no_database_holds_is_refused_with_an_example(value: Any, message: str, name: str) -> None:
    with pytest.raises(Problem, match=message) as refused:
        checked_filters(ExportType.WIKI_PAGES, {name: value})

    assert refused.value.status == 422
    assert refused.value.errors[0]["pointer"] == f"/filters/{name}"


@pytest.mark.requirement("A40")
@pytest.mark.parametrize("value", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-01t00:00:00+0100"])
def test_time_at_the_edge_is_accepted_and_can_be_compared_with(filled: None, user_a: User, value: str) -> None:
    assert rows(ExportType.WIKI_PAGES, user_a, createdAfter=value, createdBefore="9999-12-31T23:59:59Z") is not None
