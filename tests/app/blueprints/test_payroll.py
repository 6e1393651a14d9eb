"""Payroll over HTTP, for administrators of the organisation alone."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.extensions import db, jobs
from app.models.base import new_id
from app.models.employee import Employee
from app.models.payroll_period import PayrollPeriod
from app.models.tenant import Tenant
from app.models.user import User
from flask_understudy.testing import TestWorker

Headers = Callable[..., dict[str, str]]

MAY = {"name": "May 2026", "startsOn": "2026-05-01", "endsOn": "2026-05-31"}
PERIODS = "/api/payroll/periods"


@pytest.fixture
def employee(app: Flask, user_a: User) -> None:
    with app.app_context():
        fields: dict[str, Any] = {"name": "Bo", "email": "bo@x.example", "salary_cents": 300_000}
        db.session.add(Employee(id=new_id(), tenant_id=user_a.tenant_id, hired_on=dt.date(2020, 1, 1), **fields))
        db.session.commit()


@pytest.mark.requirement("A01", "A06", "K04", "P04")
def test_a_period_is_made_processed_and_shown(
    app: Flask, client: FlaskClient, auth_header: Headers, auth_header_b: Headers, employee: None
) -> None:
    admin, stranger = auth_header("admin"), auth_header_b("admin")
    made = client.post(PERIODS, json=MAY, headers=admin)
    assert (made.status_code, made.json["status"], made.json["progress"]) == (201, "draft", "0%")  # type: ignore[index]
    path = f"{PERIODS}/{made.json['id']}"  # type: ignore[index]

    assert client.post(f"{path}/process", headers=stranger).status_code == 404
    queued = client.post(f"{path}/process", headers=admin)
    assert (queued.status_code, queued.json["type"]) == (202, "payroll:process")  # type: ignore[index]
    with app.app_context(), TestWorker(jobs) as worker:
        worker.drain(raise_errors=True)

    shown = client.get(path, headers=admin).json
    assert shown is not None
    assert (shown["status"], shown["progress"], shown["employees"]) == ("completed", "100%", 1)
    [slip] = shown.pop("payslips")
    assert (slip["employee"], slip["earnings"], slip["netCents"]) == ("Bo", {"salary": 300_000}, shown["netCents"])
    assert client.get(PERIODS, headers=admin).json == {"data": [shown]}
    assert client.get(PERIODS, headers=stranger).json == {"data": []}
    assert client.get(path, headers=stranger).status_code == 404
    again = client.post(f"{path}/process", headers=admin)
    assert (again.status_code, "is complete" in again.text) == (409, True)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"endsOn": "2026-04-30"}, 422, "from startsOn on"),
        ({"endsOn": "2028-04-30"}, 422, "within a year"),
        ({"startsOn": "May"}, 422, "startsOn"),
        ({"name": ""}, 422, "name"),
        ({"name": "   "}, 422, "name"),
        ({"name": "May\n2026"}, 422, "one line"),
        ({"startsOn": "9999-12-01", "endsOn": "9999-12-31"}, 422, "1990 to 2100"),
        ({"startsOn": "1989-12-31", "endsOn": "1990-01-31"}, 422, "1990 to 2100"),
        ({"tenant": "x"}, 422, "tenant"),
    ],
)
def test_a_wrong_period_is_refused(
    client: FlaskClient, auth_header: Headers, change: dict[str, str], status: int, said: str
) -> None:
    answer = client.post(PERIODS, json=MAY | change, headers=auth_header("admin"))

    assert (answer.status_code, said in answer.text) == (status, True)
    assert client.get(PERIODS, headers=auth_header("admin")).json == {"data": []}


def test_a_month_is_there_once_and_for_administrators(client: FlaskClient, auth_header: Headers) -> None:
    assert client.post(PERIODS, json=MAY, headers=auth_header("admin")).status_code == 201
    assert client.post(PERIODS, json=MAY, headers=auth_header("admin")).status_code == 409
    for scopes in (["read"], ["read", "enqueue", "operate"]):
        assert client.get(PERIODS, headers=auth_header(*scopes)).status_code == 403


@pytest.mark.parametrize(
    ("first", "last"), [("04-01", "05-01"), ("05-31", "06-30"), ("05-10", "05-11"), ("01-01", "12-31")]
)
def test_nobody_is_paid_twice_for_a_day(
    client: FlaskClient, auth_header: Headers, auth_header_b: Headers, first: str, last: str
) -> None:
    assert client.post(PERIODS, json=MAY, headers=auth_header("admin")).status_code == 201
    other = {"name": "other", "startsOn": f"2026-{first}", "endsOn": f"2026-{last}"}

    answer = client.post(PERIODS, json=other, headers=auth_header("admin"))

    assert (answer.status_code, "'May 2026' from 2026-05-01 to 2026-05-31" in answer.text) == (409, True)
    june = {"name": "June", "startsOn": "2026-06-01", "endsOn": "2026-06-30"}
    assert client.post(PERIODS, json=june, headers=auth_header("admin")).status_code == 201
    assert client.post(PERIODS, json=other, headers=auth_header_b("admin")).status_code == 201


@pytest.mark.requirement("T02")
def test_ten_that_make_one_period_at_once_make_it_once(app: Flask, auth_header: Headers) -> None:
    header, barrier = auth_header("admin"), threading.Barrier(10)

    def create(number: int) -> int:
        barrier.wait(20)
        shifted = MAY | {"startsOn": f"2026-05-{number + 1:02}"}  # no unique index knows that they overlap
        return app.test_client().post(PERIODS, json=shifted, headers=header).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = sorted(pool.map(create, range(10)))

    assert statuses == [201] + [409] * 9


def test_a_token_of_nobody_starts_no_payroll(
    client: FlaskClient, auth_header: Headers, make_token: Callable[..., str], tenant_a: Tenant
) -> None:
    made = client.post(PERIODS, json=MAY, headers=auth_header("admin"))
    host = {"Authorization": f"Bearer {make_token(tenant_a, 'admin')}"}

    answer = client.post(f"{PERIODS}/{made.json['id']}/process", headers=host)  # type: ignore[index]

    assert (answer.status_code, "A token without a user cannot start payroll" in answer.text) == (403, True)


@pytest.mark.requirement("A06")
@pytest.mark.parametrize("is_list", [False, True], ids=["one", "list"])
def test_who_looks_at_a_payroll_whose_job_is_lost_sees_that_it_failed(
    app: Flask, client: FlaskClient, auth_header: Headers, is_list: bool
) -> None:
    header = auth_header("admin")
    made = client.post(PERIODS, json=MAY, headers=header).json
    assert made is not None
    with app.app_context():
        db.session.execute(sa.update(PayrollPeriod).values(status="processing", job_id="lost"))
        db.session.commit()

    shown = client.get(PERIODS if is_list else f"{PERIODS}/{made['id']}", headers=header).json

    assert shown is not None
    period = shown["data"][0] if is_list else shown
    assert (period["status"], period["error"]) == ("failed", "Its job is gone.")
